"""Names that become parts of paths: which ones are allowed, and paths that stay in their folder.

A leaf. Recipes, tables, plug-ins and files of other people bring names; each of them is checked
here before it is joined to a folder.
"""

import re
import unicodedata
from pathlib import Path

MAX_BYTES = 100
"""File systems allow 255; temporaries and suffixes add to a name."""

_ALLOWED = (
    "letters, digits and . _ - + = , ( ) or spaces, beginning with a letter, a digit or _, not "
    f"ending in a dot or space, at most {MAX_BYTES} bytes"
)
_PLAIN = re.compile(r"\w(?:[\w .+=,()-]*[\w+=)-])?")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")
# devices of Windows, which a name with any ending still opens
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|clock\$|com\d|lpt\d) *(?:\..*)?", re.I)


def plain_name(name: str) -> str:
    """The name itself, which is a plain one: one component of a path on every system.

    Raises:
        ValueError: it is not; says what is allowed.
    """
    if problem := name_problem(name):
        raise ValueError(problem)
    return name


def name_problem(name: str) -> str:
    """What is wrong with a name that becomes part of a path; "" where it is a plain name."""
    if _RESERVED.fullmatch(name):
        return f"got {name!r}, which Windows reserves; choose another name"
    normal = unicodedata.normalize("NFKC", name) == name
    long = len(name.encode(errors="surrogatepass")) > MAX_BYTES
    if _PLAIN.fullmatch(name) and normal and not long:
        return ""
    shown = repr(name) if len(name) <= MAX_BYTES else f"{name[:20]!r}... ({len(name)} characters)"
    return f"got {shown}; a name has {_ALLOWED}"


def path_problem(text: str) -> str:
    """What is wrong with the path of a file or folder on a disk; "" where nothing is.

    An empty path would mean the working folder, and a URL a folder called `https:`.
    """
    if problem := source_problem(text):
        return problem
    if _URL.match(text):
        return "got a URL; name a file or folder on a disk"
    return ""


def source_problem(text: str) -> str:
    """What is wrong with a text that names a path, a URL or a hub id; "" where nothing is."""
    if not text.strip():
        return f"got {text!r}; name a file or folder (`.` is the working folder)"
    if "\0" in text:
        return f"got {text!r}; a path holds no NUL"
    return ""


def is_component(name: str) -> bool:
    """Whether a name is one component of a path that names neither its folder nor the parent.

    Weaker than `plain_name`, for tables that exist already.
    """
    return (
        name not in ("", ".", "..")
        and not re.search(r"[/\\\x00-\x1f]", name)
        and len(name.encode(errors="surrogatepass")) <= 2 * MAX_BYTES
    )


def is_inside(name: str) -> bool:
    """Whether a relative path that a file states stays below the folder of that file."""
    parts = name.replace("\\", "/").split("/")
    return all(map(is_component, parts)) and not re.match(r"[A-Za-z]:", name)


def inside(folder: Path, name: str) -> Path | None:
    """`folder / name`; None where that would lie outside of the folder, by its text."""
    return folder / name if is_inside(name) else None
