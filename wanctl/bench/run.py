"""`wanctl filters bench`: makes the cases, runs them through curation, grades and draws."""

import inspect
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wanctl.atomic import write_bytes
from wanctl.bench import page
from wanctl.bench.cases import Family
from wanctl.bench.judge import fingerprint, judge, settings, source_of, write_cases
from wanctl.bench.labelled.sets import SETS
from wanctl.bench.material import Material, of_folder, packaged
from wanctl.bench.result import Result, summarise
from wanctl.bench.table import BENCHES
from wanctl.curate.api import FilterUnavailableError
from wanctl.curate.registry import filter_class
from wanctl.errors import UserError, unknown
from wanctl.log import log
from wanctl.recipe.load import LoadedRecipe


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
    again; one that was stopped goes on where it was.

    Args:
        names: families; none stands for all, or for no family where `sets` are given.
        out: folder for bench.json, bench.html, the curves, and the clips that were made.
        clips: the user's own clean footage instead of the packaged clips.
        sets: `NAME=FOLDER` each, a row of SETS.
        quick: a few cases of each kind: half a minute instead of ten.
        recipe: thresholds come from it; None: the filters' defaults.

    Raises:
        UserError: an unknown name, a missing package or folder.
    """
    families = [_family(name) for name in names] or ([] if sets else _all_that_run())
    labelled = [_set(text) for text in sets]
    results = []
    if families:
        material = of_folder(clips) if clips else packaged()
        results = [_run(family, material, out, quick, recipe) for family in families]
    for name, folder in labelled:
        results.append({**SETS[name].run(folder, out / name, recipe), "family": name})
    text = json.dumps(results, indent=1, ensure_ascii=False)
    write_bytes(out / "bench.json", text.encode())
    page.write(results, out)
    log.info("look at %s", out / "bench.html")
    return results


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """One line per family and one per figure, for the screen."""
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
                page.half(result),
            )
        )
        for figure in result["figures"]:
            sign = "<=" if figure["below"] else ">="
            bar = "" if figure["bar"] is None else f"bar {sign} {figure['bar']:g}"
            met = {None: "", True: "met", False: "missed"}[figure["met"]]
            lines.append((result["family"], figure["what"], f"{figure['value']:.3f}", bar, met, ""))
    return lines


def _run(
    family: Family, material: Material, out: Path, quick: bool, recipe: LoadedRecipe | None
) -> Result:
    started = time.monotonic()
    folder = out / family.name
    here = Path(__file__).parent
    cases_key = fingerprint(source_of(here), material.fingerprint, quick)
    code = source_of(here.parent, *_pack(family.filter))
    key = fingerprint(cases_key, code, settings(family, recipe), _split(recipe))
    kept = folder / f"result-{key}.json"
    if kept.exists():
        log.info("%s: nothing changed since the last run", family.name)
        return json.loads(kept.read_text(encoding="utf-8"))
    _forget(folder, {f"cases-{cases_key}", f"judged-{key}"})
    cases = family.make(material, quick)
    write_cases(cases, folder / f"cases-{cases_key}", family.name)
    run = family.judge or judge
    outcomes = run(family, cases, folder / f"cases-{cases_key}", folder / f"judged-{key}", recipe)
    result = summarise(family, outcomes, family.grade(outcomes), settings(family, recipe))
    result["seconds"] = round(time.monotonic() - started, 1)
    write_bytes(kept, json.dumps(result, ensure_ascii=False).encode())
    log.info("%s: %d cases in %.0f s", family.name, len(cases), result["seconds"])
    return json.loads(kept.read_text(encoding="utf-8"))


def _family(name: str) -> Family:
    if name not in BENCHES:
        raise UserError(f"filters bench: {unknown('bench', name, BENCHES)}")
    return BENCHES[name]


def _all_that_run() -> list[Family]:
    """Every family but those whose filter lacks a package here."""
    families = []
    for family in BENCHES.values():
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


def _pack(name: str) -> list[Path]:
    """Folder of the package that a filter comes from; none where no filter is measured."""
    return [Path(inspect.getfile(filter_class(name))).parent] if name else []


def _split(recipe: LoadedRecipe | None) -> Mapping[str, Any]:
    return recipe.recipe.curate.split.model_dump(mode="json") if recipe else {}


def _forget(folder: Path, keep: set[str]) -> None:
    """Remove what earlier versions of the cases or the filter left behind."""
    if folder.is_dir():
        for child in folder.iterdir():
            if child.name not in keep and child.is_dir():
                shutil.rmtree(child)
