"""The tiny encoder against TAEHV's layout, frame by frame, and the tiny VAE against its parts."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from wanctl.errors import UserError
from wanctl.model.vae.autoencoder import VideoSizeError, WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder, shape_for
from wanctl.model.vae.tiny_encoder import TinyEncoder, TinyEncoderShape
from wanctl.model.vae.tiny_vae import NoEncoderError, TinyVAE, tiny_vae_shape
from wanctl.model.variants import WAN21_LATENT_MEAN, WAN21_LATENT_STD, WAN22_VAE, VAEShape

SHAPES = {
    "2.1": TinyEncoderShape(width=8),
    "2.2": TinyEncoderShape(z_dim=48, patch=2, width=8),
}
WAN = {"2.1": VAEShape(), "2.2": WAN22_VAE}


def random_vae(name="2.1", statistics=None, *, with_encoder=True):
    torch.manual_seed(0)
    encoder = TinyEncoder(SHAPES[name]) if with_encoder else None
    decoder = TinyDecoder(shape_for(WAN[name], 16))
    return TinyVAE(decoder, encoder, tiny_vae_shape(decoder.shape, statistics)).eval()


def test_full_width_has_the_parameters_of_the_published_encoders():
    with torch.device("meta"):
        sizes = {
            name: sum(p.numel() for p in TinyEncoder(replace(s, width=64)).parameters())
            for name, s in SHAPES.items()
        }
    assert {name: round(count / 1e6, 2) for name, count in sizes.items()} == {
        "2.1": 1.47, "2.2": 1.49,
    }  # fmt: skip


class FrameByFrame:
    """TAEHV's encoder written out for one frame at a time, from tensors by name.

    A pool waits until it has as many frames as it joins.
    """

    def __init__(self, tensors, patch):
        self.tensors, self.patch = tensors, patch
        self.past, self.waiting = {}, {}

    def conv(self, x, index, stride=1):
        name = f"encoder.{index}"
        weight = self.tensors[f"{name}.weight"]
        padding = weight.shape[2] // 2
        return F.conv2d(x, weight, self.tensors.get(f"{name}.bias"), stride, padding)

    def block(self, x, index):
        past = self.past.get(index, torch.zeros_like(x))
        self.past[index] = x
        h = F.relu(self.conv(torch.cat([x, past], 1), f"{index}.conv.0"))
        h = F.relu(self.conv(h, f"{index}.conv.2"))
        return F.relu(self.conv(h, f"{index}.conv.4") + x)

    def latent(self, frame):
        """The latent frame that this frame in [0, 1] completes, or None."""
        x = F.relu(self.conv(F.pixel_unshuffle(frame, self.patch), 0))
        for first in (2, 7, 12):
            weight = self.tensors[f"encoder.{first}.conv.weight"]
            frames = self.waiting.setdefault(first, [])
            frames.append(x)
            if len(frames) * x.shape[1] < weight.shape[1]:
                return None
            x = F.conv2d(torch.cat(frames, 1), weight)
            frames.clear()
            x = self.conv(x, first + 1, stride=2)
            for index in range(first + 2, first + 5):
                x = self.block(x, index)
        return self.conv(x, 17)


@pytest.mark.parametrize("name", SHAPES)
def test_the_encoder_is_that_of_taehv(name):
    vae = random_vae(name)
    stride = vae.spatial_stride
    video = torch.rand(1, 3, 9, 2 * stride, 3 * stride) * 2 - 1
    padded = [*video.unbind(2), *[video[:, :, -1]] * 3]
    reference = FrameByFrame(vae.encoder.state_dict(), SHAPES[name].patch)
    latents = [reference.latent((frame + 1) / 2) for frame in padded]
    latents = [latent for latent in latents if latent is not None]
    with torch.inference_mode():
        for chunked in (False, True):
            encoded = vae.encode(video, chunked=chunked)
            torch.testing.assert_close(encoded, torch.stack(latents, dim=2), atol=1e-5, rtol=0)


def test_clips_of_a_batch_do_not_mix():
    vae = random_vae()
    video = torch.rand(2, 3, 5, 16, 16) * 2 - 1
    with torch.inference_mode():
        both = vae.encode(video, chunked=True)
        torch.testing.assert_close(both[1:], vae.encode(video[1:]), atol=1e-5, rtol=0)
    assert (both[0] - both[1]).abs().max() > 1e-4


@pytest.mark.parametrize("name", SHAPES)
def test_sizes_are_those_of_the_vae(name):
    small = replace(WAN[name], dim=4, decoder_dim=WAN[name].decoder_dim and 4, num_res_blocks=1)
    ours, theirs = random_vae(name), WanVAE(small).eval()
    assert (ours.temporal_stride, ours.spatial_stride) == (
        theirs.temporal_stride, theirs.spatial_stride,
    )  # fmt: skip
    assert ours.shape.temporal_stride == ours.temporal_stride
    assert ours.shape.spatial_stride == ours.spatial_stride
    video = torch.rand(1, 3, 5, 32, 32) * 2 - 1
    with torch.inference_mode():
        latents = ours.encode(video)
        assert latents.shape == theirs.encode(video).shape
        assert ours.decode(latents).shape == video.shape
        pieces = torch.cat(list(ours.decode_frames(latents)), dim=2)
        torch.testing.assert_close(pieces, ours.decode(latents), atol=1e-5, rtol=0)


def test_latents_enter_as_the_transformer_makes_them_or_with_the_statistics_of_wan():
    plain = random_vae()
    scaled = random_vae(statistics=(WAN21_LATENT_MEAN, WAN21_LATENT_STD))
    mean = torch.tensor(WAN21_LATENT_MEAN).view(1, -1, 1, 1, 1)
    std = torch.tensor(WAN21_LATENT_STD).view(1, -1, 1, 1, 1)
    latents, video = torch.randn(1, 16, 2, 2, 2), torch.rand(1, 3, 5, 16, 16)
    with torch.inference_mode():
        assert torch.equal(plain.decode(latents), plain.decoder.decode(latents))
        torch.testing.assert_close(
            scaled.decode(latents), plain.decode(latents * std + mean), atol=1e-6, rtol=0
        )
        torch.testing.assert_close(
            scaled.encode(video) * std + mean, plain.encode(video), atol=1e-5, rtol=0
        )


def test_what_cannot_be_encoded_is_refused():
    with pytest.raises(NoEncoderError, match="has no encoder, and this task encodes"):
        random_vae(with_encoder=False).encode(torch.zeros(1, 3, 5, 16, 16))
    with pytest.raises(VideoSizeError, match="got 4 frames"):
        random_vae().encode(torch.zeros(1, 3, 4, 16, 16))
    assert issubclass(NoEncoderError, UserError)
