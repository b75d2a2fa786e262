"""The CLIP branch of image-to-video models in training."""

from dataclasses import replace

import pytest
import torch

from tests.unit.train.dit.tasks.conftest import CHANNELS_DIT
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import find_components
from wanctl.diffusion.conditions import predict
from wanctl.model.dit.transformer import WanModel
from wanctl.tasks.pixels import to_float
from wanctl.train.rng import MicrobatchIndex

WIDTH, TOKENS = 16, 17


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A small random vision tower."""
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    folder = tmp_path_factory.mktemp("clip") / "image_encoder"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = CLIPVisionConfig(
            hidden_size=WIDTH, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            image_size=32, patch_size=8, hidden_act="gelu",
        )  # fmt: skip
        CLIPVisionModel(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return find_components(folder)


def test_first_and_last_frame_become_image_tokens_and_are_cached(footage, make_tasks_of, clip):
    window, text = footage.training_windows()[0], [torch.ones(1, 6)]
    frames = footage.read(window)
    one, two = {"image_dim": WIDTH}, {"image_dim": WIDTH, "image_tokens": 2 * TOKENS}
    for name, branch, shown in (("i2v", one, [0]), ("flf2v", two, [0, 8])):
        dit = replace(CHANNELS_DIT, **branch)
        mixture = make_tasks_of(footage, {name: 1}, dit, image=clip, dropout=0.999)
        (task,) = mixture.serving(9)
        encoder = mixture._store._encoders.load_image_encoder()
        reads = footage.reads
        conditions = mixture.conditions(task, [window] * 2, text * 2)
        assert footage.reads == reads
        expected = encoder([to_float(frames[place]) for place in shown]).flatten(0, 1)
        assert expected.shape == (len(shown) * TOKENS, WIDTH)
        assert torch.equal(conditions.image, expected.expand(2, -1, -1))
        x = torch.randn(2, 4, 3, 4, 4)
        assert predict(WanModel(dit), x, torch.tensor([500.0]), conditions).shape == x.shape
        index = MicrobatchIndex(0, 0, 0)
        _, dropped = mixture.batch(index, footage.sample_windows(index), text * 3)
        assert not dropped.image.any()


def test_a_missing_vision_tower_is_refused_before_anything_is_encoded(footage, make_tasks_of):
    with pytest.raises(WeightsError, match=r"no CLIP vision tower.*model\.image_weights"):
        make_tasks_of(footage, {"i2v": 1}, replace(CHANNELS_DIT, image_dim=WIDTH))
    assert footage.reads == 0
