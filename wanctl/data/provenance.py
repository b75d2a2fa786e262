"""What made a data set: the shot detectors that ran, and the filters that decided a selection.

dataset.json holds it (`detectors`, `decisions`), so that the data card names what ran and not what
a recipe says. Data sets of older versions have no such record.
"""

from collections.abc import Mapping

from wanctl.data.dataset import DatasetDir
from wanctl.data.description import load, save
from wanctl.lock import lock_description

DETECTORS, DECISIONS = "detectors", "decisions"


def record_detector(dataset: DatasetDir, name: str) -> None:
    """Record that a shot detector splits footage now. Several processes may call this at once."""
    with lock_description(dataset.path):
        description = load(dataset.path)
        before = description.get(DETECTORS, [])
        if name not in before:
            save(dataset.path, {**description, DETECTORS: sorted([*before, name])})


def record_decision(dataset: DatasetDir, selection: str, filters: Mapping[str, str]) -> None:
    """Record which filters decided a selection: name -> hash of their measuring settings."""
    with lock_description(dataset.path):
        description = load(dataset.path)
        decisions = {**description.get(DECISIONS, {}), selection: dict(filters)}
        if decisions != description.get(DECISIONS):
            save(dataset.path, {**description, DECISIONS: dict(sorted(decisions.items()))})


def detectors_of(dataset: DatasetDir) -> list[str]:
    """Shot detectors that ran; none where an older version split the footage."""
    return list(load(dataset.path).get(DETECTORS, []))


def decision_of(dataset: DatasetDir, selection: str) -> dict[str, str] | None:
    """Filters that decided a selection; None where an older version decided it."""
    return load(dataset.path).get(DECISIONS, {}).get(selection)
