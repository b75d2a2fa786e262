import copy

import pytest
import torch
from torch import nn

from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.ops.conv import CausalConv3d
from wanctl.model.variants import VAEShape
from wanctl.train.vae.inflation import start_as_image_vae

SHAPE21 = VAEShape(
    dim=8, z_dim=4, num_res_blocks=1, latent_mean=(0.0,) * 4, latent_std=(1.0,) * 4
)  # fmt: skip
SHAPE22 = VAEShape(
    dim=8, decoder_dim=12, z_dim=4, num_res_blocks=1, residual=True, patch=2,
    latent_mean=(0.0,) * 4, latent_std=(1.0,) * 4,
)  # fmt: skip

# Other numbers of frames take other kernels of the CPU, which differ by up to 3e-6.
ROUNDING = 1e-4


def inflated(shape):
    torch.manual_seed(3)
    vae = WanVAE(shape)
    start_as_image_vae(vae)
    return vae.eval()


def image_model(vae):
    """The same network with 2-D kernels: every 3-D kernel is its last temporal tap alone."""
    image = copy.deepcopy(vae)
    for module in image.modules():
        if isinstance(module, CausalConv3d):
            module.kernel_size = (1, *module.kernel_size[1:])
            module.weight = nn.Parameter(module.weight[:, :, -1:].detach())
    return image


@torch.no_grad()
@pytest.mark.parametrize("shape", [SHAPE21, SHAPE22])
def test_a_fresh_vae_treats_a_frame_as_the_image_model_does(shape):
    vae = inflated(shape)
    images = torch.rand(2, 3, 1, 32, 64) * 2 - 1
    latents, expected = (each.encode(images) for each in (vae, image_model(vae)))
    torch.testing.assert_close(latents, expected, rtol=0, atol=1e-6)
    videos = [each.decode(latents, clamp=False) for each in (vae, image_model(vae))]
    torch.testing.assert_close(*videos, rtol=0, atol=1e-6)
    assert latents.std() > 0.01
    assert videos[0].std() > 0.01


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_still_video_reconstructs_as_its_image(training, chunked):
    vae = inflated(SHAPE21).train(training)
    image = torch.rand(1, 3, 1, 32, 32) * 2 - 1
    alone = vae.decode(vae.encode(image))
    still = vae.decode(
        vae.encode(image.expand(-1, -1, 9, -1, -1), chunked=chunked), chunked=chunked
    )
    torch.testing.assert_close(still, alone.expand_as(still), rtol=0, atol=ROUNDING)


@torch.no_grad()
def test_in_wan22_only_the_encoders_shortcuts_tell_the_first_frame_from_the_later_ones():
    vae = inflated(SHAPE22)
    image = torch.rand(1, 3, 1, 64, 64) * 2 - 1
    latents = vae.encode(image.expand(-1, -1, 13, -1, -1))
    torch.testing.assert_close(latents[:, :, :1], vae.encode(image), rtol=0, atol=ROUNDING)
    later = latents[:, :, 1:]
    torch.testing.assert_close(later, later[:, :, :1].expand_as(later), rtol=0, atol=ROUNDING)
    alone = vae.decode(latents[:, :, :1])
    still = vae.decode(latents[:, :, :1].expand(-1, -1, 3, -1, -1))
    torch.testing.assert_close(still, alone.expand_as(still), rtol=0, atol=ROUNDING)


def test_kernels_start_in_the_range_of_torchs_2d_kernels_and_all_taps_get_gradients():
    vae = inflated(SHAPE21).train()
    conv = vae.decoder.middle[0].residual["2"]
    assert conv.weight[:, :, :-1].abs().max() == 0
    bound = nn.Conv2d(conv.in_channels, conv.out_channels, 3).weight.abs().max().item()
    assert conv.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    torch.manual_seed(0)
    video = torch.rand(1, 3, 13, 16, 16) * 2 - 1
    (vae.decode(vae.moments(video)[0], clamp=False) - video).abs().mean().backward()
    still = [
        name
        for name, parameter in vae.named_parameters()
        if parameter.ndim == 5 and (parameter.grad.flatten(3).abs().amax((0, 1, 3)) == 0).any()
    ]
    assert still == []
