"""From a recipe's name or file to a checked `Recipe`; every problem has a file and a line.

`base:` names the recipe that this one starts from: a shipped one, or a file relative to the file
that names it. Mappings are merged key by key; everything else, lists included, is replaced.
`--set a.b=c` is assigned last and replaces even a mapping.

Relative paths: `caption.sidecar_dir` is relative to the folder of the file that sets it, since
sidecars lie beside recipes. `dataset.path` and weights are relative to the working directory, as
`--out` and everything else on the command line is.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from wanctl.errors import ProblemsError, UserError, unknown
from wanctl.path_names import name_problem, path_problem
from wanctl.recipe import yaml
from wanctl.recipe.explain import explain
from wanctl.recipe.nested import NoPlaceError, assigned, without
from wanctl.recipe.schema import Recipe
from wanctl.recipe.values import value_problems
from wanctl.redact import redact_values
from wanctl.textfiles import TextError, read_text

_RELATIVE_TO_RECIPE = (("caption", "sidecar_dir"),)
FILTERS = ("curate", "filters")
LISTING = "wanctl recipe list"
# First values, then contradictions between keys, then what remains without both.
_ROUNDS = 3
_MAX_KEYS = 20
_MAX_PROBLEMS = 50


class Place(NamedTuple):
    """Where a value is set. `line` is 0 for a file as a whole and for the command line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Problem(NamedTuple):
    """One problem of a recipe; sorts by file and line."""

    place: Place
    path: str
    message: str

    def __str__(self) -> str:
        return ": ".join(str(part) for part in self if str(part))


class RecipeError(UserError):
    """All problems of a recipe, one per line: `file:line: path: message`.

    Attributes:
        problems: sorted by file and line.
        partial: the recipe without the values that are wrong, so that its names can be checked
            too and all problems be reported at once; None if too little is left.
    """

    def __init__(self, problems: Sequence[Problem], partial: "LoadedRecipe | None" = None) -> None:
        self.problems = sorted(dict.fromkeys(problems))
        self.partial = partial
        lines = [str(problem) for problem in self.problems[:_MAX_PROBLEMS]]
        if rest := len(self.problems) - len(lines):
            lines.append(f"{self.problems[-1].place.file}: and {rest} more mistakes")
        super().__init__(*lines)


@dataclass(frozen=True)
class LoadedRecipe:
    """A checked recipe and where each of its values is set.

    Attributes:
        recipe: the values, defaults filled in.
        name: stem of the file's name; names the output folder.
        path: the file.
        places: path of keys -> where it is set; defaults have no place.
    """

    recipe: Recipe
    name: str
    path: Path
    places: Mapping[yaml.Path, Place] = field(default_factory=dict, repr=False)

    def locate(self, problems: ProblemsError) -> RecipeError:
        """Give problems that were found after loading their file and line."""
        located = []
        for path, message in problems.problems:
            place = _nearest_place(self.places, tuple(path.split(".")), self.path)
            located.append(Problem(place, path, message))
        return RecipeError(located)

    def dump(self) -> str:
        """Write the resolved recipe as YAML, every key and no base, credentials masked.

        Without credentials in it, it loads as an equal recipe.
        """
        values = self.recipe.model_dump(mode="json", exclude={"base"})
        return yaml.dump(redact_values(values))

    def out_dir(self, out: Path | None) -> Path:
        """Return the output folder: `out`, or `runs/NAME` in the working directory.

        Raises:
            UserError: the recipe's file has a name that is no name of a folder.
        """
        if out is not None:
            return out
        if problem := name_problem(self.name):
            raise UserError(
                f"{self.path}: its name names the run folder: {problem}; rename the file, or name "
                "a folder with --out"
            )
        return Path("runs") / self.name


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with the program: name -> file."""
    packaged = Path(__file__).parents[1] / "_recipes"  # in a wheel
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read, merge and check a recipe.

    Args:
        name_or_path: a file, or the name of a shipped recipe.
        overrides: `a.b=c` each; c is YAML.

    Raises:
        RecipeError: every problem of the file, its bases and the overrides.
    """
    draft = _Draft()
    path = _find(name_or_path)
    if path is None:
        raise RecipeError([Problem(Place("--recipe", 0), "", _not_found(name_or_path))])
    draft.add_file(path, ())
    for override in overrides:
        draft.override(override)
    draft.resolve_paths()
    recipe = draft.validate(path)
    loaded = LoadedRecipe(recipe, path.stem, path, draft.places) if recipe else None
    if draft.problems or loaded is None:
        raise RecipeError(draft.problems, loaded)
    return loaded


