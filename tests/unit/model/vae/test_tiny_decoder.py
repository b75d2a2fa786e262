"""The tiny decoder against TAEHV's layout, frame by frame, and against itself in chunks."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from wanctl.errors import UserError
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder, TinyDecoderShape, shape_for
from wanctl.model.variants import WAN22_VAE, VAEShape

SMALL = {
    "2.1": VAEShape(dim=8, num_res_blocks=1),
    "2.2": replace(WAN22_VAE, dim=8, decoder_dim=8, num_res_blocks=1),
    "2.1, four channels": replace(
        VAEShape(dim=8, num_res_blocks=1), z_dim=4, latent_mean=(0.5,) * 4, latent_std=(2.0,) * 4
    ),
    "two levels": VAEShape(dim=8, dim_mult=(1, 2), temporal_downsample=(True,)),
}


def random_decoder(shape):
    torch.manual_seed(0)
    return TinyDecoder(shape).eval()


@pytest.mark.parametrize(("vae", "millions"), [(VAEShape(), 9.84), (WAN22_VAE, 9.92)])
def test_full_width_has_the_parameters_of_the_published_decoders(vae, millions):
    with torch.device("meta"):
        decoder = TinyDecoder(shape_for(vae))
    count = sum(parameter.numel() for parameter in decoder.parameters())
    assert round(count / 1e6, 2) == millions
    assert decoder.state_dict()["decoder.1.weight"].shape == (256, vae.z_dim, 3, 3)


@pytest.mark.parametrize("name", SMALL)
def test_videos_have_the_size_of_the_vaes(name):
    latents = torch.randn(2, SMALL[name].z_dim, 3, 2, 3)
    with torch.inference_mode():
        expected = WanVAE(SMALL[name]).eval().decode(latents).shape
        assert random_decoder(shape_for(SMALL[name], 16)).decode(latents).shape == expected


@pytest.mark.parametrize("latent_frames", [1, 2, 4])
@pytest.mark.parametrize("name", ["2.1", "2.2"])
def test_pieces_equal_the_whole_clip(name, latent_frames):
    decoder = random_decoder(shape_for(SMALL[name], 16))
    latents = torch.randn(2, SMALL[name].z_dim, 4, 2, 3)
    with torch.inference_mode():
        pieces = list(decoder.decode_frames(latents, latent_frames=latent_frames))
        whole = decoder.decode(latents)
    assert pieces[0].shape[2] == 4 * latent_frames - 3
    torch.testing.assert_close(torch.cat(pieces, dim=2), whole, atol=1e-5, rtol=0)


class FrameByFrame:
    """TAEHV's decoder written out for one frame at a time, from tensors by name."""

    def __init__(self, tensors):
        self.tensors = tensors
        self.past = {}

    def conv(self, x, name):
        weight = self.tensors[f"{name}.weight"]
        padding = weight.shape[2] // 2
        return F.conv2d(x, weight, self.tensors.get(f"{name}.bias"), padding=padding)

    def block(self, x, name):
        past = self.past.get(name, torch.zeros_like(x))
        self.past[name] = x
        h = F.relu(self.conv(torch.cat([x, past], 1), f"{name}.conv.0"))
        h = F.relu(self.conv(h, f"{name}.conv.2"))
        return F.relu(self.conv(h, f"{name}.conv.4") + x)

    def level(self, x, first):
        """Frames of a level from one frame; `first` is the index of its first layer."""
        for index in range(first, first + 3):
            x = self.block(x, f"decoder.{index}")
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        grown = self.conv(x, f"decoder.{first + 4}.conv")
        return [self.conv(each, f"decoder.{first + 5}") for each in grown.split(x.shape[1], 1)]

    def frames(self, z, patch):
        """Pixels in [0, 1] of the latent frame (1, Z, Y, X)."""
        queue = [F.relu(self.conv(3 * torch.tanh(z / 3), "decoder.1"))]
        for first in (3, 9, 15):
            queue = [frame for x in queue for frame in self.level(x, first)]
        return [F.pixel_shuffle(self.conv(F.relu(x), "decoder.22"), patch) for x in queue]


@pytest.mark.parametrize("shape", [TinyDecoderShape(widths=(16, 8, 4, 4)),
    TinyDecoderShape(z_dim=48, patch=2, widths=(16, 8, 4, 4))])  # fmt: skip
def test_layers_are_those_of_taehv(shape):
    decoder = random_decoder(shape)
    latents = 3 * torch.randn(1, shape.z_dim, 3, 2, 3)
    reference = FrameByFrame(decoder.state_dict())
    frames = [f for z in latents.unbind(2) for f in reference.frames(z, shape.patch)]
    expected = 2 * torch.stack(frames[3:], dim=2) - 1
    with torch.inference_mode():
        torch.testing.assert_close(decoder(latents), expected, atol=1e-5, rtol=0)


def test_a_frame_depends_on_the_frames_before_it_only():
    decoder = random_decoder(TinyDecoderShape(widths=(16, 8, 4, 4)))
    latents = torch.randn(1, 16, 4, 2, 3)
    changed = latents.clone()
    changed[:, :, 2] += 1
    with torch.inference_mode():
        before, after = decoder.decode(latents), decoder.decode(changed)
    assert torch.equal(before[:, :, :5], after[:, :, :5])
    assert (before[:, :, 9:] - after[:, :, 9:]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("vae", "width", "says"),
    [
        (VAEShape(dim_mult=(1,) * 5, temporal_downsample=(True,) * 4), 16, "16 pixels per latent"),
        (VAEShape(), 18, "multiple of 4"),
    ],
)
def test_sizes_that_three_levels_cannot_have_are_refused(vae, width, says):
    with pytest.raises(UserError, match=says):
        shape_for(vae, width)
