"""Read and write YAML by the core schema of YAML 1.2; duplicate keys are errors, lines are kept.

PyYAML follows YAML 1.1, where `16:9` is 969, `no` is false, `010` is 8, `1e-4` is text and the
last of two equal keys silently replaces the first.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.error import Mark, MarkedYAMLError, YAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path = tuple[str, ...]
"""Keys from the top of the document; list items count as "0", "1", ..."""

_TAG = "tag:yaml.org,2002:"
_CORE = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
)
_TAGS = {"!"} | {_TAG + name for name in ("map", "seq", "str", *(rule[0] for rule in _CORE))}
# A hand-written recipe has some hundreds of values and four levels. The bounds hold while the text
# is read, so that a million keys cost no time; and again while aliases are followed, of which a few
# nested ones would unfold into gigabytes.
_MAX_NODES = 20_000
_MAX_DEPTH = 50
_MAX_CHARACTERS = 4_000_000
_SHOWN = 40


@dataclass(frozen=True)
class Mistake:
    """An error in the text. `path` is empty if it is not at a key."""

    line: int
    path: Path
    message: str


@dataclass
class Document:
    """A parsed text.

    Attributes:
        data: dicts, lists, str, int, float, bool and None.
        lines: path -> line (from 1) of the key or of the list item.
        mistakes: all errors; `data` holds what could be read in spite of them.
    """

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """Counts values and levels while they are read: keys, values, items and aliases alike."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._count = 0
        self._depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self._count += 1
        self._depth += 1
        mark = self.peek_event().start_mark
        _check_bounds(self._count, self._depth, mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    pass


_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in _CORE:
    # The dumper keeps the rules of YAML 1.1 too: text is quoted if either version would read
    # another type, so that programs with YAML 1.1 read these files correctly.
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), list(_first))


def parse(text: str) -> Document:
    """Read one YAML document. Never raises: errors are listed in `mistakes`."""
    document = Document()
    if len(text) > _MAX_CHARACTERS:
        message = f"has {len(text):,} characters; a recipe has at most {_MAX_CHARACTERS:,}"
        document.mistakes.append(Mistake(1, (), message))
        return document
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        if node is not None:
            document.data = _Reader(document).read(node, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.mistakes.append(Mistake(_line(mark), (), _plain(error)))
    except YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        what = str(error).splitlines()[0]
        document.mistakes.append(Mistake(line, (), f"not YAML: {what}"))
    except RecursionError:
        document.mistakes.append(Mistake(1, (), "nested too deeply"))
    return document


def dump(data: Any) -> str:
    """Write plain data as YAML that `parse` reads back equal; the innermost level on one line."""
    return yaml.dump(
        data,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None,
    )


class _Reader:
    """Converts nodes to data and notes lines and mistakes."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0

    def read(self, node: Node, path: Path) -> Any:
        self.count += 1
        _check_bounds(self.count, len(path), node.start_mark)
        self.document.lines.setdefault(path, _line(node.start_mark))
        if node.tag not in _TAGS:
            self._mistake(_line(node.start_mark), path, f"tag {node.tag!r} is not allowed")
        if isinstance(node, MappingNode):
            return {key: self.read(value, (*path, key)) for key, value in self._pairs(node, path)}
        if isinstance(node, SequenceNode):
            return [self.read(item, (*path, str(i))) for i, item in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return self._scalar(node, path)

    def _pairs(self, node: MappingNode, path: Path) -> Iterator[tuple[str, Node]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = _line(key_node.start_mark)
            if not isinstance(key_node, ScalarNode) or key_node.tag == _TAG + "null":
                self._mistake(line, path, "a key must be a name")
                continue
            key = str(key_node.value)
            if key in seen:
                message = f"duplicate key, first in line {seen[key]}"
                self._mistake(line, (*path, key), message)
                continue
            seen[key] = line
            self.document.lines[(*path, key)] = line
            yield key, value_node

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        kind, text = node.tag.removeprefix(_TAG), node.value
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return {"true": True, "false": False}[text.lower()]
            if kind == "int":
                # int(text, 0) would refuse the leading zero of `010`, which is ten in YAML 1.2
                return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
            if kind == "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except (KeyError, ValueError):
            shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
            what = f"not a {kind}" if len(text) <= _SHOWN else "has too many digits"
            self._mistake(_line(node.start_mark), path, f"got {shown!r}; {what}")
            return None
        return text

    def _mistake(self, line: int, path: Path, message: str) -> None:
        self.document.mistakes.append(Mistake(line, path, message))


def _check_bounds(count: int, depth: int, mark: Mark) -> None:
    """Stop reading at a text that no person wrote.

    Raises:
        MarkedYAMLError: too many values or levels.
    """
    if count > _MAX_NODES:
        raise MarkedYAMLError(problem=f"more than {_MAX_NODES} values", problem_mark=mark)
    if depth > _MAX_DEPTH:
        problem = f"nested too deeply: more than {_MAX_DEPTH} levels"
        raise MarkedYAMLError(problem=problem, problem_mark=mark)


def _line(mark: Mark | None) -> int:
    return mark.line + 1 if mark else 1


def _plain(error: MarkedYAMLError) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    message = f"not YAML: {', '.join(parts)}"
    if "'\\t'" in message:
        message += "; indent with spaces"
    if "mapping values" in message:
        message += "; put quotes around text that holds a colon"
    return message
