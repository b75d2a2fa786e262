"""The straight path between video and noise, its velocity and its noise levels.

    x_sigma = (1 - sigma) * x0 + sigma * noise        sigma 0 is video, 1 is noise
    velocity = d x_sigma / d sigma = noise - x0       what the model predicts

(Rectified flow, arXiv 2209.03003; the Wan report, arXiv 2503.20314, section 4.2, counts time the
other way round, which only flips the sign.)
"""

from torch import Tensor

from wanctl.model.variants import NUM_TRAIN_TIMESTEPS


def add_noise(x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The point at noise level `sigma` on the path.

    Args:
        x0: (B, ...) clean latents.
        noise: same shape, standard normal.
        sigma: (B,) in [0, 1].
    """
    sigma = _per_item(sigma, x0)
    return (1 - sigma) * x0 + sigma * noise


def velocity(x0: Tensor, noise: Tensor) -> Tensor:
    """The training target: the derivative of `add_noise` by sigma, the same at every sigma."""
    return noise - x0


def denoised(x: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
    """The clean latents (B, ...) that velocity `v` at `x` implies; sigma is (B,)."""
    return x - _per_item(sigma, x) * v


def timesteps(sigma: Tensor) -> Tensor:
    """Noise levels as the model takes them: 0 to 1000, same shape, not rounded."""
    return sigma * NUM_TRAIN_TIMESTEPS


def _per_item(sigma: Tensor, like: Tensor) -> Tensor:
    return sigma.to(like).view(-1, *(1,) * (like.ndim - 1))
