"""Evaluations and previews of a run, and what follows from them: log lines, warnings, the page."""

from pathlib import Path
from typing import Any

from wanctl.log import log
from wanctl.train.accelerator import Processes
from wanctl.train.evaluation.page import write_page
from wanctl.train.evaluation.shared import evaluate, write_previews
from wanctl.train.evaluation.signs import LearningSigns
from wanctl.train.metrics import RunMetrics
from wanctl.train.objective import Objective


class Evaluator:
    """Evaluates and previews the networks of an objective as they are.

    Args:
        objective: what is trained.
        folder: of the run; receives previews/ and previews.html.
        metrics: receives the figures.
        processes: those of the run; each of them has to call each method.

    Attributes:
        figures: of the last evaluation; empty before the first.
    """

    def __init__(
        self, objective: Objective[Any], folder: Path, metrics: RunMetrics, processes: Processes
    ) -> None:
        self.objective = objective
        self.folder = folder
        self.metrics = metrics
        self.processes = processes
        self.signs = LearningSigns(objective.name, objective.judged, objective.eval_split)
        self.figures: dict[str, float] = {}

    def start(self) -> None:
        """Read the evaluations of a run that continues."""
        for line in self.metrics.evaluations():
            self.signs.take(int(line["step"]), line.get(self.objective.judged))

    def evaluate(self, step: int) -> dict[str, float]:
        """Record the figures of all items, and return them."""
        name, judged = self.objective.name, self.objective.judged
        split = self.objective.eval_split
        self.figures = evaluate(self.objective, self.processes)
        self.metrics.record({"step": step, "eval": split, **self.figures})
        text = ", ".join(f"{name} {value:.4g}" for name, value in self.figures.items())
        log.info("%s: step %d, %s clips: %s", name, step, split, text)
        self.signs.take(step, self.figures[judged])
        if self.processes.is_main:
            self.signs.warn_of_losses()
        return self.figures

    def preview(self, step: int) -> None:
        """Write previews, and the page that shows those of all steps."""
        folder = self.folder / "previews"
        sheet = write_previews(self.objective, folder, step, self.processes)
        if sheet is not None:
            write_page(self.folder, self.objective, self.metrics.evaluations())
            if step:
                self.signs.warn_of_previews(folder, step)
