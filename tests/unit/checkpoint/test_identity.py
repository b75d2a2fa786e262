"""Stand-In's files: read with a transformer of any layout, counted in its hash, refused."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.fingerprint import dit_fingerprint
from wanctl.checkpoint.load import load_dit, read_dit_shape
from wanctl.checkpoint.save import save_dit
from wanctl.checkpoint.side_files.identity import with_identity
from wanctl.model.dit.networks import make_dit
from wanctl.model.dit.subjects.stand_in import FaceModel
from wanctl.model.variants import DiTShape

SHAPE = DiTShape(dim=128, ffn_dim=32, num_layers=2, num_heads=1, text_dim=16, freq_dim=32)
FACED = replace(SHAPE, face_rank=4)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A model with a face, and its files: the base in two layouts, the face in two containers."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    model = make_dit(FACED).eval()
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    base = make_dit(SHAPE)
    base.load_state_dict({k: v for k, v in model.state_dict().items() if "loras" not in k})
    for layout in ("official", "diffusers"):
        save_dit(base, folder / layout / "transformer", layout=layout)
    face = {k: v.detach().clone() for k, v in model.state_dict().items() if "loras" in k}
    torch.save({"state_dict": face, "epoch": 1}, folder / "face.ckpt")
    save_file({f"model.{k}": v for k, v in face.items()}, folder / "face.safetensors")
    save_file({"blocks.0.ffn.0.lora_A.weight": torch.ones(2, 2)}, folder / "lora.safetensors")
    return model, folder


@pytest.mark.parametrize("layout", ["official", "diffusers"])
@pytest.mark.parametrize("face", ["face.ckpt", "face.safetensors"])
def test_a_face_is_read_beside_a_transformer_of_any_layout(stored, layout, face):
    model, folder = stored
    base = find_components(folder / layout / "transformer")
    both = with_identity(base, str(folder / face), None)
    assert read_dit_shape(both).face_rank == 4
    assert read_dit_shape(base).face_rank == 0
    loaded = load_dit(both)
    assert isinstance(loaded, FaceModel)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    assert dit_fingerprint(both) != dit_fingerprint(base)
    half = load_dit(both, dtype=torch.bfloat16)
    assert half.blocks[0].self_attn.q_loras.up.weight.dtype == torch.bfloat16
    assert (
        load_dit(both, quantize_to="int8")
        .blocks[1]
        .self_attn.q_loras.down.weight.is_floating_point()
    )


def test_files_are_one_for_each_expert(stored):
    _, folder = stored
    one = find_components(folder / "official" / "transformer")
    two = replace(one, dit_low=one.dit, dit_low_config=one.dit_config)
    face = str(folder / "face.ckpt")
    assert with_identity(one, None, None) is one
    both = with_identity(two, face, face)
    assert both.dit == both.dit_low == (*one.dit, folder / "face.ckpt")
    for components, high, low, need in (
        (one, face, face, "one file"), (two, face, None, "two files"), (two, None, face, "two fi"),
    ):  # fmt: skip
        with pytest.raises(WeightsError, match=f"model.identity: .* takes {need}"):
            with_identity(components, high, low)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lora.safetensors", "model.identity: .*lora.safetensors: is no file of Stand-In"),
        ("nowhere.ckpt", "model.identity: .*nowhere.ckpt: no such file"),
        ("official", "model.identity: .*official: no such file"),
    ],
)
def test_other_files_are_refused(stored, name, message):
    _, folder = stored
    base = find_components(folder / "official" / "transformer")
    with pytest.raises(WeightsError, match=message):
        with_identity(base, str(folder / name), None)


def test_a_face_of_another_model_is_refused(stored, tmp_path):
    _, folder = stored
    other = make_dit(replace(FACED, dim=256, num_heads=2))
    face = {k: v.detach().clone() for k, v in other.state_dict().items() if "loras" in k}
    save_file(face, tmp_path / "face.safetensors")
    base = find_components(folder / "official" / "transformer")
    with pytest.raises(WeightsError, match=r"[qkv]_loras"):
        load_dit(with_identity(base, str(tmp_path / "face.safetensors"), None))
