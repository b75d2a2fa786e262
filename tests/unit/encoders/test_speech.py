"""The audio encoder: states as the model was trained with them, and folders that are refused."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.integration.small_variants import SMALL_SPEECH, write_small_audio_encoder
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import find_components
from wanctl.encoders.speech import load_audio_encoder
from wanctl.encoders.task_inputs import InputEncoders
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import DIT_14B

SOUND = (0.2 * np.sin(np.arange(8000) / 9) + 0.1).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    folder = tmp_path / "models" / "wav2vec2-small"
    write_small_audio_encoder(folder)
    return folder


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors", {"format": "pt"})


def test_states_of_all_layers_the_last_one_normed(folder):
    states = load_audio_encoder(folder)(SOUND)
    assert states.shape == (SMALL_SPEECH.layers, 24, SMALL_SPEECH.width)
    assert states[-1].mean(-1).abs().max() < 1e-5  # the norm's weights are 1 and 0
    assert (states[-1].std(-1, unbiased=False) - 1).abs().max() < 1e-2
    assert states[-2].mean(-1).abs().max() > 1e-3


def test_loudness_and_offset_do_not_count_where_the_model_normalises(folder):
    plain, louder = (load_audio_encoder(folder)(s) for s in (SOUND, 3 * SOUND - 0.2))
    assert (plain - louder).abs().max() < 1e-3
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    as_it_is = load_audio_encoder(folder)
    assert (as_it_is(SOUND) - plain).abs().max() > 1e-3


def test_older_names_and_files_without_a_head_are_read(folder):
    plain = load_audio_encoder(folder)(SOUND)

    def older(tensors):
        names = {"parametrizations.weight.original0": "weight_g",
                 "parametrizations.weight.original1": "weight_v"}  # fmt: skip
        found = {}
        for name, tensor in tensors.items():
            for new, old in names.items():
                name = name.replace(new, old)
            if not name.startswith("lm_head"):
                found[name.removeprefix("wav2vec2.")] = tensor
        assert len(found) == len(tensors) - 2
        return found

    rewrite(folder, older)
    assert torch.equal(load_audio_encoder(folder)(SOUND), plain)


def test_it_is_found_in_the_folder_of_a_model_and_by_itself(folder):
    assert find_components(folder.parent).audio_encoder == folder
    assert find_components(folder).audio_encoder == folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if "layers.1." not in k}, "num_hidden_layers"),
        (lambda t: {k: v for k, v in t.items() if "k_proj.bias" not in k}, "2 missing"),
        (lambda t: {k: v * float("nan") for k, v in t.items()}, "NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(WeightsError) as caught:
        load_audio_encoder(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_that_are_no_audio_encoder_of_the_model_are_refused(folder, tmp_path):
    (folder / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 8000}))
    with pytest.raises(WeightsError, match="hears 8000 samples per second; need 16000"):
        load_audio_encoder(folder)
    (folder / "preprocessor_config.json").unlink()
    components = find_components(folder)
    with pytest.raises(WeightsError, match="no audio encoder"):
        InputEncoders(None, DIT_14B, None, torch.device("cpu"), components).sound(SOUND)
    dit = VARIANTS["wan2.2-s2v-14b"].dit
    with pytest.raises(WeightsError, match="makes 3 hidden states of width 16 and the transformer"):
        InputEncoders(None, dit, None, torch.device("cpu"), components).sound(SOUND)
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"holds no model\.safetensors"):
        load_audio_encoder(folder)
