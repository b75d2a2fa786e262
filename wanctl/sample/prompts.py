"""Prompts as the user gives them, one or a file of them, and the file names they turn into.

A file of prompts ends in `.txt` (one prompt per line), `.jsonl` (an object per line) or `.csv`
(with a header). In the last two every key of the recipe's `sample` section may stand beside
`prompt`, for that line alone; what lies inside a section of it is dotted (`vace.control`). `size`
is short for width and height, as `832x480`. Empty cells say nothing. Blank lines, and in `.txt`
lines that start with `#`, are skipped; of equal lines the first is kept.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from wanctl.errors import UserError, unknown
from wanctl.recipe import yaml
from wanctl.recipe.explain import explain
from wanctl.recipe.load import LoadedRecipe, Place
from wanctl.recipe.schema import SampleSection
from wanctl.video.sources import url_of

SLUG_LENGTH = 40
SUFFIXES = (".txt", ".jsonl", ".csv")
SIZE = "size"
# Keys that are said for a run as a whole.
RUN_KEYS = ("grid", "grid_columns", "batch", "save_latents")
# Keys whose relative paths start from the folder of the file of prompts.
PATH_KEYS = ("image", "last_image", "video", "mask", "references", "known_frames")


class PromptError(UserError):
    """A prompt, or a file of them, that cannot be used; one line per mistake."""


@dataclass(frozen=True)
class PromptLine:
    """One thing to make.

    Attributes:
        prompt: what to show.
        values: keys of the `sample` section, dotted where they lie deeper -> what they are here.
        place: where it is said; None on the command line.
    """

    prompt: str
    values: Mapping[str, Any] = field(default_factory=dict)
    place: Place | None = None


def read_prompts(prompt: str) -> list[PromptLine]:
    """What is behind the command's argument.

    Args:
        prompt: text, or the path of a file of prompts.

    Raises:
        PromptError: nothing to show, or a file that cannot be read or is not what its name says.
    """
    if not prompt.strip():
        raise PromptError("prompt: got an empty text; say what to show")
    if not prompt.endswith(SUFFIXES):
        return [PromptLine(prompt.strip())]
    path = Path(prompt).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise PromptError(f"{prompt}: not UTF-8 text; need one prompt per line") from None
    except OSError as error:
        raise PromptError(f"{prompt}: cannot be read: {error.strerror}") from None
    problems: list[str] = []
    found: dict[str, PromptLine] = {}
    for line in _READERS[path.suffix](text, prompt, problems):
        key = json.dumps([line.prompt, line.values], sort_keys=True, default=str)
        found.setdefault(key, line)
    if problems:
        raise PromptError("\n".join(problems))
    if not found:
        raise PromptError(f"{prompt}: holds no prompt; need one per line, `#` starts a comment")
    return list(found.values())


def recipe_for_line(loaded: LoadedRecipe, line: PromptLine) -> LoadedRecipe:
    """The recipe as it is for one line.

    Raises:
        PromptError: a value that its key does not take; one line per mistake.
    """
    if not line.values or line.place is None:
        return loaded
    values = loaded.recipe.sample.model_dump()
    for key, value in line.values.items():
        *sections, last = key.split(".")
        into = values
        for name in sections:
            into[name] = dict(into.get(name) or {})
            into = into[name]
        into[last] = value
    try:
        section = SampleSection.model_validate(values)
    except ValidationError as error:
        found = explain(error, SampleSection)
        raise PromptError(
            "\n".join(f"{line.place}: {'.'.join(keys)}: {message}" for keys, message in found)
        ) from None
    said = {("sample", *key.split(".")): line.place for key in line.values}
    recipe = loaded.recipe.model_copy(update={"sample": section})
    return replace(loaded, recipe=recipe, places={**loaded.places, **said})


def slug(prompt: str) -> str:
    """A prompt as part of a file name: letters and digits of any script, the rest dashes."""
    words = re.sub(r"[\W_]+", "-", prompt.lower()).strip("-")
    return words[:SLUG_LENGTH].rstrip("-") or "prompt"


def _plain(text: str, name: str, problems: list[str]) -> Iterator[PromptLine]:  # noqa: ARG001
    for number, line in enumerate(text.splitlines(), 1):
        prompt = line.strip()
        if prompt and not prompt.startswith("#"):
            yield PromptLine(prompt, {}, Place(name, number))


def _objects(text: str, name: str, problems: list[str]) -> Iterator[PromptLine]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        place = Place(name, number)
        try:
            values = json.loads(line)
        except ValueError as error:
            problems.append(f"{place}: not JSON: {error}")
            continue
        if not isinstance(values, dict):
            problems.append(f'{place}: got {line.strip()[:40]}; need an object, {{"prompt": ...}}')
            continue
        yield from _line(_flat(values), place, problems)


def _rows(text: str, name: str, problems: list[str]) -> Iterator[PromptLine]:
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if "prompt" not in header:
            problems.append(f"{name}:1: the header has no column `prompt` ({', '.join(header)})")
            return
        for row in reader:
            place = Place(name, reader.line_num)
            if len(row) > len(header):
                problems.append(f"{place}: {len(row)} cells under a header of {len(header)}")
                continue
            cells = {key: cell.strip() for key, cell in zip(header, row, strict=False)}
            values = {
                key: cell if key in ("prompt", "negative_prompt", SIZE) else yaml.parse(cell).data
                for key, cell in cells.items()
                if cell
            }
            if values:
                yield from _line(values, place, problems)
    except csv.Error as error:
        problems.append(f"{name}:{reader.line_num}: not CSV: {error}")


_READERS = {".txt": _plain, ".jsonl": _objects, ".csv": _rows}


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys; mappings that are values themselves stay."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{above}{key}"
        is_section = isinstance(value, dict) and name not in PATH_KEYS
        flat |= _flat(value, f"{name}.") if is_section else {name: value}
    return flat


def _line(values: dict[str, Any], place: Place, problems: list[str]) -> Iterator[PromptLine]:
    """One line, its keys checked against the recipe's."""
    prompt = values.pop("prompt", None)
    if not isinstance(prompt, str) or not prompt.strip():
        problems.append(f"{place}: got {prompt!r}; every line needs a prompt")
        return
    allowed = (*(SampleSection.model_fields.keys() - set(RUN_KEYS)), SIZE)
    before = len(problems)
    for key in values:
        if key in RUN_KEYS:
            problems.append(f"{place}: {key}: holds for the whole run; say it in the recipe")
        elif key.partition(".")[0] not in allowed:
            problems.append(f"{place}: {key}: {unknown('key', key, ('prompt', *allowed))}")
    if SIZE in values:
        values |= _size(values.pop(SIZE), place, problems)
    folder = Path(place.file).expanduser().parent
    for key in values.keys() & set(PATH_KEYS):
        values[key] = _beside(values[key], folder)
    if len(problems) == before:
        yield PromptLine(prompt.strip(), values, place)


def _size(text: Any, place: Place, problems: list[str]) -> dict[str, int]:
    sides = re.fullmatch(r"(\d+)\s*[x*×]\s*(\d+)", str(text).strip())
    if sides is None:
        problems.append(f"{place}: size: got {text!r}; need width x height, e.g. 832x480")
        return {}
    return {"width": int(sides[1]), "height": int(sides[2])}


def _beside(value: Any, folder: Path) -> Any:
    """Paths inside a value, from the folder of the file that says them."""
    if isinstance(value, dict):
        return {key: _beside(each, folder) for key, each in value.items()}
    if isinstance(value, list):
        return [_beside(each, folder) for each in value]
    if not isinstance(value, str) or url_of(value):
        return value
    return str(folder / Path(value).expanduser())
