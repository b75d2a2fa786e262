"""Nothing is downloaded unless the user names a hub id; training and sampling search alike."""

import ast
import logging
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from small_models import write_official

from wanctl.checkpoint import load
from wanctl.checkpoint.convert.plan import ConversionOptions
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import cached_components, find_components
from wanctl.checkpoint.resolve import WeightsResolver
from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.cli import doctor
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import DiTShape, VAEShape
from wanctl.train.dit.start import load_frozen_vae, load_run_text_encoder

VARIANT = "wan2.1-t2v-1.3b"
HUB = VARIANTS[VARIANT].hub
DIT = DiTShape(
    dim=8, ffn_dim=8, num_layers=1, num_heads=1, in_channels=4, out_channels=4, text_dim=4
)
VAE = VAEShape(dim=4, z_dim=4, latent_mean=(0.0,) * 4, latent_std=(1.0,) * 4, num_res_blocks=1)


class Hub:
    """A hub with one model; every download is recorded."""

    def __init__(self, folder):
        self.folder, self.cached, self.downloads = folder, set(), []

    def snapshot_download(self, hub_id, *, local_files_only=False, **_):
        if hub_id not in self.cached:
            if local_files_only:
                raise LocalEntryNotFoundError("not cached")
            self.downloads.append(hub_id)
            self.cached.add(hub_id)
        return str(self.folder)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    (tmp_path / "hub").mkdir()
    hub = Hub(write_official(tmp_path / "hub", VARIANT))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def save(folder, *parts):
    if "dit" in parts:
        save_dit(WanModel(DIT), folder / "dit")
    if "vae" in parts:
        save_vae(WanVAE(VAE), folder / "vae")
    if "text" in parts:
        (folder / "text_encoder").mkdir(parents=True)
        (folder / "tokenizer").mkdir()
    return folder


def resolver(out, variant=VARIANT, **keys):
    keys = {"weights": None, "vae_weights": None, "text_weights": None} | keys
    return WeightsResolver(out=out, variant=VARIANTS[variant], **keys)


def test_what_nobody_named_is_not_downloaded(tmp_path, hub):
    save(tmp_path / "out", "vae")
    weights = resolver(tmp_path / "out")
    with pytest.raises(WeightsError, match=rf"no transformer.*hf download {HUB}"):
        weights.resolve()
    with pytest.raises(WeightsError, match=rf"no text encoder.*hf download {HUB}"):
        load_run_text_encoder(weights, 8, torch.device("cpu"))
    with pytest.raises(WeightsError, match=rf"run `wanctl train-vae --recipe r`.*{HUB}"):
        load_frozen_vae(resolver(tmp_path / "new"), "--recipe r")
    doctor.examine()
    assert cached_components(HUB) is None
    assert hub.downloads == []


def test_a_named_hub_id_is_downloaded_once_and_the_log_says_so(tmp_path, hub, caplog):
    with caplog.at_level(logging.INFO, logger="wanctl"):
        found = find_components("Some-One/Some-Model")
    assert found.root == hub.folder
    [line] = [each.getMessage() for each in caplog.records]
    assert line.startswith("Some-One/Some-Model: not in the hub cache; downloading it from the hub")
    weights = resolver(tmp_path / "out", weights="Some-One/Some-Model")
    assert weights.resolve().dit.root == weights.find_vae().root == hub.folder
    assert hub.downloads == ["Some-One/Some-Model"]


SITUATIONS = {
    # name: (trained here, recipe keys, whether the published model is cached,
    #        where the VAE is found, where the text encoder is found)
    "cached": ((), {}, True, "hub", "hub"),
    "trained": (("dit", "vae"), {"text_weights": "t5"}, False, "out", "t5"),
    "trained and cached": (("dit", "vae"), {}, True, "out", "hub"),
    "named": ((), {"weights": "model"}, False, "model", "model"),
    "named before cached": ((), {"weights": "model"}, True, "model", "model"),
    "single keys": (
        ("dit",), {"weights": "model", "vae_weights": "v", "text_weights": "t5"}, True, "v", "t5",
    ),
    "named without text": (("dit",), {"weights": "v"}, False, "v", None),
    "text from the cache": (("dit",), {"weights": "v"}, True, "v", "hub"),
    "nothing": ((), {}, False, None, None),
}  # fmt: skip


