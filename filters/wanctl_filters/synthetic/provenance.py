"""What a video file says of its making: tags and C2PA manifests, without decoding anything.

Reads ISO media (mp4, mov) and Matroska (mkv, webm). Headers are hostile: every size is checked
against the file, and the number of boxes, their depth and the bytes read are bounded.
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

_HOLDERS = {b"moov", b"trak", b"mdia", b"udta", b"ilst"}
# "uuid" boxes: where C2PA puts its manifest, and where XMP goes
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_SOURCE_TYPE = re.compile(rb"digitalsourcetype/([A-Za-z]{4,60})")
_CLAIMANT = re.compile(rb"claim_generator|softwareAgent")
_QUOTED = re.compile(rb'\s*"\s*:\s*"([^"]{1,120})"')
# Matroska: ids of the elements that hold others, and of the texts
_SEGMENT, _INFO, _TAGS, _TAG, _SIMPLE = 0x18538067, 0x1549A966, 0x1254C367, 0x7373, 0x67C8
_TEXTS = {0x4D80: "muxer", 0x5741: "encoder", 0x7BA9: "title"}
_TAG_NAME, _TAG_STRING = 0x45A3, 0x4487


@dataclass
class Story:
    """What was found.

    Attributes:
        tags: "key=value".
        marks: "c2pa" where there is a manifest, and what it or XMP state:
            "source type: trainedAlgorithmicMedia", "made by: ...".
    """

    tags: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)

    def tag(self, key: str, value: bytes) -> None:
        """Keep a text, shortened and without control characters."""
        text = value[: 4 * MAX_TEXT].decode("utf-8", "replace")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_TEXT]
        if text and len(self.tags) < MAX_TAGS:
            self.tags.append(f"{key[:60]}={text}")

    def manifest(self, data: bytes) -> None:
        """Read what a manifest or XMP says about the source."""
        for kind in _SOURCE_TYPE.findall(data):
            self._mark(f"source type: {kind.decode()}")
        for found in _CLAIMANT.finditer(data):
            if name := _text_after(data[found.end() : found.end() + 2 * MAX_TEXT]):
                self._mark(f"made by: {name}")

    def _mark(self, text: str) -> None:
        if text not in self.marks and len(self.marks) < MAX_TAGS:
            self.marks.append(text)


def _text_after(data: bytes) -> str:
    """The text that stands behind its key, in CBOR or in JSON; empty where there is none."""
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
    """A file with a budget."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.size = file.seek(0, 2)
        self.bytes_left = MAX_BYTES
        self.boxes_left = MAX_BOXES

    def at(self, place: int, count: int) -> bytes:
        """At most `count` bytes; fewer where the file or the budget ends."""
        count = max(0, min(count, self.bytes_left, self.size - place))
        self.bytes_left -= count
        self._file.seek(place)
        return self._file.read(count)


def read_story(file: Any) -> Story:
    """Tags and marks of an open binary file.

    Raises:
        OSError: the file cannot be read.
    """
    reader, story = _Reader(file), Story()
    head = reader.at(0, 12)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        _matroska(reader, 0, reader.size, story, 0)
    elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        _boxes(reader, 0, reader.size, story, 0)
    return story


def _walk_boxes(reader: _Reader, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, first byte of the content, end) of each box."""
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
            # cut short: what there is may still tell
            stop = end
        yield kind, content, stop
        start = stop


def _boxes(reader: _Reader, start: int, end: int, story: Story, depth: int) -> None:
    keys: list[str] = []
    for kind, first, stop in _walk_boxes(reader, start, end):
        if kind == b"uuid":
            _uuid(reader, first, stop, story)
        elif kind == b"jumb":
            story.marks.append("c2pa")
            story.manifest(reader.at(first, stop - first))
        elif kind == b"keys":
            keys = [
                reader.at(a, min(b - a, MAX_TEXT)).decode("utf-8", "replace")
                for _, a, b in _walk_boxes(reader, first + 8, stop)
            ]
        elif kind == b"hdlr":
            story.tag(
                "handler", reader.at(first + 24, min(stop - first - 24, MAX_TEXT)).strip(b"\0")
            )
        elif kind == b"ilst":
            _items(reader, first, stop, story, keys)
        elif kind == b"meta" and depth < MAX_DEPTH:
            # In mp4 a version comes before the boxes, in QuickTime it does not.
            versioned = reader.at(first, 8)[4:8] not in (b"hdlr", b"keys", b"ilst")
            _boxes(reader, first + 4 * versioned, stop, story, depth + 1)
        elif kind in _HOLDERS and depth < MAX_DEPTH:
            _boxes(reader, first, stop, story, depth + 1)
        elif kind[:1] == b"\xa9":
            # QuickTime: length, language, text
            text = reader.at(first, min(stop - first, 4 * MAX_TEXT))
            story.tag(kind[1:].decode("latin-1"), text[4:])


def _uuid(reader: _Reader, first: int, stop: int, story: Story) -> None:
    name = reader.at(first, 16)
    if name == _C2PA:
        story.marks.append("c2pa")
    if name in (_C2PA, _XMP):
        story.manifest(reader.at(first + 16, stop - first - 16))


def _items(reader: _Reader, first: int, stop: int, story: Story, keys: list[str]) -> None:
    """The list of iTunes: each box is a key, its "data" box the value."""
    for kind, start, end in _walk_boxes(reader, first, stop):
        number = int.from_bytes(kind, "big")
        name = keys[number - 1] if 0 < number <= len(keys) else kind.decode("latin-1").strip("\xa9")
        for inner, a, b in _walk_boxes(reader, start, end):
            if inner == b"data":
                story.tag(name, reader.at(a + 8, min(b - a - 8, 4 * MAX_TEXT)))


def _matroska(reader: _Reader, start: int, end: int, story: Story, depth: int) -> None:
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
            _matroska(reader, first, stop, story, depth + 1)
        elif kind in _TEXTS:
            story.tag(_TEXTS[kind], reader.at(first, min(stop - first, 4 * MAX_TEXT)))
        elif kind == _TAG_NAME:
            name = reader.at(first, min(stop - first, 60)).decode("utf-8", "replace").lower()
        elif kind == _TAG_STRING:
            story.tag(name, reader.at(first, min(stop - first, 4 * MAX_TEXT)))
        start = stop


def _number(data: bytes, *, keep_marker: bool) -> tuple[int, int]:
    """EBML's integers of variable length: value, bytes used; (0, 0) where there is none."""
    if not data or data[0] == 0:
        return 0, 0
    length = 9 - data[0].bit_length()
    if len(data) < length:
        return 0, 0
    value = int.from_bytes(data[:length], "big")
    return (value if keep_marker else value & ((1 << (7 * length)) - 1)), length
