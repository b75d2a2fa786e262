"""Reconstruction FVD: Frechet distance of the features that a video network sees in two sets.

Unterthiner et al., "Towards Accurate Generative Models of Video", arXiv 1812.01717. The network is
a TorchScript file that the user names: the I3D of Kinetics-400 that the field shares as
`i3d_torchscript.pt` (StyleGAN-V's), called as there.
"""

import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from wanctl.errors import UserError

# I3D's input; shorter videos vanish in its pooling over time.
SIDE_PX = 224
MIN_FRAMES = 10
NAMES = "i3d_torchscript.pt"


class FeatureNetworkError(UserError):
    """The file is no network for FVD."""


class VideoFeatures:
    """The features of videos.

    Args:
        path: TorchScript file.
        device: where the network runs.

    Raises:
        FeatureNetworkError: there is no such file, or it is no TorchScript.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self._path, self._device = path, device
        if not path.is_file():
            raise FeatureNetworkError(
                f"{path}: no such file; FVD needs I3D as TorchScript, known as {NAMES}"
            )
        try:
            with warnings.catch_warnings():
                # deprecated, but the field's file has no other form
                warnings.simplefilter("ignore", FutureWarning)
                self._network = torch.jit.load(str(path), map_location=device).eval()
        except (RuntimeError, ValueError, OSError) as error:
            raise FeatureNetworkError(
                f"{path}: is no TorchScript file ({_first_line(error)}); FVD needs I3D as {NAMES}"
            ) from error

    @torch.no_grad()
    def __call__(self, video: Tensor) -> Tensor:
        """(D,) float64 features on the CPU of one video (3, T, H, W) in [-1, 1], T at least 10.

        The shorter side is scaled to 224 px and the middle square taken.

        Raises:
            FeatureNetworkError: the network takes no such video, or gives no vector.
        """
        frames = video.to(self._device).float().clamp(-1, 1).transpose(0, 1)
        scale = SIDE_PX / min(frames.shape[-2:])
        size = [max(SIDE_PX, round(side * scale)) for side in frames.shape[-2:]]
        frames = F.interpolate(frames, size, mode="bilinear", align_corners=False)
        top, left = ((side - SIDE_PX) // 2 for side in size)
        frames = frames[..., top : top + SIDE_PX, left : left + SIDE_PX]
        batch = frames.transpose(0, 1)[None].contiguous()
        try:
            features = self._network(batch, rescale=False, resize=False, return_features=True)
        except RuntimeError as error:
            raise FeatureNetworkError(
                f"{self._path}: does not take a video of {tuple(batch.shape)} ({_first_line(error)}"
                f"); FVD needs I3D as {NAMES}"
            ) from error
        if not isinstance(features, Tensor) or features.shape[:1] != (1,):
            raise FeatureNetworkError(f"{self._path}: gives no vector per video; not {NAMES}")
        return features.flatten().double().cpu()


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Squared Frechet distance of the normal distributions fitted to two sets of features.

    |m_x - m_y|^2 + tr(S_x) + tr(S_y) - 2 tr((S_x S_y)^(1/2)), S with n - 1 as in FVD. The last
    trace is the sum of the singular values of A_x A_y^T, where S = A^T A: a matrix as small as the
    number of videos, and exact where the covariances are singular.

    Args:
        x: (N, D) features.
        y: (M, D) features.

    Raises:
        ValueError: fewer than two rows.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(f"features of {len(x)} and {len(y)} videos; need two of each")
    x, y = x.double(), y.double()
    centred = [(each - each.mean(0)) / (len(each) - 1) ** 0.5 for each in (x, y)]
    shared = torch.linalg.svdvals(centred[0] @ centred[1].T).sum()
    spread = sum(each.square().sum() for each in centred)
    return ((x.mean(0) - y.mean(0)).square().sum() + spread - 2 * shared).clamp(min=0).item()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:120] if lines else type(error).__name__
