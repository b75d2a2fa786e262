"""Notices a discriminator that wins or collapses, from the figures that the loop writes."""

from collections import deque
from collections.abc import Mapping

from wanctl.log import log

# Means over this many of its steps are judged; single batches go up and down.
WINDOW = 100
# Steps from one warning to the next.
INTERVAL = 1000
# Hinge loss of a discriminator that is sure of nearly every patch, where 2 is chance.
WON = 0.1
# Deviation of all logits below which they are a constant, and how near to chance the loss is then.
CONSTANT = 0.1
CHANCE, NEAR_CHANCE = 2.0, 0.1


class DiscriminatorWatch:
    """Warns in one line, at most once per INTERVAL steps."""

    def __init__(self) -> None:
        self._steps: deque[Mapping[str, float]] = deque(maxlen=WINDOW)
        self._quiet_until = 0

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures of a step in which the discriminator learned.

        Args:
            step: number of the step, from 1.
            figures: parts of `Adversary.discriminator_losses`.
        """
        self._steps.append(figures)
        if len(self._steps) < WINDOW or step < self._quiet_until:
            return
        hinge, real, fake, spread = (
            sum(each[name] for each in self._steps) / WINDOW
            for name in ("hinge", "real", "fake", "spread")
        )
        if hinge < WON:
            log.warning(
                "train-vae: the discriminator wins: up to step %d its loss is %.3f (chance is 2) "
                "and its logits of videos and reconstructions are %.1f apart, so the VAE learns "
                "little from them; in train_vae.loss.adversarial set r1 (e.g. 10) or raise it, "
                "lower optimizer.lr or width, or raise weight", step, hinge, real - fake,
            )  # fmt: skip
        elif spread < CONSTANT and abs(hinge - CHANCE) < NEAR_CHANCE:
            log.warning(
                "train-vae: the discriminator has collapsed: up to step %d its loss is %.3f, which "
                "is chance, and its logits differ by %.3f; in train_vae.loss.adversarial lower r1, "
                "or change optimizer.lr (10 times up or down), and start a new run", step, hinge,
                spread,
            )  # fmt: skip
        else:
            return
        self._steps.clear()
        self._quiet_until = step + INTERVAL
