"""Reads the provenance that a video file declares: tags and C2PA manifests, without decoding.

Reads ISO media (mp4, mov) and Matroska (mkv, webm). Headers are untrusted input: every size is
checked against the file, and the number of boxes, their depth and the bytes read are bounded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_BYTES = 4 * 2**20
MAX_BOXES = 4096
MAX_DEPTH = 8
MAX_TAGS = 64
MAX_TEXT = 300

_CONTAINERS = {b"moov", b"trak", b"mdia", b"udta", b"ilst"}
# ids of the "uuid" boxes that hold C2PA manifests and XMP
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_SOURCE_TYPE = re.compile(rb"digitalsourcetype/([A-Za-z]{4,60})")
_CLAIMANT = re.compile(rb"claim_generator|softwareAgent")
_QUOTED = re.compile(rb'\s*"\s*:\s*"([^"]{1,120})"')
# Matroska: ids of master elements, and of text elements
_SEGMENT, _INFO, _TAGS, _TAG, _SIMPLE = 0x18538067, 0x1549A966, 0x1254C367, 0x7373, 0x67C8
_TEXTS = {0x4D80: "muxer", 0x5741: "encoder", 0x7BA9: "title"}
_TAG_NAME, _TAG_STRING = 0x45A3, 0x4487


@dataclass
class Provenance:
    """Tags and provenance marks of a file.

    Attributes:
        tags: "key=value" each.
        marks: "c2pa" where there is a manifest, and statements of it or of XMP:
            "source type: trainedAlgorithmicMedia", "made by: ...".
    """

    tags: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)

    def add_tag(self, key: str, value: bytes) -> None:
        """Add a tag, shortened and without control characters."""
        text = value[: 4 * MAX_TEXT].decode("utf-8", "replace")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_TEXT]
        if text and len(self.tags) < MAX_TAGS:
            self.tags.append(f"{key[:60]}={text}")

    def add_manifest(self, data: bytes) -> None:
        """Add the source types and generators that a manifest or XMP states."""
        for kind in _SOURCE_TYPE.findall(data):
            self._add_mark(f"source type: {kind.decode()}")
        for match in _CLAIMANT.finditer(data):
            if name := _text_after(data[match.end() : match.end() + 2 * MAX_TEXT]):
                self._add_mark(f"made by: {name}")

    def _add_mark(self, text: str) -> None:
        if text not in self.marks and len(self.marks) < MAX_TAGS:
            self.marks.append(text)


def _text_after(data: bytes) -> str:
    """The string value that follows a key in CBOR or JSON; empty where there is none."""
    if quoted := _QUOTED.match(data):
        text = quoted[1]
    elif data[:1] and 0x60 <= data[0] <= 0x77:
        text = data[1 : 1 + data[0] - 0x60]
    elif data[:1] == b"\x78" and len(data) > 1:
        text = data[2 : 2 + data[1]]
    else:
        return ""
    return "".join(c for c in text.decode("utf-8", "replace") if c.isprintable()).strip()


class _Reader:
    """A file with budgets for bytes and boxes."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.size = file.seek(0, 2)
        self.bytes_left = MAX_BYTES
        self.boxes_left = MAX_BOXES

    def at(self, place: int, count: int) -> bytes:
        """Read at most `count` bytes at `place`; fewer where the file or the budget ends."""
        count = max(0, min(count, self.bytes_left, self.size - place))
        self.bytes_left -= count
        self._file.seek(place)
        return self._file.read(count)


def read_provenance(file: Any) -> Provenance:
    """Read tags and marks of an open binary file.

    Raises:
        OSError: the file cannot be read.
    """
    reader, provenance = _Reader(file), Provenance()
    head = reader.at(0, 12)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        _matroska(reader, 0, reader.size, provenance, 0)
    elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        _boxes(reader, 0, reader.size, provenance, 0)
    return provenance


