"""Warnings of runs that do not learn; each is provoked, and absent from a run that learns."""

import numpy as np
import pytest
import torch

from wanctl.train.accelerator import Processes
from wanctl.train.evaluation.shared import write_previews
from wanctl.train.evaluation.signs import LearningSigns
from wanctl.train.loop import train
from wanctl.train.objective import Preview

CPU = torch.device("cpu")
PART = {"flat": "is flat", "rises": "rises since", "equal": "equal those before training"}


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


@pytest.fixture
def often(toy_options):
    return lambda **changes: toy_options(eval_every=2, preview_every=4, **changes)


def test_a_run_that_learns_warns_of_nothing(toy, tmp_path, often, caplog):
    train(toy(), tmp_path, often(steps=40), device=CPU)
    assert warnings(caplog) == []


class Rises:
    """What `measure` of a toy returns, by the number of evaluations before it."""

    def __init__(self, toy, losses):
        self.losses = iter([loss for loss in losses for _ in toy.eval_items()])

    def __call__(self, item, device):
        return {"mse": next(self.losses)}


def test_a_rate_that_moves_nothing_is_named(toy, tmp_path, often, optimizer_options, caplog):
    """Loss and previews are those of the start."""
    options = often(optimizer=optimizer_options(lr=1e-9))
    train(toy(), tmp_path, options, device=CPU)
    flat, equal = sorted(warnings(caplog), key=lambda text: "flat" not in text)
    assert "the held-out mse is flat" in flat
    assert "at step 0, after 3 evaluations; raise optimizer.lr" in flat
    assert "previews of step 4 equal those before training" in equal


@pytest.mark.parametrize("stop_at", [None, 8])
def test_a_held_out_loss_that_rises_names_the_evaluation_before(
    toy, tmp_path, often, caplog, stop_at
):
    """The evaluations before a restart count."""
    losses = [1.0, 0.6, 0.5, 0.52, 0.51, 0.53, 0.6]
    objective = toy(stop_at=stop_at)
    objective.measure = Rises(objective, losses)
    if stop_at is not None:
        with pytest.raises(KeyboardInterrupt):
            train(objective, tmp_path, often(), device=CPU)
        again = toy()
        again.measure = objective.measure
        objective = again
    train(objective, tmp_path, often(), device=CPU)
    (warning,) = warnings(caplog)
    assert "held-out mse rises since the evaluation of step 4: 0.5 there, 0.53 at" in warning


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1, 1, 1], []),
        ([1, 1, 1, 1], ["flat"]),
        ([1, 1.1, 1.2, 0.9, 1.1], []),
        ([1, 0.9, 0.904, 0.905, 0.95], []),  # within a hundredth
        ([1, 0.9, 0.95, 0.96, float("nan")], []),
        ([1, 0.9, 0.95, 0.96, 0.95], ["rises"]),
        ([1, 0.9, 0.95, 0.96, 0.95, 0.8], ["rises"]),
        ([1, 0.9, 0.95, 0.8, 0.95, 0.96], []),
    ],
)
def test_which_courses_of_the_loss_are_told(caplog, losses, expected):
    signs = LearningSigns("train-x", "loss", "held-out")
    for step, loss in enumerate(losses):
        signs.take(step, loss)
        signs.warn_of_losses()
        signs.warn_of_losses()
    assert len(warnings(caplog)) == len(expected)
    for text, sign in zip(warnings(caplog), expected, strict=True):
        assert PART[sign] in text


@pytest.mark.parametrize(("change", "warned"), [(0, True), (1, False)])
def test_previews_are_compared_with_those_of_the_same_prompts(
    toy, tmp_path, caplog, change, warned
):
    class Shown(toy):
        level, caption = 100, "a"

        def preview(self, item, device):
            return Preview(np.full((1, 8, 8, 3), self.level, np.uint8), self.caption, 8.0)

    objective, processes = Shown(), Processes(CPU)
    write_previews(objective, tmp_path, 0, processes)
    objective.level += change
    write_previews(objective, tmp_path, 5, processes)
    LearningSigns("train-x", "loss", "held-out").warn_of_previews(tmp_path, 5)
    assert len(warnings(caplog)) == warned
    caplog.clear()
    objective.level, objective.caption = 100, "b"
    write_previews(objective, tmp_path, 6, processes)
    LearningSigns("train-x", "loss", "held-out").warn_of_previews(tmp_path, 6)
    assert warnings(caplog) == []
