"""The registry of filters: their names, their recipe keys, and whether they can run here.

A built-in filter is a module of `wanctl_filters`, or a package there with the filter in
`filter.py`; the module's or package's name is its recipe name. A filter from elsewhere is an entry
point in the group `wanctl.filters`. Looking one up imports only that module.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

import pyarrow as pa
from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined

from wanctl.curate.api import Embedder, Filter, FilterUnavailableError, Measurer
from wanctl.data.schemas import EMBEDDINGS, evidence_schema
from wanctl.errors import ProblemsError, UserError, unknown
from wanctl.path_names import name_problem

PACK = "wanctl_filters"
SHARED = "shared"  # a package of PACK that holds no filter
GROUP = "wanctl.filters"


class FilterError(UserError):
    """A filter's module or its entry point does not follow the API."""


@dataclass(frozen=True)
class NamedFilter:
    """A filter with its settings under the name that the recipe gave it."""

    name: str
    filter: Filter

    @property
    def key(self) -> str:
        """`name@confighash`: identifies the measurement, not the thresholds."""
        return f"{self.name}@{self.filter.config_hash()}"

    @property
    def table(self) -> str:
        """Table of the data set directory that holds its measurements."""
        return f"evidence/{self.key}"


@dataclass(frozen=True, eq=False)
class Unit:
    """A measurement that is stored in one table: a filter's evidence or an embedder's vectors.

    Two units are equal if they have the same table.

    Attributes:
        name: of the filter or the embedder; the `stage` of its failures.
        measurer: its settings.
        schema: columns of its table, the clip's id first.
        table: of the data set directory.
    """

    name: str
    measurer: Measurer
    schema: pa.Schema
    table: str

    @property
    def key(self) -> str:
        """`name@confighash`."""
        return self.table.partition("/")[2]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unit) and other.table == self.table

    def __hash__(self) -> int:
        return hash(self.table)


@dataclass(frozen=True)
class KeyInfo:
    """One recipe key of a filter. `decides`: changing it requires no new measurement."""

    name: str
    default: str
    description: str
    decides: bool


@dataclass(frozen=True)
class FilterInfo:
    """One row of `wanctl filters list`. `why_not` is empty where the filter can run."""

    name: str
    summary: str
    keys: tuple[KeyInfo, ...]
    why_not: str


def filter_names() -> tuple[str, ...]:
    """Every filter name, sorted; imports only the package of built-in filters."""
    return tuple(sorted({*_builtins(), *_plugins()}))


def filter_class(name: str) -> type[Filter]:
    """Import the one filter called `name`.

    Raises:
        FilterError: no such filter, a plug-in whose name is not plain, two packages with that
            name, or not exactly one in the module.
    """
    builtin, plugins = name in _builtins(), _plugins()
    if name in plugins:
        if problem := name_problem(name):
            raise FilterError(f"the name of a filter names its tables: {problem}")
        owners = [PACK] * builtin + [point.value for point in plugins[name]]
        if len(owners) > 1:
            raise FilterError(f"filter {name!r} comes from {', '.join(owners)}; remove all but one")
        return _plugin_class(plugins[name][0])
    if not builtin:
        raise FilterError(unknown("filter", name, filter_names()))
    module = f"{PACK}.{name}.filter" if _builtins()[name] else f"{PACK}.{name}"
    return _only_filter(importlib.import_module(module))


def build_filters(entries: Mapping[str, Mapping[str, Any] | None]) -> list[NamedFilter]:
    """Filters of a recipe, in its order.

    Args:
        entries: the recipe's `curate.filters`: name -> its keys (None: all defaults).

    Raises:
        ProblemsError: every unknown name, unknown key and bad value, with its recipe path.
    """
    built: list[NamedFilter] = []
    problems: list[tuple[str, str]] = []
    for name, keys in entries.items():
        path = f"curate.filters.{name}"
        try:
            built.append(NamedFilter(name, filter_class(name)(**(keys or {}))))
        except ValidationError as error:
            allowed = filter_class(name).model_fields
            problems += [_problem(path, detail, list(allowed)) for detail in error.errors()]
        except FilterError as error:
            problems.append((path, str(error)))
    if problems:
        raise ProblemsError(problems)
    return built