@pytest.mark.parametrize("situation", SITUATIONS)
def test_training_and_sampling_find_the_same_files(tmp_path, hub, monkeypatch, situation):
    trained, keys, is_cached, vae, text = SITUATIONS[situation]
    out = save(tmp_path / "out", *trained)
    save(tmp_path / "model", "dit", "vae", "text")
    save(tmp_path / "v", "vae")
    save(tmp_path / "t5", "text")
    if is_cached:
        hub.cached.add(HUB)
    weights = resolver(out, **{key: str(tmp_path / place) for key, place in keys.items()})
    loaded = {}
    monkeypatch.setattr("wanctl.train.dit.start.load_vae", lambda found: loaded.update(vae=found))
    monkeypatch.setattr(
        "wanctl.train.dit.start.load_text_encoder",
        lambda kind, found, **_: loaded.update(text=found),
    )
    for component, place, run in (
        ("vae", vae, lambda: load_frozen_vae(weights, "")),
        ("text", text, lambda: load_run_text_encoder(weights, 8, torch.device("cpu"))),
    ):
        if place is None:
            with pytest.raises(WeightsError, match="looked in"):
                run()
        else:
            run()
            assert loaded[component].root == tmp_path / place
    if vae and text:
        sampled = weights.resolve()
        assert (sampled.vae, sampled.text) == (loaded["vae"], loaded["text"])
    else:
        with pytest.raises(WeightsError, match="looked in"):
            weights.resolve()
    assert hub.downloads == []


def test_the_demo_trains_and_samples_with_the_packaged_text_encoder(tmp_path):
    save(tmp_path / "model", "dit", "vae", "text")
    out = save(tmp_path / "out", "dit", "vae")
    weights = resolver(out, "tiny", weights=str(tmp_path / "model"))
    assert weights.find_text_encoder(packaged=True) == (None, "minilm")
    assert weights.resolve().text is None


@pytest.mark.parametrize("name", ["replacing", "weight_files", "saved_step", "cached_components"])
def test_these_functions_are_defined_once(name):
    sources = Path(load.__file__).parents[1].rglob("*.py")
    homes = [
        path.name
        for path in sources
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and node.name == name
        # objectives have a method of this name
        and not (node.args.args and node.args.args[0].arg == "self")
    ]
    assert len(homes) == 1, homes


def test_copies_are_allocated_before_anything_is_read(tmp_path, monkeypatch):
    """Otherwise glibc's heap keeps holes: int8 took twice the memory of its weights."""
    save_dit(WanModel(DIT), tmp_path)
    empty, read, allocated, before = torch.empty, load.iterate_tensors, [], []

    def counting(*arguments, **options):
        allocated.append(arguments)
        return empty(*arguments, **options)

    def reading(path):
        before.append(len(allocated))
        return read(path)

    monkeypatch.setattr(load, "iterate_tensors", reading)
    for options in ({"quantize_to": "int8"}, {"dtype": torch.bfloat16}):
        allocated.clear()
        before.clear()
        with monkeypatch.context() as patch:
            patch.setattr(torch, "empty", counting)
            model = load.load_dit(tmp_path, **options)
        assert before[0] >= len(model.state_dict())


def test_the_identity_of_a_conversion_keeps_its_form():
    """It is hashed into written files: another form would not resume what was stopped."""
    options = ConversionOptions("single", "fp8", 10**9, ("vae",), two_experts=True)
    assert options.identity == (
        "Wish(layout='single', dtype='fp8', shard_bytes=1000000000, parts=('vae',), two=True)"
    )
