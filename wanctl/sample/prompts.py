"""Prompts from the command line or from a file, and the part of a file name made from a prompt.

A file of prompts ends in `.txt` (one prompt per line), `.jsonl` (an object per line) or `.csv`
(with a header). In the last two, keys of the recipe's `sample` section beside `prompt` hold for
that line alone; keys of a nested section are dotted (`vace.control`). `size` stands for width and
height, as `832x480`. Empty cells are ignored. Blank lines, and in `.txt` lines that start with `#`,
are skipped; of equal lines the first is kept. Files are UTF-8, or UTF-16 with a byte order mark;
line feed and carriage return alone end a line.
"""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wanctl.errors import UserError, unknown
from wanctl.escaping import one_line
from wanctl.sample.inputs import SINGLE_FILES
from wanctl.textfiles import TextError, read_text, split_lines
from wanctl.video.sources import url_of

SLUG_LENGTH = 40
SUFFIXES = (".txt", ".jsonl", ".csv")
SIZE = "size"
SHOWN = 100
MAX_PROBLEMS = 100
"""Mistakes of one file that are reported."""
# Keys that hold for a run as a whole.
RUN_KEYS = (
    "grid", "grid_columns", "batch", "save_latents", "lora_strengths", "preview_decoder",
    "preview_every",
)  # fmt: skip
# Keys whose relative paths start from the folder of the file of prompts.
PATH_KEYS = (*SINGLE_FILES, "references", "known_frames", "camera.path")

ParseCell = Callable[[str], tuple[Any, Sequence[str]]]
"""A CSV cell as a value, and what is wrong with it."""


class PromptError(UserError):
    """A prompt, or a file of them, that cannot be used; one line per mistake."""


@dataclass(frozen=True)
class PromptLine:
    """One prompt and what its line overrides.

    Attributes:
        prompt: text of what to show.
        values: key of the `sample` section, dotted where nested -> value.
        file: the file of prompts; None on the command line.
        line: number of the line in it, from 1.
    """

    prompt: str
    values: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None
    line: int = 0

    @property
    def place(self) -> str:
        """`FILE:LINE`, for messages."""
        return f"{self.file}:{self.line}"


def read_prompts(prompt: str, keys: Collection[str], parse_cell: ParseCell) -> list[PromptLine]:
    """Read the command's argument.

    Args:
        prompt: text, or the path of a file of prompts (see `is_prompt_file`).
        keys: keys of the `sample` section.
        parse_cell: reads the value in a CSV cell.

    Raises:
        PromptError: an empty prompt, a file that cannot be read, or mistakes in it.
    """
    if not is_prompt_file(prompt):
        if problem := prompt_problem(prompt):
            raise PromptError(f"prompt: {problem}")
        return [PromptLine(prompt.strip())]
    try:
        path = Path(prompt).expanduser()
    except RuntimeError:  # no such user's home
        path = Path(prompt)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        what = "a folder" if path.is_dir() else "a file"
        raise PromptError(
            f"{prompt}: is {what}, and a file of prompts ends in {', '.join(SUFFIXES)}; name one, "
            f"or put a blank at the end if {prompt!r} is the prompt itself"
        )
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise PromptError(
            f"{prompt}: no such file of prompts; put a blank at the end if it is the prompt itself"
        ) from None
    except TextError as error:
        raise PromptError(*error.lines) from None
    reader = _FileReader(prompt, keys, parse_cell)
    lines: dict[str, PromptLine] = {}
    for line in _READERS[suffix](reader, text):
        key = json.dumps([line.prompt, line.values], sort_keys=True, default=str)
        lines.setdefault(key, line)
    if reader.problems:
        raise PromptError(*reader.problems)
    if not lines:
        raise PromptError(f"{prompt}: holds no prompt; need one per line, `#` starts a comment")
    return list(lines.values())


def is_prompt_file(prompt: str) -> bool:
    """Whether the command's argument is the path of a file of prompts, and not a prompt.

    An argument with the suffix of such a file, in any case, is a path if the file exists, has no
    spaces, or has a path separator. Everything else is a prompt, as in `a monk who reads
    notes.txt`. A path of an existing file with another suffix is refused by `read_prompts`, for
    `prompts.json` shows nothing.
    """
    try:
        exists = Path(prompt).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long, no such home, or NUL inside
        exists = False
    one_word = not re.search(r"\s", prompt)
    if not prompt.lower().endswith(SUFFIXES):
        return exists and one_word and bool(re.search(r"/|\.\w{1,8}$", prompt))
    return exists or "/" in prompt or "\\" in prompt or one_word


def prompt_problem(prompt: str) -> str:
    """Why a text is no prompt; "" where it is one.

    Control characters other than tabs and line ends come from damaged files; tokenizers and the
    headers of outputs do not take them.
    """
    if not any(unicodedata.category(each)[0] in "LMNPS" for each in prompt):
        return "got an empty text; say what to show"
    for position, each in enumerate(prompt, 1):
        if each not in "\t\n\r\f\v\x85" and unicodedata.category(each) in ("Cc", "Cs"):
            return (
                f"{one_line(prompt[:60])}: holds the control character U+{ord(each):04X} at "
                f"character {position}; take it out"
            )
    return ""