def measured_units(filters: Iterable[NamedFilter]) -> list[Unit]:
    """Units that these filters need, each once.

    An embedder that several filters share is one unit; a filter without evidence has none.
    """
    units = []
    for named in filters:
        embedder = named.filter.embedder()
        if embedder is not None:
            units.append(_embedder_unit(embedder))
        if named.filter.evidence:
            schema = evidence_schema(named.filter.evidence)
            units.append(Unit(named.name, named.filter, schema, named.table))
    return list(dict.fromkeys(units))


def _embedder_unit(embedder: Embedder) -> Unit:
    key = f"{embedder.name}@{embedder.config_hash()}"
    return Unit(embedder.name, embedder, EMBEDDINGS, f"embeddings/{key}")


def list_filters() -> list[FilterInfo]:
    """All filters with their keys; `why_not` names the error of one that cannot be imported."""
    return [_describe(name) for name in filter_names()]


def _builtins() -> dict[str, bool]:
    """Name of each built-in filter -> whether it is a package."""
    pack = importlib.import_module(PACK)
    entries = {module.name: module.ispkg for module in pkgutil.iter_modules(pack.__path__)}
    return {name: is_package for name, is_package in entries.items() if name != SHARED}


def _plugins() -> dict[str, list[EntryPoint]]:
    entries: dict[str, list[EntryPoint]] = {}
    # An editable install can list the same entry point twice; that is one filter.
    for point in dict.fromkeys(entry_points(group=GROUP)):
        entries.setdefault(point.name, []).append(point)
    return entries


def _plugin_class(point: EntryPoint) -> type[Filter]:
    loaded = point.load()
    if isinstance(loaded, ModuleType):
        return _only_filter(loaded)
    if inspect.isclass(loaded) and issubclass(loaded, Filter):
        return loaded
    raise FilterError(f"entry point {point.name} = {point.value}: is not a Filter class or module")


def _only_filter(module: ModuleType) -> type[Filter]:
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Filter)
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
    ]
    if len(classes) != 1:
        names = ", ".join(cls.__name__ for cls in classes) or "none"
        raise FilterError(f"{module.__name__}: must define one public Filter class, has {names}")
    return classes[0]


def _problem(path: str, detail: ErrorDetails, allowed: list[str]) -> tuple[str, str]:
    where = ".".join([path, *(str(part) for part in detail["loc"])])
    if detail["type"] == "extra_forbidden":
        return where, unknown("key", str(detail["loc"][-1]), allowed)
    if detail["type"] == "missing":
        return where, "this key has no default; give it a value"
    message = detail["msg"]
    return where, f"got {detail['input']!r}; {message[:1].lower()}{message[1:]}"


def _describe(name: str) -> FilterInfo:
    try:
        cls = filter_class(name)
    except (FilterError, ImportError) as error:
        return FilterInfo(name, "", (), " ".join(str(error).split()))
    keys = tuple(
        KeyInfo(
            key,
            "required" if info.default is PydanticUndefined else _shown(info.default),
            info.description or "",
            key not in cls.measure_fields(),
        )
        for key, info in cls.model_fields.items()
    )
    summary = (inspect.getdoc(cls) or "").strip().partition("\n")[0]
    return FilterInfo(name, summary, keys, _why_not(cls))


def _shown(default: Any) -> str:
    if isinstance(default, bool) or default is None:
        return {True: "true", False: "false", None: "null"}[default]
    return str(default)


def _why_not(cls: type[Filter]) -> str:
    try:
        cls().check()
    except ValidationError as error:
        return "needs keys: " + ", ".join(str(detail["loc"][0]) for detail in error.errors())
    except FilterUnavailableError as error:
        return str(error)
    return ""
