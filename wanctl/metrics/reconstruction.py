"""The measures of a reconstruction that `wanctl eval vae` and the evaluations of training share."""

from collections.abc import Callable, Mapping

from torch import Tensor

from wanctl.metrics import artefacts, fidelity

Distances = Mapping[str, Callable[[Tensor, Tensor], Tensor]]


def reconstruction_measures(
    video: Tensor,
    source: Tensor,
    *,
    temporal_stride: int,
    spatial_stride: int,
    distances: Distances,
) -> dict[str, float | None]:
    """Measure one reconstruction.

    Args:
        video: (3, T, H, W) float, clamped to [-1, 1] here.
        source: the same shape, in [-1, 1].
        temporal_stride: frames of one latent frame.
        spatial_stride: pixels of one latent along a side.
        distances: name -> distance of images, e.g. `st_lpips`.

    Returns:
        `psnr` in dB, `ssim`, the distances, `flicker` in grey levels, `seam_time` and `seam_space`
        as ratios; None where the clip is too short, too small or never still.
    """
    video = video.float().clamp(-1, 1)
    error = video - source
    return {
        "psnr": fidelity.psnr(video, source),
        "ssim": fidelity.ssim(video, source),
        **{
            name: fidelity.perceptual_distance(distance, video, source)
            for name, distance in distances.items()
        },
        "flicker": artefacts.flicker(error, source),
        "seam_time": artefacts.temporal_seams(error, temporal_stride),
        "seam_space": artefacts.spatial_seams(error, spatial_stride),
    }
