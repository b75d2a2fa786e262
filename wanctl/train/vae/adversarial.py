"""The adversarial term of the VAE's loss: what both networks minimise, and the term's weight.

Losses are per sample, (B,) fp32. Logits are (B, ...), positive for real.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.model.discriminator import PatchDiscriminator
from wanctl.train.objective import Losses, Network, per_sample_mean
from wanctl.train.rng import MicrobatchIndex, keyed_generator, keyed_seed
from wanctl.train.vae.discriminator_watch import DiscriminatorWatch
from wanctl.train.vae.loss_options import AdversarialOptions

# Bounds of the adaptive weight and of its divisor (Esser et al. 2021, eq. 7 and its code).
MAX_ADAPTIVE_WEIGHT = 1e4
MIN_GRADIENT = 1e-6


class Adversary:
    """The discriminator, and its part in the losses of both networks.

    Args:
        options: sizes and weights.
        seed: of the discriminator's random weights.
    """

    def __init__(self, options: AdversarialOptions, seed: int) -> None:
        self.options = options
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(keyed_seed(seed, "discriminator"))
            self.module = PatchDiscriminator(options.width, options.layers)

    @property
    def network(self) -> Network:
        """The discriminator for the training loop. Its newest weights are the ones that matter."""
        watch = DiscriminatorWatch()
        return Network(self.module, self.options.optimizer, averaged=False, observe=watch.add)

    def generator_loss(
        self, discriminator: nn.Module, reconstruction: Tensor, compared: Tensor, layer: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted adversarial loss of the VAE (B,), and its parts for the log.

        Args:
            discriminator: with constant parameters.
            reconstruction: (B, 3, T, H, W), with gradient.
            compared: (B,), weighted sum of the terms that compare videos.
            layer: weight of the decoder's last layer.
        """
        loss = generator(discriminator(reconstruction))
        parts = {"adversarial": loss}
        if self.options.adaptive:
            parts["adaptive_weight"] = adaptive_weight(compared, loss, layer)
        return self.options.weight * parts.get("adaptive_weight", 1.0) * loss, parts

    def discriminator_losses(
        self,
        discriminator: nn.Module,
        video: Tensor,
        reconstruction: Tensor,
        microbatch: MicrobatchIndex,
    ) -> Losses:
        """Hinge loss, in some steps with the gradient penalty.

        Args:
            discriminator: it learns.
            video: (B, 3, T, H, W).
            reconstruction: the same shape, without gradient.
            microbatch: position of the micro-batch.
        """
        logits = discriminator(torch.cat([video, reconstruction])).float()
        real, fake = logits.chunk(2)
        loss = hinge(real, fake)
        parts = {
            "hinge": loss.detach(),
            "real": per_sample_mean(real.detach()),
            "fake": per_sample_mean(fake.detach()),
            "spread": logits.detach().std(correction=0),
        }
        if self.options.r1 > 0 and microbatch.step % self.options.r1_every == 0:
            signs = keyed_generator(microbatch.seed, "r1", microbatch.step, microbatch.micro)
            penalty = gradient_penalty(discriminator, video, signs)
            parts["r1"] = penalty.detach()
            loss = loss + self.options.r1 * self.options.r1_every * penalty
        return Losses(loss, parts)


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator: 0 where all logits are beyond +-1, 2 where all are 0.

    max(0, 1 - real) + max(0, 1 + fake) (Lim and Ye, arXiv 1705.02894, eq. 21-22).
    """
    return per_sample_mean(F.relu(1 - real)) + per_sample_mean(F.relu(1 + fake))


def generator(fake: Tensor) -> Tensor:
    """Hinge loss of the generator: the mean logit of its videos, negated."""
    return -per_sample_mean(fake)


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, layer: Tensor) -> Tensor:
    """Ratio of the gradients of two losses at the decoder's last layer: a detached scalar.

    |d reconstruction / d layer| / (|d adversarial / d layer| + 1e-6), at most 1e4 (Esser et al.,
    "Taming Transformers", CVPR 2021, eq. 7). It belongs to one micro-batch: accumulated ones and
    those of several processes each have their own.

    Args:
        reconstruction: (B,), the weighted terms that compare videos.
        adversarial: (B,), the generator's loss.
        layer: the weight of the last layer.
    """
    norms = [
        torch.autograd.grad(loss.mean(), layer, retain_graph=True)[0].float().norm()
        for loss in (reconstruction, adversarial)
    ]
    return (norms[0] / (norms[1] + MIN_GRADIENT)).clamp(max=MAX_ADAPTIVE_WEIGHT).detach()


def gradient_penalty(discriminator: nn.Module, video: Tensor, generator: torch.Generator) -> Tensor:
    """R1: half the squared gradient of a logit at real videos (Mescheder et al. 2018, eq. 9).

    The mean over a sample's logits, so that it means the same for all sizes. One product with
    random signs estimates it without a backward pass per logit (Hutchinson). The plain sum of the
    logits would not do: behind a group norm its gradient is nearly zero.

    Args:
        discriminator: differentiated twice.
        video: (B, 3, T, H, W).
        generator: of the signs, on the CPU.
    """
    video = video.detach().requires_grad_()
    logits = discriminator(video).float()
    signs = torch.randint(2, logits.shape, generator=generator).to(logits) * 2 - 1
    (gradient,) = torch.autograd.grad((logits * signs).sum(), video, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(dim=1) / logits[0].numel()
