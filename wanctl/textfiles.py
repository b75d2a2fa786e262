"""Reads text files that people and other programs wrote: captions, prompts, indexes, settings.

UTF-8 with or without a byte order mark, UTF-16 and UTF-32 with one, and UTF-16 without one are
read. Texts in an 8-bit code page are never guessed (Windows-1252 and Shift-JIS share their bytes):
the error says what they look like and how to convert them. Only LF, CR LF and CR end a line;
U+2028, U+2029, U+0085 (NEL), form feed and vertical tab are characters of a text, unlike in
`str.splitlines`.
"""

import codecs
import json
import os
import re
import stat
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

from wanctl.errors import UserError

TEXT_BYTES = 64 << 20
"""Size above which `read_text` refuses a file unless it is told otherwise."""

_MARKS = (  # UTF-32 first: its mark begins with the one of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LFS_POINTER = b"version https://git-lfs"
_LINE_END = re.compile(r"\r\n|\r|\n")
_SHOWN = 40


def lfs_pointer(head: bytes) -> str:
    """What to do with a git-LFS pointer, which a clone without git-LFS holds instead of a file.

    Args:
        head: first bytes of the file, at most 512 are looked at.

    Returns:
        Text for `PATH: is ...`; empty for every other file.
    """
    if not head.startswith(_LFS_POINTER):
        return ""
    size = re.search(rb"size (\d{1,15})", head[:512])
    volume = f" for {max(1, round(int(size[1]) / 1e6)):,} MB" if size else ""
    return (
        f"a git-LFS pointer{volume}, not the file; run `git lfs pull` in its folder, or download "
        "it with `hf download`"
    )


def lfs_pointer_in(path: Path) -> str:
    """As `lfs_pointer` says, of a file; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return lfs_pointer(file.read(512))
    except OSError:
        return ""


class TextError(UserError):
    """A text file that cannot be read, or whose encoding is unknown."""


class RepeatedKeys(dict[str, Any]):
    """An object of a JSON text in which `repeated` keys come more than once."""

    def __init__(self, values: dict[str, Any], repeated: list[str]) -> None:
        super().__init__(values)
        self.repeated = repeated


def read_text(path: str | os.PathLike[str], max_bytes: int = TEXT_BYTES) -> str:
    """The text of a file without its byte order mark; line ends and NUL stay as they are.

    Args:
        path: a plain file; pipes and devices are refused, since reading one may never end.
        max_bytes: a larger file is refused before it is read.

    Raises:
        FileNotFoundError: there is no such file.
        TextError: `PATH: ` and why, in one line: no plain file, no permission, too large, or
            neither UTF-8 nor UTF-16.
    """
    return decode_text(read_bytes(path, max_bytes), os.fspath(path))


def read_bytes(path: str | os.PathLike[str], max_bytes: int = TEXT_BYTES) -> bytes:
    """The bytes of a plain file of at most `max_bytes`; raises as `read_text` does."""
    where = printable(os.fspath(path))
    try:
        info = Path(path).stat()
        if not stat.S_ISREG(info.st_mode):
            what = "a folder" if stat.S_ISDIR(info.st_mode) else "a pipe, a socket or a device"
            raise TextError(f"{where}: is {what}; need a text file")
        if info.st_size > max_bytes:
            raise _too_large(where, info.st_size, max_bytes)
        with Path(path).open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TextError(f"{where}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # NUL in the name, or TextError
        raise error if isinstance(error, TextError) else TextError(f"{where}: {error}") from error
    if len(data) > max_bytes:
        raise _too_large(where, len(data), max_bytes)
    return data


def decode_text(data: bytes, where: str) -> str:
    """The text in some bytes, by their byte order mark or as UTF-8, without the mark.

    Args:
        data: a whole file.
        where: names the file in the error.

    Raises:
        TextError: the bytes are in none of the encodings above, or a git-LFS pointer.
    """
    if pointer := lfs_pointer(data):
        raise TextError(f"{printable(where)}: is {pointer}")
    for mark, encoding in _MARKS:
        if data.startswith(mark) and (not encoding.startswith("utf-32") or len(data) % 4 == 0):
            try:
                return data[len(mark) :].decode(encoding)
            except UnicodeDecodeError as error:
                name = encoding.upper().removesuffix("-LE").removesuffix("-BE")
                raise TextError(
                    f"{printable(where)}: begins as {name} and is damaged at byte "
                    f"{error.start + len(mark)}; save it as UTF-8"
                ) from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        text, wrong = None, error.start
    else:
        wrong = 0
    if b"\0" in data and (wide := _utf16_without_mark(data, also_utf8=text is not None)):
        return wide
    if text is None:
        raise TextError(f"{printable(where)}: {_not_utf8(data, wrong)}")
    return text


def split_lines(text: str) -> list[str]:
    """The lines of a text without their ends; an end at the end of the text begins no line."""
    lines = _LINE_END.split(text)
    return lines if lines[-1] else lines[:-1]


def parse_json(text: str, where: str) -> Any:
    """The value in a JSON text.

    Args:
        text: the whole text.
        where: names it in the error: a path, or a path and a line.

    Returns:
        The value. An object in which a key comes twice is a `RepeatedKeys`; its last value counts,
        as for other parsers.

    Raises:
        TextError: no JSON, or nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text else ""
        message = f"not JSON: {error.msg} at {line}column {error.colno}"
        raise TextError(f"{printable(where)}: {message}") from None
    except RecursionError:
        raise TextError(f"{printable(where)}: not readable: JSON nested too deeply") from None
    except ValueError as error:  # an integer of thousands of digits
        why = "a number of thousands of digits" if "digits" in str(error) else error
        raise TextError(f"{printable(where)}: not readable: {why}") from None


def printable(text: str) -> str:
    """A text with control characters and lone surrogates as escapes.

    The result fits into one line of UTF-8 output. File names that are not UTF-8 have lone
    surrogates.
    """
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    counts = Counter(key for key, _ in pairs)
    return RepeatedKeys(found, [key for key, count in counts.items() if count > 1])


def _utf16_without_mark(data: bytes, *, also_utf8: bool) -> str | None:
    """UTF-16 text without a byte order mark; None where the bytes are something else.

    ASCII in UTF-16 has NUL in every high byte. Bytes that are UTF-8 as well need it in most of the
    high bytes; others need one, and only characters that exist.
    """
    low, high = data[0::2].count(0), data[1::2].count(0)
    if len(data) % 2 or bool(low) == bool(high):
        return None
    if also_utf8 and max(low, high) < 0.75 * len(data) / 2:
        return None
    try:
        text = data.decode("utf-16-le" if high else "utf-16-be")
    except UnicodeDecodeError:
        return None
    known = all(
        each in "\t\r\n" or unicodedata.category(each) not in ("Cc", "Cn", "Co") for each in text
    )
    return text if known else None


def _not_utf8(data: bytes, wrong: int) -> str:
    place = f"not UTF-8 (byte 0x{data[wrong]:02x} at {wrong})"
    if b"\0" in data:
        return f"{place} and no text; need text in UTF-8"
    try:
        start = max(0, wrong - _SHOWN // 2)
        seen = data[start : start + _SHOWN].decode("cp1252")
    except UnicodeDecodeError:
        return f"{place}; save it as UTF-8"
    return (
        f"{place}; in Windows-1252 it reads {printable(seen)!r}: save it as UTF-8, e.g. "
        "`iconv -f WINDOWS-1252 -t UTF-8`"
    )


def _too_large(where: str, size: int, max_bytes: int) -> TextError:
    return TextError(
        f"{where}: has {size / 1e6:,.0f} MB, at most {max_bytes / 1e6:,.0f} MB of text are read; "
        "is it another file by mistake?"
    )
