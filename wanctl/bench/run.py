"""`wanctl filters bench`: writes the cases, curates and evaluates them, draws the results."""

import inspect
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import wanctl
from wanctl.atomic import write_bytes
from wanctl.bench import page
from wanctl.bench.cases import Family
from wanctl.bench.curation import fingerprint, hash_sources, run_cases, write_cases
from wanctl.bench.footage import CleanFootage, footage_of_folder, packaged_footage
from wanctl.bench.labelled.sets import SETS
from wanctl.bench.result import Result, summarise
from wanctl.bench.settings import BenchSettings, CuratedFolder, DetectionSettings
from wanctl.bench.table import FAMILIES
from wanctl.curate.api import FilterUnavailableError
from wanctl.curate.registry import filter_class
from wanctl.curate.run import curate
from wanctl.curate.split.shots import DetectorSettings
from wanctl.errors import UserError, unknown
from wanctl.log import console, log
from wanctl.recipe import yaml
from wanctl.recipe.load import LoadedRecipe, load_recipe
from wanctl.recipe.schema import SplitSection

# The bars of some cases cover most of the frame, and curation has to crop them all the same.
MAX_CROP_LOSS = 0.99


def bench(
    names: Sequence[str],
    out: Path,
    *,
    clips: Path | None = None,
    sets: Sequence[str] = (),
    quick: bool = False,
    recipe: LoadedRecipe | None = None,
) -> list[Result]:
    """Measure filters against defects put in on purpose, and against labelled sets.

    A family whose filter, cases and settings have not changed since the last run is not run
    again; one that was interrupted continues.

    Args:
        names: families; none stands for all, or for no family where `sets` are given.
        out: folder for bench.json, bench.html, the curves, and the clips that are written.
        clips: the user's own clean footage instead of the packaged clips.
        sets: `NAME=FOLDER` each, a row of SETS.
        quick: a few cases of each kind: half a minute instead of ten.
        recipe: thresholds come from it; None: the filters' defaults.

    Raises:
        UserError: an unknown name, a missing package or folder.
    """
    families = [_family(name) for name in names] or ([] if sets else _runnable_families())
    labelled = [_set(text) for text in sets]
    settings = _settings(recipe)
    results = []
    if families:
        footage = footage_of_folder(clips, settings.detection) if clips else packaged_footage()
        results = [_run(family, footage, out, quick, settings) for family in families]
    for name, folder in labelled:
        several = SETS[name].run(folder, out / f"{name}-{folder.name}", settings)
        results += [{**each, "family": _title(name, folder, each, several)} for each in several]
    text = json.dumps(results, indent=1, ensure_ascii=False)
    write_bytes(out / "bench.json", text.encode())
    page.write(results, out)
    log.info("look at %s", out / "bench.html")
    return results


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """One line per family and one per metric, for the terminal."""
    lines = []
    for result in results:
        counts = result["counts"]
        lines.append(
            (
                result["family"],
                f"{result['cases']} cases",
                f"precision {result['precision']:.3f}" if counts["of"] else "",
                f"recall {result['recall']:.3f}" if counts["of"] else "",
                "" if result["ap"] is None else f"AP {result['ap']:.3f}",
                page.format_half_dose(result) or _counts(counts),
            )
        )
        for figure in result["figures"]:
            sign = "<=" if figure["below"] else ">="
            target = "" if figure["bar"] is None else f"target {sign} {figure['bar']:g}"
            met = {None: "", True: "met", False: "missed"}[figure["met"]]
            value = f"{figure['value']:.3f}"
            lines.append((result["family"], figure["what"], value, target, met, ""))
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    if not counts["of"]:
        return ""
    return f"{counts['true']} right, {counts['false']} wrong, {counts['missed']} missed"


def _settings(recipe: LoadedRecipe | None) -> BenchSettings:
    split = recipe.recipe.curate.split if recipe else SplitSection()
    thresholds = DetectorSettings(
        threshold=split.threshold, adaptive_threshold=split.adaptive_threshold, device="cpu"
    )
    return BenchSettings(
        filters=recipe.recipe.curate.filters if recipe else {},
        detection=DetectionSettings(split.detector, thresholds, split.max_fps),
        curate=_curate,
    )


