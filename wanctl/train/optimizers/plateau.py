"""A learning rate that is lowered when the held-out loss has stopped falling.

The Wan report (arXiv 2503.20314) lowers it when FID and CLIP score reach a plateau, and says
neither by how much nor after which time. The held-out loss costs no samples.
"""

from typing import Any

from wanctl.train.optimizers.options import PlateauOptions


class Plateau:
    """Lowers a learning rate after several evaluations without a better one.

    Unlike `torch.optim.lr_scheduler.ReduceLROnPlateau` it holds a share and no optimizer, so that
    the rate of a step stays a product of numbers that a checkpoint can hold.

    Args:
        options: `patience` evaluations in a row without a fall of the loss by the share
            `threshold` of the best one multiply the rate by `factor`, down to `final_share`.

    Attributes:
        share: of the learning rate, from 1 down.
        best: lowest loss so far; None before the first evaluation.
        waited: evaluations since the best one, or since the rate was lowered.
    """

    def __init__(self, options: PlateauOptions) -> None:
        self.options = options
        self.share = 1.0
        self.best: float | None = None
        self.waited = 0

    def observe(self, loss: float) -> bool:
        """Take the loss of an evaluation, in order; returns whether the rate was lowered."""
        options = self.options
        if self.best is None or loss < self.best - options.threshold * abs(self.best):
            self.best, self.waited = loss, 0
            return False
        self.waited += 1
        if self.waited < options.patience or self.share <= options.final_share:
            return False
        self.waited = 0
        self.share = max(self.share * options.factor, options.final_share)
        return True

    def state(self) -> dict[str, Any]:
        """The numbers that a checkpoint holds."""
        return {"share": self.share, "best": self.best, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Put the numbers of `state` back."""
        self.share, self.best, self.waited = state["share"], state["best"], state["waited"]
