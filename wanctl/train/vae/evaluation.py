"""What `train-vae` measures at each evaluation: quick measures of those of `wanctl eval vae`."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from wanctl.metrics.perceptual import PerceptualDistance, PerceptualWeightsError
from wanctl.metrics.reconstruction import reconstruction_measures
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.train.inputs.windows import ClipWindow, Footage, read_video
from wanctl.train.vae import losses

NUM_PREVIEWS = 4


class VAEEvaluation:
    """Measures reconstructions of the evaluation's windows.

    Args:
        footage: source of the windows.
        distance: the network of the perceptual term; None: it has none.
    """

    def __init__(self, footage: Footage, distance: nn.Module | None) -> None:
        self._footage = footage
        self._distance = distance

    @cached_property
    def _st_lpips(self) -> nn.Module | None:
        """ST-LPIPS: the loss's own network where that is it; None where its package is missing."""
        if isinstance(self._distance, PerceptualDistance):
            return self._distance
        try:
            return PerceptualDistance()
        except PerceptualWeightsError:
            return None

    def measure(
        self,
        vae: WanVAE,
        reconstruct: Callable[[Tensor], Tensor],
        window: ClipWindow,
        device: torch.device,
    ) -> dict[str, float]:
        """Measures of one window; one that it has not is left out.

        Args:
            vae: its strides decide where seams are looked for.
            reconstruct: (1, 3, T, H, W) in [-1, 1] -> the same shape.
            window: what is reconstructed.
            device: of the VAE.

        Returns:
            `l1`, `perceptual` (the loss's network), and those of `reconstruction_measures`.
        """
        distances = {} if self._st_lpips is None else {"st_lpips": self._st_lpips.to(device)}
        video = read_video(self._footage, window)[None].to(device)
        reconstruction = reconstruct(video)
        with torch.autocast(device.type, enabled=False):
            figures: dict[str, float | None] = {"l1": losses.l1(reconstruction, video).item()}
            figures |= reconstruction_measures(
                reconstruction[0],
                video[0],
                temporal_stride=vae.temporal_stride,
                spatial_stride=vae.spatial_stride,
                distances=distances,
            )
            if self._distance is self._st_lpips and self._distance is not None:
                figures["perceptual"] = figures["st_lpips"]
            elif self._distance is not None:
                distance = self._distance.to(device)
                compared = losses.perceptual(distance, reconstruction, video, None)
                figures["perceptual"] = compared.item()
        return {name: value for name, value in figures.items() if value is not None}


def largest_windows(footage: Footage) -> list[ClipWindow]:
    """Up to four windows of the evaluation's largest shape, for previews."""
    windows = footage.eval_windows()
    shape = max(window.shape for window in windows)
    return [window for window in windows if window.shape == shape][:NUM_PREVIEWS]
