"""Checks before a run continues from a checkpoint: what must not differ, and what may."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wanctl.errors import UserError
from wanctl.log import log
from wanctl.train.checkpoint import Checkpoint

# Keys of a checkpoint's state: counts of the networks beyond the main one, settings of the run.
NETWORKS, SETTINGS = "networks", "settings"
SHOWN = 5
SHOWN_CHARACTERS = 60


class TrainingError(UserError):
    """Training cannot begin or cannot go on."""


def check_identity(name: str, checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Compare what must not differ between the run of a checkpoint and this one.

    Raises:
        TrainingError: names the first value that differs.
    """
    for key in sorted({*identity, *checkpoint.identity}):
        before, now = checkpoint.identity.get(key), identity.get(key)
        if before != now:
            raise TrainingError(
                f"{name}: {checkpoint.path} was trained with {key} {_known(before)}, this run has "
                f"{_known(now)}; go back to that, or give another --out"
            )


def check_networks(name: str, checkpoint: Checkpoint, networks: Sequence[str]) -> None:
    """Compare the networks of a checkpoint with those of this run.

    Args:
        name: the command, for messages.
        checkpoint: that the run would continue.
        networks: names of the run's networks, the main one first.

    Raises:
        TrainingError: the checkpoint has no state of one of them.
    """
    held = checkpoint.state.get(NETWORKS, {})
    for network in networks[1:]:
        if network not in held:
            raise TrainingError(
                f"{name}: {checkpoint.path} holds no {network}, this run trains one; start from "
                "the weights of that run with another --out, or train without it"
            )
    for network in sorted(held.keys() - set(networks)):
        log.warning("%s: %s holds a %s, which this run does not train; later checkpoints leave it "
                    "out", name, checkpoint.path, network)  # fmt: skip


def warn_of_changed_settings(
    name: str, checkpoint: Checkpoint, settings: Mapping[str, Any]
) -> None:
    """Log one warning that names the settings with which the checkpoint was not trained.

    Args:
        name: the command, for messages.
        checkpoint: that the run continues; older ones hold no settings.
        settings: of this run, JSON values; those of the checkpoint are compared where both are.
    """
    before = checkpoint.state.get(SETTINGS, {})
    found = [
        f"{key} was {_short(old)}, is {_short(new)}"
        for key, old, new in _differences(before, json.loads(json.dumps(settings)))
    ]
    if found:
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        log.warning("%s: %s was trained with other settings: %s%s",
                    name, checkpoint.path, "; ".join(found[:SHOWN]), more)  # fmt: skip


def _differences(
    before: Mapping[str, Any], now: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, value before, value now); keys that only one of the two knows are left out."""
    for key in [key for key in now if key in before]:
        old, new, dotted = before[key], now[key], f"{path}{key}"
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{dotted}.")
        elif old != new:
            yield dotted, old, new


def _known(value: Any) -> Any:
    return "(default)" if value is None else value


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
