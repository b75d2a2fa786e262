"""Signs that a run does not learn, each told in one warning."""

import math
from pathlib import Path

import numpy as np

from wanctl.log import log
from wanctl.train.previews import preview_sheet
from wanctl.video.encode import read_metadata
from wanctl.video.image_files import read_image

EVALUATIONS = 3
"""Evaluations after which a sign counts; a single one may be a chance of its moment."""
RISE = 0.01
"""Share of the lowest loss by which later ones must lie above it."""
SAME_LEVELS = 0.5
"""Mean difference of two previews, of 255 levels, up to which people see no difference."""


class LearningSigns:
    """Follows the evaluations of a run; warns of each sign once.

    Args:
        name: the command, for messages.
        judged: the figure of an evaluation, lower is better, that is followed.
        split: the clips that are evaluated, `held-out` or `training`.
    """

    def __init__(self, name: str, judged: str, split: str) -> None:
        self.name = name
        self.judged = judged
        self.split = split
        self._losses: list[tuple[int, float]] = []
        self._warned: set[str] = set()

    def take(self, step: int, loss: float | str | None) -> None:
        """Take the loss of an evaluation; the first one is that of the start."""
        if isinstance(loss, float | int) and math.isfinite(loss):
            self._losses.append((step, float(loss)))

    def warn_of_losses(self) -> None:
        """Warn of a loss that has not fallen, or that rises again."""
        if len(self._losses) <= EVALUATIONS:
            return
        what = f"{self.split} {self.judged}"
        best, (step, lowest) = min(enumerate(self._losses), key=lambda each: each[1][1])
        last, newest = self._losses[-1]
        if best == 0:
            self._warn(
                "flat", f"the {what} is flat: {newest:.4g} at step {last}, not below {lowest:.4g} "
                f"at step {step}, after {len(self._losses) - 1} evaluations; raise optimizer.lr, "
                "or look whether what is trained is what the clips need",
            )  # fmt: skip
            return
        later = [loss for _, loss in self._losses[best + 1 :]]
        if len(later) >= EVALUATIONS and min(later) > lowest + RISE * abs(lowest):
            self._warn(
                "rises", f"the {what} rises since the evaluation of step {step}: {lowest:.4g} "
                f"there, {newest:.4g} at step {last}; the training clips are learned by heart; "
                f"end at about step {step}, or train on more clips, with a lower optimizer.lr or "
                "fewer trained weights",
            )  # fmt: skip

    def warn_of_previews(self, folder: Path, step: int) -> None:
        """Warn of previews that equal those before the first step.

        Args:
            folder: of the previews.
            step: of the newest ones.
        """
        difference = previews_difference(folder, step)
        if difference is not None and difference < SAME_LEVELS:
            self._warn(
                "equal", f"the previews of step {step} equal those before training (mean "
                f"difference {difference:.2g} of 255 levels): what is trained has no effect yet; "
                "raise optimizer.lr, or look whether its output reaches the model",
            )  # fmt: skip

    def _warn(self, sign: str, text: str) -> None:
        if sign not in self._warned:
            self._warned.add(sign)
            log.warning("%s: %s", self.name, text)


def previews_difference(folder: Path, step: int) -> float | None:
    """Mean difference of the previews of a step from those of step 0, of 255 levels.

    Returns:
        None where there are none of step 0, or of other prompts or sizes.
    """
    base, sheet = preview_sheet(folder, 0), preview_sheet(folder, step)
    if not base.exists() or read_metadata(base)["captions"] != read_metadata(sheet)["captions"]:
        return None
    first, second = (np.asarray(read_image(path), dtype=np.int16) for path in (base, sheet))
    return float(np.abs(first - second).mean()) if first.shape == second.shape else None