class _Draft:
    """The values read so far, where each is set, and the problems."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.places: dict[yaml.Path, Place] = {}
        self.problems: list[Problem] = []
        self.folders: dict[str, Path] = {}
        self.filters: list[str] = []  # of the files read so far

    def problem(self, place: Place, keys: yaml.Path, message: str) -> None:
        path = ".".join(keys)
        # what is no YAML value is no value of its key either: one mistake, not two
        if not path or (place, path) not in {(each.place, each.path) for each in self.problems}:
            self.problems.append(Problem(place, path, message))

    def add_file(self, path: Path, children: tuple[Path, ...]) -> None:
        """Merge a file over the values of its bases."""
        shown = _display_path(path)
        self.folders[shown] = path.parent
        try:
            document = yaml.parse(read_text(path))
        except FileNotFoundError:
            self.problem(Place(shown, 0), (), "no such file")
            return
        except TextError as error:
            reason = str(error).removeprefix(f"{path}: ").removeprefix("cannot be read: ")
            self.problem(Place(shown, 0), (), f"cannot be read: {reason}")
            return
        for mistake in document.mistakes:
            self.problem(Place(shown, mistake.line), mistake.path, mistake.message)
        data = document.data
        if not isinstance(data, dict):
            if not document.mistakes:
                got = "nothing" if data is None else f"a {type(data).__name__}"
                message = f"holds {got}; a recipe is a mapping of sections, e.g. `model: ...`"
                self.problem(Place(shown, 0), (), message)
            return
        places = {keys: Place(shown, line) for keys, line in document.lines.items()}
        base = data.pop("base", None)
        if base is not None:
            self._add_base(base, places[("base",)], (*children, path.resolve()))
        self._merge(self.data, data, (), places)
        self._remove_filters()

    def _add_base(self, base: Any, place: Place, children: tuple[Path, ...]) -> None:
        if not isinstance(base, str):
            self.problem(place, ("base",), f"got {base!r}; must be a recipe's name or file")
            return
        path = _find(base, children[-1].parent)
        if path is None:
            self.problem(place, ("base",), _not_found(base))
        elif path.resolve() in children:
            cycle = " -> ".join(each.name for each in (*children, path))
            self.problem(place, ("base",), f"a recipe cannot start from itself: {cycle}")
        else:
            self.add_file(path, children)

    def _merge(
        self,
        into: dict[str, Any],
        new: dict[str, Any],
        keys: yaml.Path,
        places: Mapping[yaml.Path, Place],
    ) -> None:
        for key, value in new.items():
            here = (*keys, key)
            old = into.get(key)
            if isinstance(old, dict) and isinstance(value, dict):
                self.places[here] = places[here]
                self._merge(old, value, here, places)
            else:
                into[key] = value
                self._set_places(here, places)

    def _set_places(self, keys: yaml.Path, places: Mapping[yaml.Path, Place]) -> None:
        """Replace the places of everything at and below `keys` by those of `places`."""
        n = len(keys)
        for stale in [at for at in self.places if at[:n] == keys]:
            del self.places[stale]
        self.places.update({at: place for at, place in places.items() if at[:n] == keys})

    def override(self, text: str) -> None:
        """Assign `a.b=c`."""
        place = Place("--set", 0)
        dotted, equals, value = text.partition("=")
        keys = tuple(dotted.strip().split("."))
        if not equals or not all(keys) or len(keys) > _MAX_KEYS:
            self.problem(place, (), f"got {text!r:.200}; write a.b=value, e.g. sample.steps=30")
            return
        if keys[0] == "base":
            self.problem(place, keys, "only a file has a base; name another --recipe")
            return
        document = yaml.parse(value)
        for mistake in document.mistakes:
            self.problem(place, keys + mistake.path, mistake.message)
        if document.mistakes:
            return
        try:
            self.data = assigned(self.data, keys, document.data)
        except NoPlaceError as error:
            self.problem(place, error.keys, str(error))
            return
        self._set_places(keys, {keys + at: place for at in document.lines} | {keys: place})
        for depth in range(1, len(keys)):
            self.places.setdefault(keys[:depth], place)
        self._remove_filters()

    def _remove_filters(self) -> None:
        """Take out the filters that a file or a `--set` gives as `false`."""
        section = self.data.get("curate")
        filters = section.get("filters") if isinstance(section, dict) else None
        if not isinstance(filters, dict):
            return
        for name in [name for name, value in filters.items() if value is False]:
            keys = (*FILTERS, name)
            if name not in self.filters:
                message = unknown("filter of the base", name, self.filters)
                self.problem(self.places[keys], keys, f"false takes out a filter; {message}")
            self.data = without(self.data, keys)
        self.filters = list(self.data["curate"]["filters"])

    def resolve_paths(self) -> None:
        """Make the paths that are relative to a recipe's folder absolute."""
        for section, key in _RELATIVE_TO_RECIPE:
            values = self.data.get(section)
            text = values.get(key) if isinstance(values, dict) else None
            if isinstance(values, dict) and isinstance(text, str) and not path_problem(text):
                folder = self.folders.get(self.places[section, key].file, Path.cwd())
                values[key] = str((folder / Path(text).expanduser()).resolve())

    def validate(self, path: Path) -> Recipe | None:
        """Check the values and note the problems.

        Returns:
            The recipe without the values that are wrong; None if too little is left.
        """
        data: Any = self.data
        removed: set[str] = set()
        for keys, message in list(value_problems(data)):
            self.problem(_nearest_place(self.places, keys, path), keys, message)
            data = without(data, keys)
        for _ in range(_ROUNDS):
            try:
                return Recipe.model_validate(data)
            except ValidationError as error:
                problems = list(explain(error, Recipe))
            for keys, message in problems:
                # a section that lost a key may contradict itself for that reason alone
                if keys[0] not in removed:
                    self.problem(_nearest_place(self.places, keys, path), keys, message)
                data = without(data, keys)
            removed |= {keys[0] for keys, _ in problems}
        return None


def _find(name: str, folder: Path | None = None) -> Path | None:
    """A file relative to `folder` (by default the working directory), else a shipped recipe."""
    path = (folder or Path()) / Path(name).expanduser()
    if path.is_file():
        return path
    return shipped_recipes().get(name)


def _not_found(name: str) -> str:
    if Path(name).suffix in (".yaml", ".yml") or os.sep in name:
        kind = "is a folder" if Path(name).is_dir() else "no such file"
        return f"{name}: {kind}; give a recipe file, or a name that `{LISTING}` shows"
    return unknown("recipe", name, shipped_recipes(), listing=LISTING)


def _display_path(path: Path) -> str:
    """The path for messages: relative to the working directory if it lies below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _nearest_place(places: Mapping[yaml.Path, Place], keys: yaml.Path, path: Path) -> Place:
    """The place of a key, or of the nearest section around it if the key is not set."""
    for length in range(len(keys), 0, -1):
        if keys[:length] in places:
            return places[keys[:length]]
    return Place(_display_path(path), 0)
