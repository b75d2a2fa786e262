"""Animate in the layout of diffusers: read from its folders, and written as it writes them."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.unit.model.dit.animate_models import FACE, SHAPE, diffusers_animate, random_animate
from wanctl.checkpoint.convert.plan import ConversionOptions
from wanctl.checkpoint.convert.run import convert
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.fingerprint import dit_fingerprint
from wanctl.checkpoint.inspection.check import check
from wanctl.checkpoint.load import load_dit, official_names
from wanctl.checkpoint.prefixes import TRANSFORMER
from wanctl.checkpoint.save import save_dit

STEM = "diffusion_pytorch_model"


@pytest.fixture(scope="module")
def networks():
    ours = random_animate()
    return ours, diffusers_animate(ours)


@pytest.fixture(scope="module", params=["one file", "shards"])
def folder(request, networks, tmp_path_factory):
    """As diffusers saves it; in shards a block's keys and values lie in different files."""
    folder = tmp_path_factory.mktemp("animate")
    size = {} if request.param == "one file" else {"max_shard_size": "20KB"}
    networks[1].save_pretrained(folder / "transformer", **size)
    return folder


@torch.no_grad()
def test_its_folder_gives_the_same_network(folder, networks):
    official, theirs = networks
    ours = load_dit(folder, precision="reference")
    assert ours.shape == SHAPE
    assert ours.state_dict().keys() == official.state_dict().keys()
    for name, tensor in official.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name
    generator = torch.Generator().manual_seed(1)
    latents, text, image, pose, face = (
        torch.randn(shape, generator=generator)
        for shape in (
            (1, 36, 3, 4, 6), (1, 512, 24), (1, 9, 16), (1, 16, 2, 4, 6),
            (1, 3, 5, FACE.side, FACE.side),
        )
    )  # fmt: skip
    expected = theirs(
        latents, torch.tensor([500.0]), text, encoder_hidden_states_image=image,
        pose_hidden_states=pose, face_pixel_values=face,
    ).sample  # fmt: skip
    got = ours(
        latents, torch.tensor([500.0]), text, image_BIE=image, pose_BCTYX=pose,
        face_BTJD=ours.read_performer(face),
    )  # fmt: skip
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)


def test_both_layouts_stand_for_the_same_weights(folder, networks, tmp_path):
    official, theirs = networks
    save_dit(official, tmp_path / "dit")
    assert dit_fingerprint(find_components(folder)) == dit_fingerprint(find_components(tmp_path))
    assert not any(result.problems for result in check(str(folder)))

    convert(str(folder), tmp_path / "official", ConversionOptions("official", "fp32"))
    assert torch.equal(
        load_dit(tmp_path / "official").face_adapter.fuser_blocks[1].linear1_kv.weight,
        official.face_adapter.fuser_blocks[1].linear1_kv.weight,
    )
    convert(str(tmp_path / "dit"), tmp_path / "diffusers", ConversionOptions("diffusers", "fp32"))
    [place] = (tmp_path / "diffusers").glob(f"**/{STEM}.safetensors")
    written = load_file(place)
    assert written.keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(written[name], tensor), name
    again = type(theirs).from_pretrained(place.parent)
    assert again.config.motion_encoder_channel_sizes == {"4": 12, "8": 8, "16": 8}


def test_a_prefix_changes_nothing_and_a_missing_half_is_said(networks, tmp_path):
    state = {f"model.{n}": t.contiguous() for n, t in networks[1].state_dict().items()}
    path = tmp_path / "a.safetensors"
    save_file(state, path)
    _, shapes = official_names((path,), TRANSFORMER)
    assert shapes == {n: tuple(t.shape) for n, t in networks[0].state_dict().items()}
    networks[1].save_pretrained(tmp_path / "transformer")
    file = tmp_path / "transformer" / f"{STEM}.safetensors"
    save_file({n: t for n, t in load_file(file).items() if n != "face_adapter.0.to_v.bias"}, file)
    path.unlink()
    with pytest.raises(WeightsError, match=r"linear1_kv\.bias"):
        load_dit(tmp_path)
