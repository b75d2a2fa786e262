"""`wanctl runs`: how far each run folder and data set is, and which command comes next."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from wanctl.errors import UserError
from wanctl.recipe import yaml
from wanctl.recipe.load import RecipeError, load_recipe, shipped_recipes
from wanctl.runs.progress import TRAINED, DatasetProgress, RunProgress, find_runs, read_progress

COLUMNS = ("folder", "footage", "clips", "kept", "captioned", "vae", "dit", "samples", "state",
           "next")  # fmt: skip
DEFAULT_FOLDER = Path("runs")


def runs(folder: Path) -> list[dict[str, Any]]:
    """One record per run folder and data set below a folder.

    Args:
        folder: searched a few levels deep; may be a run folder itself.

    Raises:
        UserError: no such folder, or nothing in it.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise UserError(f"{folder}: {what}; name a folder with run folders or data sets")
    records = [_record(read_progress(path)) for path in find_runs(folder)]
    if not records:
        raise UserError(
            f"{folder}: holds no run folder and no data set; `wanctl curate FOLDER` makes one"
        )
    return records


def row(record: Mapping[str, Any]) -> tuple[str, ...]:
    """A record as cells of COLUMNS."""
    data = record["data"] or {}
    cells = [record["folder"]]
    cells += ["" if data.get(key) is None else str(data[key]) for key in
              ("sources", "clips", "kept", "captioned")]  # fmt: skip
    for name in TRAINED:
        training = record["training"].get(name)
        cells.append(_steps_done(training) if training else "")
    return (*cells, str(record["samples"] or ""), record["state"], record["next"])


def _steps_done(training: Mapping[str, Any]) -> str:
    """Steps, and how often each clip was seen in them where that is known."""
    seen = training["times_seen"]
    epochs = "" if seen is None else f", {seen:.3g} epochs"
    return f"{training['step']} of {training['steps'] or '?'}{epochs}"


def _record(progress: RunProgress) -> dict[str, Any]:
    recipe = _values(progress)
    progress = replace(
        progress,
        training={
            name: replace(each, steps=_steps(progress.path / name, name, recipe))
            for name, each in progress.training.items()
        },
    )
    state, command = _next(progress, recipe)
    data = None if progress.data is None else asdict(progress.data)
    if data is not None:
        del data["recipe"]
    return {
        "folder": str(progress.path),
        "data": data,
        "training": {name: asdict(each) for name, each in progress.training.items()},
        "samples": progress.samples,
        "process": progress.process,
        "state": state,
        "next": command,
    }


def _values(progress: RunProgress) -> Mapping[str, Any]:
    """The values of the run's recipe; empty where it has none."""
    text = progress.data.recipe if progress.data else ""
    for name in reversed(TRAINED):
        file = progress.path / name / "recipe.yaml"
        if not text and file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
    values = yaml.parse(text).data
    return values if isinstance(values, dict) else {}


def _steps(folder: Path, name: str, recipe: Mapping[str, Any]) -> int:
    """Steps that a network is trained for, by the recipe that lies beside it."""
    file = folder / "recipe.yaml"
    if file.is_file():
        values = yaml.parse(file.read_text(encoding="utf-8", errors="replace")).data
        recipe = values if isinstance(values, dict) else recipe
    steps = (recipe.get(f"train_{name}") or {}).get("steps")
    return steps if isinstance(steps, int) else 0


def _next(progress: RunProgress, recipe: Mapping[str, Any]) -> tuple[str, str]:
    """How far a run is in words, and the command that goes on."""
    options = _options(progress)
    data = progress.data
    if data is not None and data.problem:
        return f"damaged: {data.problem}", ""
    if progress.process:
        return f"process {progress.process} is working on it", ""
    if data is not None and (found := _next_of_data(progress, data, options)):
        return found
    model = recipe.get("model") or {}
    given = model.get("weights") or model.get("vae_weights")
    for name in TRAINED:
        training = progress.training.get(name)
        if training and not training.written:
            state = f"train-{name}: step {training.step} of {training.steps or '?'}"
            return state, f"wanctl train-{name} {options}"
        if training is None and data is not None and not (name == "vae" and given):
            state = "VAE is trained" if "vae" in progress.training else "captioned"
            return state, f"wanctl train-{name} {options}"
    return "trained" if progress.training else "sampled", f'wanctl sample "PROMPT" {options}'


def _next_of_data(
    progress: RunProgress, data: DatasetProgress, options: str
) -> tuple[str, str] | None:
    """The next step of curation or captioning; None where both are done."""
    footage = shlex.quote(progress.footage) if progress.footage else "FOOTAGE"
    curate = f"wanctl curate {footage} {options}"
    if not data.parts:
        return "empty", curate
    if data.split < data.parts:
        return f"split: {data.split} of {data.parts} parts", curate
    if data.measured < data.to_measure:
        return f"measured: {data.measured} of {data.to_measure} units", curate
    if data.kept is None:
        return "measured", f"wanctl data select {options}"
    if not data.kept:
        return "no clip is kept: see report.html", f"wanctl data select {options}"
    if data.captioned < data.kept:
        return (
            f"captioned: {data.captioned} of {data.kept} kept clips", f"wanctl caption {options}",
        )  # fmt: skip
    return None


def _options(progress: RunProgress) -> str:
    """Options with which a command works on this run: its recipe and its folder."""
    path = progress.path
    alone = (path / "dataset.json").is_file()
    data = path if alone else path / "dataset"
    stored = [data / "recipe.yaml", *(path / name / "recipe.yaml" for name in reversed(TRAINED))]
    file = next((each for each in stored if each.is_file()), None)
    recipe = "RECIPE" if file is None else shlex.quote(str(file))
    if file is not None and _is_shipped(path.name, file):
        recipe = path.name
    if alone:
        return f"--recipe {recipe} --set dataset.path={shlex.quote(str(path))}"
    if path == DEFAULT_FOLDER / recipe:
        return f"--recipe {recipe}"
    return f"--recipe {recipe} --out {shlex.quote(str(path))}"


def _is_shipped(name: str, file: Path) -> bool:
    """Whether a stored recipe is the shipped one of this name, unchanged."""
    if name not in shipped_recipes():
        return False
    try:
        return load_recipe(name).dump() == file.read_text(encoding="utf-8")
    except (RecipeError, OSError, ValueError):
        return False
