"""Runs the demo's commands one after another and measures what each of them costs."""

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wanctl.errors import UserError
from wanctl.log import console


@dataclass(frozen=True)
class StageTime:
    """What one stage of this run took.

    Attributes:
        cpu_s: seconds of processor time, user and system, of the command and all its processes.
        wall_s: seconds from its start to its end.
    """

    name: str
    cpu_s: float
    wall_s: float


def run_command(
    arguments: Sequence[str], recipe: str, output: Path, overrides: Sequence[str] = ()
) -> StageTime:
    """Run one `wanctl` command as a user would type it.

    Args:
        arguments: the command and its own arguments.
        recipe: value of its `--recipe`.
        output: what a reader should look at afterwards.
        overrides: values of its `--set`.

    Raises:
        UserError: the command failed; its own message is printed above.
    """
    sets = [part for each in overrides for part in ("--set", each)]
    command = [*arguments, "--recipe", recipe, *sets]
    console.print(f"[dim]$ wanctl {' '.join(command)}[/]")
    cpu_s, started_s = children_cpu_s(), time.monotonic()
    result = subprocess.run([sys.executable, "-m", "wanctl", *command], check=False)
    if result.returncode:
        raise UserError(
            f"demo: `wanctl {' '.join(command)}` ended with {result.returncode}; its message is "
            "above; `make demo` continues from this stage"
        )
    stage = StageTime(arguments[0], children_cpu_s() - cpu_s, time.monotonic() - started_s)
    console.print(f"[green]{stage.wall_s:.0f} s[/] ({stage.cpu_s:.0f} s of CPU time), see {output}")
    return stage


def children_cpu_s() -> float:
    """Processor seconds of all child processes that have ended, with their own children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