def _curate(section: Mapping[str, Any], folder: Path, out: Path) -> CuratedFolder:
    """Run `wanctl curate` on a folder with these keys under `curate`, or continue such a run."""
    text = yaml.dump({"curate": {"max_crop_loss": MAX_CROP_LOSS, **section}})
    path = out / "bench.yaml"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        shutil.rmtree(out)
    write_bytes(path, text.encode())
    with _warnings_only():
        curated = curate(load_recipe(str(path)), folder, out)
    assert curated is not None  # only shards may leave deciding to others
    return CuratedFolder(curated.dataset, curated.selected.filters)


@contextmanager
def _warnings_only() -> Iterator[None]:
    """Keep the tables that curation prints off the screen; warnings stay."""
    level, quiet = log.level, console.quiet
    log.setLevel(max(level, 30))
    console.quiet = True
    try:
        yield
    finally:
        log.setLevel(level)
        console.quiet = quiet


def _run(
    family: Family, footage: CleanFootage, out: Path, quick: bool, settings: BenchSettings
) -> Result:
    started = time.monotonic()
    folder = out / family.name
    keys = settings.keys_of(family.filter)
    package = Path(wanctl.__file__).parent
    cases_key = fingerprint(hash_sources(package / "bench"), footage.fingerprint, quick)
    code = hash_sources(
        *(package / name for name in ("bench", "curate", "video")), *_filter_folder(family.filter)
    )
    key = fingerprint(cases_key, code, keys, settings.detection)
    stored = folder / f"result-{key}.json"
    if stored.exists():
        log.info("%s: nothing changed since the last run", family.name)
        return json.loads(stored.read_text(encoding="utf-8"))
    cases_folder, run_folder = folder / f"cases-{cases_key}", folder / f"curated-{key}"
    _remove_outdated(folder, {cases_folder.name, run_folder.name})
    cases = family.make_cases(footage, quick)
    write_cases(cases, cases_folder, family.name)
    run = family.run_cases or run_cases
    case_results = run(family, cases, cases_folder, run_folder, settings)
    result = summarise(family, case_results, family.evaluate(case_results), keys)
    result["seconds"] = round(time.monotonic() - started, 1)
    write_bytes(stored, json.dumps(result, ensure_ascii=False).encode())
    log.info("%s: %d cases in %.0f s", family.name, len(cases), result["seconds"])
    return json.loads(stored.read_text(encoding="utf-8"))


def _family(name: str) -> Family:
    if name not in FAMILIES:
        raise UserError(f"filters bench: {unknown('bench', name, FAMILIES)}")
    return FAMILIES[name]


def _runnable_families() -> list[Family]:
    """Every family but those whose filter lacks a package here."""
    families = []
    for family in FAMILIES.values():
        try:
            if family.filter:
                filter_class(family.filter)().check()
            families.append(family)
        except FilterUnavailableError as error:
            log.warning("%s is left out: %s", family.name, error)
    return families


def _set(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or not folder:
        raise UserError(f"--set {text}: write NAME=FOLDER, e.g. bbc=/data/BBC")
    if name not in SETS:
        raise UserError(f"--set {text}: {unknown('labelled set', name, SETS)}")
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UserError(f"--set {text}: {folder} is no folder")
    return name, path


def _title(name: str, folder: Path, result: Result, results: Sequence[Result]) -> str:
    """Name of a labelled set's result: the folder's and the label's where there are several."""
    return name if len(results) == 1 else f"{folder.name}: {result['family']}"


def _filter_folder(name: str) -> list[Path]:
    """Folder that a filter's module is in; none where a family measures no filter."""
    return [Path(inspect.getfile(filter_class(name))).parent] if name else []


def _remove_outdated(folder: Path, keep: set[str]) -> None:
    """Remove what earlier versions of the cases or the filter left behind."""
    if folder.is_dir():
        for child in folder.iterdir():
            if child.name not in keep and child.is_dir():
                shutil.rmtree(child)