def slug(prompt: str) -> str:
    """A prompt as part of a file name: letters and digits of any script, the rest dashes."""
    words = re.sub(r"[\W_]+", "-", prompt.lower()).strip("-")
    return words[:SLUG_LENGTH].rstrip("-") or "prompt"


class _FileReader:
    """Reads the lines of one file of prompts; mistakes go to `problems`, one line each."""

    def __init__(self, file: str, keys: Collection[str], parse_cell: ParseCell) -> None:
        self.file = file
        self.problems: list[str] = []
        self._keys = (*(set(keys) - set(RUN_KEYS)), SIZE)
        self._parse_cell = parse_cell

    def read_text(self, text: str) -> Iterator[PromptLine]:
        """One prompt per line."""
        for number, line in enumerate(split_lines(text), 1):
            prompt = line.strip()
            if prompt and not prompt.startswith("#"):
                yield from self._checked({"prompt": prompt}, number)

    def read_jsonl(self, text: str) -> Iterator[PromptLine]:
        """One JSON object per line."""
        for number, line in enumerate(split_lines(text), 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line, object_pairs_hook=_without_repeats)
            except (ValueError, RecursionError) as error:
                self._problem(number, f"not JSON: {error}")
                continue
            if not isinstance(values, dict):
                got = one_line(line.strip()[:40])
                self._problem(number, f'got {got}; need an object, {{"prompt": ...}}')
                continue
            yield from self._checked(_flat(values), number)

    def read_csv(self, text: str) -> Iterator[PromptLine]:
        """A header and one row per prompt."""
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            header = [cell.strip() for cell in next(reader, [])]
            if "prompt" not in header:
                shown = one_line(", ".join(header))[:SHOWN]
                self._problem(1, f"the header has no column `prompt` ({shown})")
                return
            if repeated := [name for name in header if name and header.count(name) > 1]:
                self._problem(1, f"the header has the column {repeated[0]!r} twice")
                return
            for row in reader:
                if len(row) > len(header):
                    message = f"{len(row)} cells under a header of {len(header)}"
                    self._problem(reader.line_num, message)
                    continue
                cells = {key: cell.strip() for key, cell in zip(header, row, strict=False)}
                values = self._parsed(cells, reader.line_num)
                if values:
                    yield from self._checked(values, reader.line_num)
        except csv.Error as error:
            self._problem(max(reader.line_num, 1), f"not CSV: {error}")

    def _parsed(self, cells: Mapping[str, str], number: int) -> dict[str, Any]:
        """Values of the cells that are not empty; empty if one of them is no value."""
        values, valid = {}, True
        for key, cell in cells.items():
            if not cell:
                continue
            if key in ("prompt", "negative_prompt", SIZE):
                values[key] = cell
                continue
            values[key], mistakes = self._parse_cell(cell)
            for mistake in mistakes:
                self._problem(number, f"{key}: got {cell}; {mistake}")
                valid = False
        return values if valid else {}

    def _checked(self, values: dict[str, Any], number: int) -> Iterator[PromptLine]:
        """One line, its keys checked against the recipe's."""
        prompt = values.pop("prompt", None)
        if not isinstance(prompt, str) or not prompt.strip():
            self._problem(number, f"got {prompt!r:.60}; every line needs a prompt")
            return
        if problem := prompt_problem(prompt):
            self._problem(number, f"prompt: {problem}")
            return
        before = len(self.problems)
        for key in values:
            if key in RUN_KEYS or key.startswith("rewrite.model"):
                self._problem(number, f"{key}: holds for the whole run; say it in the recipe")
            elif key.partition(".")[0] not in self._keys:
                self._problem(number, f"{key}: {unknown('key', key, ('prompt', *self._keys))}")
        if SIZE in values:
            values |= self._size(values.pop(SIZE), number)
        folder = Path(self.file).expanduser().parent
        for key in values.keys() & set(PATH_KEYS):
            values[key] = _relative_to(folder, values[key])
        if len(self.problems) == before:
            yield PromptLine(prompt.strip(), values, self.file, number)

    def _size(self, text: Any, number: int) -> dict[str, int]:
        sides = re.fullmatch(r"(\d+)\s*[x*×]\s*(\d+)", str(text).strip())
        if sides is None:
            self._problem(number, f"size: got {text!r}; need width x height, e.g. 832x480")
            return {}
        return {"width": int(sides[1]), "height": int(sides[2])}

    def _problem(self, number: int, message: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(f"{self.file}:{number}: {message}")


_READERS = {
    ".txt": _FileReader.read_text,
    ".jsonl": _FileReader.read_jsonl,
    ".csv": _FileReader.read_csv,
}


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, whose keys must differ: of equal ones JSON keeps the last without a word."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {repeated!r} stands there twice")
    return values


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys; mappings that are values themselves stay."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{above}{key}"
        is_section = isinstance(value, dict) and name not in PATH_KEYS
        flat |= _flat(value, f"{name}.") if is_section else {name: value}
    return flat


def _relative_to(folder: Path, value: Any) -> Any:
    """Resolve the relative paths inside a value from a folder; URLs stay."""
    if isinstance(value, dict):
        return {key: _relative_to(folder, each) for key, each in value.items()}
    if isinstance(value, list):
        return [_relative_to(folder, each) for each in value]
    if not isinstance(value, str) or url_of(value):
        return value
    return str(folder / Path(value).expanduser())
