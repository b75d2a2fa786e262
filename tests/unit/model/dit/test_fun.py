"""Parts of the Fun family in the transformer: a camera's adapter and tokens of a reference."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape

SHAPE = DiTShape(
    dim=48, ffn_dim=64, num_layers=2, num_heads=2, in_channels=8, out_channels=4, text_dim=12,
    text_len=4, freq_dim=16,
)  # fmt: skip
X, T, TEXT = torch.randn(1, 8, 3, 4, 6), torch.tensor([400.0]), torch.randn(1, 4, 12)


def model(**parts):
    torch.manual_seed(0)
    made = WanModel(replace(SHAPE, **parts), "reference").eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


@torch.no_grad()
def test_rays_are_added_to_the_tokens_of_their_place():
    net = model(camera_channels=24)
    rays = torch.randn(1, 24, 3, 32, 48)
    added = net.control_adapter(rays).reshape(3, 2, 3, 48)
    cells = F.pixel_unshuffle(rays[0, :, 1], 8)
    plain = F.conv2d(cells, net.control_adapter.conv.weight, net.control_adapter.conv.bias, 2)
    block = net.control_adapter.residual_blocks[0]
    plain = plain + block.conv2(block.conv1(plain).relu())
    assert torch.allclose(added[1], plain.permute(1, 2, 0), atol=1e-5)
    assert not torch.equal(net(X, T, TEXT), net(X, T, TEXT, rays_BCTHW=rays))


@torch.no_grad()
def test_an_adapter_of_zeros_changes_nothing():
    net = model(camera_channels=24)
    for parameter in net.control_adapter.parameters():
        parameter.zero_()
    rays = torch.randn(1, 24, 3, 32, 48)
    assert torch.equal(net(X, T, TEXT), net(X, T, TEXT, rays_BCTHW=rays))


@torch.no_grad()
def test_a_reference_is_frame_0_and_leaves_the_output():
    """With the patch embedding's weights it equals a video that is one frame longer."""
    net = model(reference_channels=8)
    weight = net.patch_embedding.weight[:, :, 0]
    net.ref_conv.weight.copy_(weight)
    net.ref_conv.bias.copy_(net.patch_embedding.bias)
    reference = torch.randn(1, 8, 4, 6)
    longer = torch.cat((reference[:, :, None], X), dim=2)
    expected = net(longer, T, TEXT)[:, :, 1:]
    assert torch.allclose(net(X, T, TEXT, reference_BCYX=reference), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("parts", "given", "message"),
    [
        ({}, {"rays_BCTHW": torch.zeros(1, 24, 3, 32, 48)}, "rays: this model takes none"),
        ({}, {"reference_BCYX": torch.zeros(1, 16, 4, 6)}, "reference: this model takes none"),
        ({"camera_channels": 24}, {"rays_BCTHW": torch.zeros(1, 24, 3, 4, 6)}, "rays: got"),
        ({"reference_channels": 8}, {"reference_BCYX": torch.zeros(1, 8, 4, 4)}, "reference: got"),
    ],
)
def test_wrong_inputs_are_refused(parts, given, message):
    with pytest.raises(ValueError, match=message):
        model(**parts)(X, T, TEXT, **given)


@torch.no_grad()
def test_with_a_timestep_per_frame_a_reference_has_that_of_the_last_frame():
    net = model(reference_channels=8)
    net.ref_conv.weight.copy_(net.patch_embedding.weight[:, :, 0])
    net.ref_conv.bias.copy_(net.patch_embedding.bias)
    reference, times = torch.randn(1, 8, 4, 6), torch.tensor([[0.0, 400, 500]])
    longer = torch.cat((reference[:, :, None], X), dim=2)
    expected = net(longer, torch.tensor([[500.0, 0, 400, 500]]), TEXT)[:, :, 1:]
    assert torch.allclose(net(X, times, TEXT, reference_BCYX=reference), expected, atol=1e-6)


@torch.no_grad()
def test_rays_of_larger_cells_are_those_of_more_pixels():
    net = model(camera_channels=24, camera_stride=16)
    rays = torch.randn(1, 24, 3, 64, 96)
    cells = F.pixel_unshuffle(rays[0, :, 2], 16)
    plain = F.conv2d(cells, net.control_adapter.conv.weight, net.control_adapter.conv.bias, 2)
    block = net.control_adapter.residual_blocks[0]
    plain = plain + block.conv2(block.conv1(plain).relu())
    added = net.control_adapter(rays).reshape(3, 2, 3, 48)
    assert torch.allclose(added[2], plain.permute(1, 2, 0), atol=1e-5)
    with pytest.raises(ValueError, match="rays: got"):
        net(X, T, TEXT, rays_BCTHW=torch.randn(1, 24, 3, 32, 48))
