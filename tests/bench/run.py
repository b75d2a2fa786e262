"""All benchmarks, one table, one bench.json.

`make bench`, or `python tests/bench/run.py vae dit` for some of them. Each benchmark runs in a
process of its own, so that memory held by one is not in the figures of the next.
"""

import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
MODULES = (
    "vae",
    "vae_training",
    "dit",
    "dit_training",
    "sample",
    "weights_memory",
    "sample_cold",
    "curate",
    "curate_memory",
    "captioning",
    "reselect",
)
RESULT = Path("bench.json")
ONE = "--one"  # run one module here: NAME FILE


def main(names: list[str]) -> None:
    if names[:1] == [ONE]:
        _, name, figures = names
        Path(figures).write_text(json.dumps(importlib.import_module(name).run()))
        return
    from harness import machine

    here = machine()
    title = f"{here['cpu']}, {here['threads']} threads, torch {here['torch']}"
    run_all(names or MODULES, here, title, RESULT)


def run_all(names: Sequence[str], machine: Mapping[str, object], title: str, result: Path) -> None:
    """Run benchmark modules one by one, each in a new process; write JSON, print a table."""
    console = Console()
    results: dict[str, dict] = {"machine": dict(machine)}
    for name in names:
        console.print(f"[bold]{name}[/] ...")
        start = time.perf_counter()
        results[name] = run_in_new_process(name)
        console.print(f"  {time.perf_counter() - start:.0f} s")
        # Written after each module: one that fails late does not lose the figures before it.
        result.write_text(json.dumps(results, indent=2) + "\n")
    console.print(table(results, title))
    console.print(f"written to {result.resolve()}")


def run_in_new_process(name: str) -> dict[str, Any]:
    """Figures of one benchmark module, as its `run()` returns them, through JSON.

    Raises:
        subprocess.CalledProcessError: the benchmark failed; its traceback is on stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        subprocess.run([sys.executable, __file__, ONE, name, str(figures)], check=True)
        return json.loads(figures.read_text())


def table(results: dict[str, dict], title: str) -> Table:
    rows = Table("benchmark", "figure", "value", title=title)
    for name, figures in results.items():
        if name != "machine":
            for figure, value in flat(figures):
                rows.add_row(name, figure, f"{value:,}" if isinstance(value, int) else str(value))
            rows.add_section()
    return rows


def flat(figures: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested figures as (dotted name, value)."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


if __name__ == "__main__":
    main(sys.argv[1:])
