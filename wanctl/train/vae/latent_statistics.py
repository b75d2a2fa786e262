"""Mean and deviation of the latents, by which a saved VAE normalises them."""

from collections.abc import Sequence

import torch

from wanctl.log import progress
from wanctl.model.shapes import PixelShape, fits_unchunked
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.train.inputs.windows import ClipWindow, Footage, read_video

# Lower bound of a channel's deviation: dividing by less would amplify a constant channel to noise.
MIN_LATENT_STD = 1e-3
# Enough for three digits of a mean; a large set need not be encoded completely.
MEASURED_WINDOWS = 256


def measure_latents(
    vae: WanVAE, footage: Footage, windows: Sequence[ClipWindow], device: torch.device
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each latent channel over windows, in float64.

    The windows are encoded as `inputs.encode` fills the cache of latents: in the precision of the
    weights, whatever training computes in, and large ones in chunks.

    Args:
        vae: on `device`.
        footage: source of the windows.
        windows: those of training; at most MEASURED_WINDOWS of them are taken, evenly spaced.
        device: of the VAE.
    """
    total = torch.zeros(vae.shape.z_dim, dtype=torch.float64)
    squares, count = torch.zeros_like(total), 0
    windows = windows[:: -(-len(windows) // MEASURED_WINDOWS)]
    with (
        progress(len(windows), "latent statistics") as bar,
        torch.no_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        for window in windows:
            chunked = not fits_unchunked(PixelShape(*window.shape))
            video = read_video(footage, window)[None].to(device)
            mean, _ = vae.moments(video, chunked=chunked)
            values = mean.double().cpu().transpose(0, 1).flatten(1)
            total += values.sum(dim=1)
            squares += values.square().sum(dim=1)
            count += values.shape[1]
            bar.advance()
    average = total / count
    deviation = (squares / count - average.square()).clamp(min=0).sqrt()
    return tuple(average.tolist()), tuple(deviation.clamp(min=MIN_LATENT_STD).tolist())