def _walk_boxes(reader: _Reader, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, first byte of the content, end) of each box."""
    while start + 8 <= end and reader.boxes_left > 0:
        reader.boxes_left -= 1
        head = reader.at(start, 16)
        if len(head) < 8:
            return
        size, kind, content = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if size == 1 and len(head) == 16:
            size, content = int.from_bytes(head[8:], "big"), start + 16
        stop = end if size == 0 else start + size
        if stop < content or stop > end:
            # truncated: the rest may still hold tags
            stop = end
        yield kind, content, stop
        start = stop


def _boxes(reader: _Reader, start: int, end: int, provenance: Provenance, depth: int) -> None:
    keys: list[str] = []
    for kind, first, stop in _walk_boxes(reader, start, end):
        if kind == b"uuid":
            _uuid(reader, first, stop, provenance)
        elif kind == b"jumb":
            provenance.marks.append("c2pa")
            provenance.add_manifest(reader.at(first, stop - first))
        elif kind == b"keys":
            keys = [
                reader.at(a, min(b - a, MAX_TEXT)).decode("utf-8", "replace")
                for _, a, b in _walk_boxes(reader, first + 8, stop)
            ]
        elif kind == b"hdlr":
            provenance.add_tag(
                "handler", reader.at(first + 24, min(stop - first - 24, MAX_TEXT)).strip(b"\0")
            )
        elif kind == b"ilst":
            _items(reader, first, stop, provenance, keys)
        elif kind == b"meta" and depth < MAX_DEPTH:
            # In mp4 a version precedes the boxes, in QuickTime it does not.
            versioned = reader.at(first, 8)[4:8] not in (b"hdlr", b"keys", b"ilst")
            _boxes(reader, first + 4 * versioned, stop, provenance, depth + 1)
        elif kind in _CONTAINERS and depth < MAX_DEPTH:
            _boxes(reader, first, stop, provenance, depth + 1)
        elif kind[:1] == b"\xa9":
            # QuickTime: length, language, text
            text = reader.at(first, min(stop - first, 4 * MAX_TEXT))
            provenance.add_tag(kind[1:].decode("latin-1"), text[4:])


def _uuid(reader: _Reader, first: int, stop: int, provenance: Provenance) -> None:
    name = reader.at(first, 16)
    if name == _C2PA:
        provenance.marks.append("c2pa")
    if name in (_C2PA, _XMP):
        provenance.add_manifest(reader.at(first + 16, stop - first - 16))


def _items(reader: _Reader, first: int, stop: int, provenance: Provenance, keys: list[str]) -> None:
    """ITunes metadata list: the type of each box is the key, its "data" box holds the value."""
    for kind, start, end in _walk_boxes(reader, first, stop):
        number = int.from_bytes(kind, "big")
        name = keys[number - 1] if 0 < number <= len(keys) else kind.decode("latin-1").strip("\xa9")
        for inner, a, b in _walk_boxes(reader, start, end):
            if inner == b"data":
                provenance.add_tag(name, reader.at(a + 8, min(b - a - 8, 4 * MAX_TEXT)))


def _matroska(reader: _Reader, start: int, end: int, provenance: Provenance, depth: int) -> None:
    name = ""
    while start < end and reader.boxes_left > 0:
        reader.boxes_left -= 1
        head = reader.at(start, 12)
        kind, used = _number(head, keep_marker=True)
        size, more = _number(head[used:], keep_marker=False)
        if not used or not more:
            return
        first = start + used + more
        unknown = size == (1 << (7 * more)) - 1
        stop = end if unknown or first + size > end else first + size
        if kind in (_SEGMENT, _INFO, _TAGS, _TAG, _SIMPLE) and depth < MAX_DEPTH:
            _matroska(reader, first, stop, provenance, depth + 1)
        elif kind in _TEXTS:
            provenance.add_tag(_TEXTS[kind], reader.at(first, min(stop - first, 4 * MAX_TEXT)))
        elif kind == _TAG_NAME:
            name = reader.at(first, min(stop - first, 60)).decode("utf-8", "replace").lower()
        elif kind == _TAG_STRING:
            provenance.add_tag(name, reader.at(first, min(stop - first, 4 * MAX_TEXT)))
        start = stop


def _number(data: bytes, *, keep_marker: bool) -> tuple[int, int]:
    """EBML variable-length integer: value, bytes used; (0, 0) where it is invalid."""
    if not data or data[0] == 0:
        return 0, 0
    length = 9 - data[0].bit_length()
    if len(data) < length:
        return 0, 0
    value = int.from_bytes(data[:length], "big")
    return (value if keep_marker else value & ((1 << (7 * length)) - 1)), length
