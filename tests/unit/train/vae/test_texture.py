"""Texture that no latent predicts: L1 alone blurs it away, the adversarial term brings it back.

High-pass noise on a flat colour, and an autoencoder with 4 values for every 4x4 pixels. The best
answer to L1 is the colour; texture that looks alike but is not the same costs L1.
"""

import itertools
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from wanctl.train.inputs.windows import ClipWindow, Shape
from wanctl.train.loop import train
from wanctl.train.rng import keyed_generator
from wanctl.train.vae.objective import VAEObjective

CPU = torch.device("cpu")
TRAINING, HELD_OUT = 240, 16
COLOUR, AMPLITUDE = 0.6, 0.35
# Cycles per pixel from which power is that of the texture.
HIGH = 0.25
BANDS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


class PatchAutoencoder(nn.Module):
    """What `VAEObjective` needs of a VAE, 4x in space, at 5 ms per step."""

    temporal_stride = spatial_stride = 4

    def __init__(self):
        super().__init__()
        self.shape = SimpleNamespace(z_dim=4)
        self.encoder = nn.Sequential(convolution(3, 16, 4, 4), nn.SiLU(), convolution(16, 8, 1))
        self.decoder = nn.Module()
        self.decoder.blocks = nn.Sequential(
            convolution(4, 32, 3), nn.SiLU(), convolution(32, 32, 3), nn.SiLU(),
            convolution(32, 24 * 16, 1),
        )  # fmt: skip
        self.decoder.fine = nn.Sequential(nn.SiLU(), convolution(24, 24, 3), nn.SiLU())
        self.decoder.head = nn.ModuleDict({"2": convolution(24, 3, 3)})
        with torch.no_grad():
            self.encoder[2].bias[4:] = -4  # log-variance

    def moments(self, video, stream=None):
        return self.encoder(video).chunk(2, dim=1)

    def normalise(self, mean):
        return mean

    def decode(self, latents, clamp=True, stream=None):
        coarse = self.decoder.blocks(latents)
        images = F.pixel_shuffle(coarse.transpose(1, 2).flatten(0, 1), 4)
        fine = images.unflatten(0, (len(latents), -1)).transpose(1, 2)
        return self.decoder.head["2"](self.decoder.fine(fine))


def convolution(width_in, width, side, stride=1):
    padding = side // 2 if stride == 1 else 0
    return nn.Conv3d(width_in, width, (1, side, side), (1, stride, stride), (0, padding, padding))


class Textures:
    """High-pass noise on flat colours; single images of 32x32 pixels."""

    held_out = True
    shape = Shape(1, 32, 32)

    def __init__(self, batch_size):
        self.batch_size = batch_size
        generator = torch.Generator().manual_seed(0)
        count = TRAINING + HELD_OUT
        colour = COLOUR * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
        noise = torch.randn(count, 1, 32, 32, generator=generator)
        local_mean = F.avg_pool2d(F.pad(noise, (1, 1, 1, 1), "circular"), 3, 1)
        images = (colour + AMPLITUDE * (noise - local_mean)).clamp(-1, 1)
        frames = ((images + 1) * 127.5).round().to(torch.uint8)
        self.frames = frames.movedim(1, -1)[:, None].numpy()
        self.test = images[TRAINING:, :, None]

    def sample_windows(self, microbatch):
        generator = keyed_generator(microbatch.seed, "windows", microbatch.step, microbatch.micro)
        picks = torch.randint(TRAINING, (self.batch_size,), generator=generator)
        return [ClipWindow(str(int(pick)), self.shape, 0) for pick in picks]

    def training_windows(self):
        return []

    def eval_windows(self):
        return []

    def read(self, window):
        return self.frames[int(window.clip)]


def power(videos, band=(HIGH, 1.0)):
    """Mean power of luminance in a band of cycles per pixel, over samples."""
    luminance = videos.mean(1).flatten(0, 1)
    spectrum = torch.fft.fft2(luminance, norm="ortho").abs().square().mean(0)
    side = torch.fft.fftfreq(luminance.shape[-1])
    radius = (side[:, None].square() + side.square()).sqrt()
    return spectrum[(radius >= band[0]) & (radius < band[1])].mean().item()


class TextureObjective(VAEObjective):
    def eval_items(self):
        return [None]

    def measure(self, item, device):
        test = self.footage.test
        made = self.vae.decode(self.vae.moments(test)[0])
        shares = {f"band {low:g}": power(made, (low, high)) / power(test, (low, high))
                  for low, high in itertools.pairwise(BANDS)}  # fmt: skip
        l1 = (made - test).abs().mean().item()
        return {"high": power(made) / power(test), "l1": l1, **shares}

    def preview_items(self):
        return []

    def save(self, folder, step, device):
        pass

    def saved_step(self, folder):
        return None


@pytest.fixture
def shares(tmp_path, loss_weights, loop_options, optimizer_options):
    """Train and return the last evaluation: the share of the texture's power, and L1."""

    def run(steps, decay="constant", **adversary):
        torch.manual_seed(0)
        objective = TextureObjective(
            PatchAutoencoder(),
            Textures(batch_size=8),
            loss_weights(l1=1, kl=1e-6, perceptual=0, adversarial=adversary),
            fps=8, metadata={}, keep_statistics=True,
        )  # fmt: skip
        options = loop_options(
            steps=steps,
            optimizer=optimizer_options(lr=3e-3, betas=(0.5, 0.9), weight_decay=0, decay=decay),
            ema_decay=0.97,
            eval_every=steps,
            preview_every=steps,
            checkpoint_every=10**6,
        )
        return train(objective, tmp_path / f"{adversary['weight']}", options, device=CPU).figures

    return run


ADVERSARY = {
    "weight": 2.0, "from_step": 50, "width": 32, "layers": 2, "r1": 10.0, "r1_every": 4,
    "optimizer": {"lr": 3e-3},
}  # fmt: skip


def test_texture_begins_to_come_back_with_the_discriminator(shares):
    # the discriminator has learned 30 steps; measured 0.0004 and 0.08
    alone = shares(45, weight=0)
    quick = {**ADVERSARY, "from_step": 15, "width": 16, "r1": 1.0, "weight": 1.0}
    against = shares(45, **quick)
    assert alone["high"] < 0.005
    assert against["high"] > 10 * alone["high"]
    assert against["high"] > 0.01
    assert against["l1"] < 2 * alone["l1"]


@pytest.mark.slow
def test_texture_comes_back_in_every_band(shares):
    """Measured after 1200 steps with seeds 0 to 3: 0.93, 0.98, 0.87 and 0.87 of its power.

    A learning rate that ends near 0 matters: at a constant one the share stays at 0.5.
    """
    settings = {**ADVERSARY, "weight": 3.0, "optimizer": {"lr": 1e-3}}
    against = shares(1200, decay="cosine", **settings)
    bands = [share for name, share in against.items() if name.startswith("band")]
    assert 0.8 < against["high"] < 1.2
    assert len(bands) == 5
    assert min(bands) > 0.8  # 0.86 with this seed, 0.57 with the worst of four
    assert max(bands) < 1.2
