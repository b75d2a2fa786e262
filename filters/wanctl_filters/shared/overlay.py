"""What is overlaid on the picture: the model of overlaid text that `ocr` and `watermark` share.

`ocr` measures text tracks (`TRACK_COLUMNS`, one entry per track): text with the same strokes in the
same place over consecutive samples. `text_tracks` decides which of them are overlaid:

1. The camera moves and the strokes stand still, to a fraction of a pixel. What cannot be read, such
   as the grille of a car, must show the picture between its strokes too.
2. With a locked camera signs stand still as well. There, text must be read, level and of one level
   from end to end, and nothing may pass before it: neither does it hide a part of it for a while,
   nor does the text vanish and come back. And it either shows the picture between its strokes, or
   appears or vanishes at once while its ground stays, or is filled like drawn letters and placed
   where overlays are (subtitles, banners, corners, pictures without any noise).
3. Typographic lines that replace each other in one place are subtitles or captions.

Patterns that cannot be read (foliage, stripes, walls) are no text.
Other text belongs to the scene: signs, labels, jerseys, screens in the room.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from wanctl.curate.api import ClipBatch

TRACK_COLUMNS = {
    "samples": "int",
    "track_corners": "floats",
    "track_plates": "floats",
    "track_first_s": "floats",
    "track_last_s": "floats",
    "track_matches": "ints",
    "track_around": "floats",
    "track_moving": "floats",
    "track_shift": "floats",
    "track_noise": "floats",
    "track_fade": "floats",
    "track_gaps": "floats",
    "track_hidden": "ints",
    "track_onset": "floats",
    "track_steep": "floats",
    "track_even": "floats",
    "track_contrast": "floats",
    "track_angle": "floats",
    "track_relay": "ints",
    "track_tried": "ints",
    "track_texts": "strings",
}
"""Columns of evidence of `ocr`. `samples` is the number of the clip's samples; the others have one
entry per text track (8 for corners, 4 for plates):

- corners: of the detector's polygon, x0, y0 ... x3, y3, display pixels.
- plates: left, top, right, bottom of the plate that the text is printed on, display pixels; zeros
  where there is none.
- first_s, last_s: times of the first and of the last sample that show it, seconds of the clip.
- matches: number of samples that show it.
- around: change of the luma next to it over these samples, 0..255, median of the samples.
- moving: share of the frame that changes over these samples, 0..1.
- shift: displacement of its strokes between the first and the last of these samples, in pixels of
  the samples; overlays have less than 0.3.
- noise: median change of luma, next to it, from one sample to the next, 0..255; 0 in drawn
  pictures.
- fade: standard deviation over time of its brightest (or darkest) strokes as a share of that around
  it: near 0 for opaque text, the transparency for transparent text; 0 where little changes.
- gaps: change over time of the ground between its strokes, 0..255.
- hidden: number of samples in which something covers a part of it for a while.
- onset: change of the luma next to it, 0..255, between a sample that shows it and the next one that
  does not, at its start or end; 255 where it is shown from the first to the last sample.
- steep: luma gradient of its edges per pixel as a share of its contrast; 0.25 to 0.45 for drawn
  text, less for what a lens has seen.
- even: standard deviation of the level of its strokes from end to end, 0..255.
- contrast: between strokes and ground, 0..255.
- angle: to the nearest axis, degrees.
- relay: number of other tracks that stand on the same line, centred like it, at other times.
- tried: 1 where it was tried to read it.
- texts: what was read; empty where it is not readable. No entries at all where `read` is off.
"""

_MIN_MATCHES = 3  # samples; scene text under a drifting camera matches in one or two neighbours
_STILL_PX = 0.5  # shift of strokes; a sign that drifts enough to change its ground moves by 1 px
_CHANGES = 4.0  # luma levels around it; grain and coding reach 3
_MOST_MOVES = 0.5  # share of the frame; then the camera moves, and nothing of a scene stands still
_SHOWS = 8.0  # luma levels; the ground between letters on a surface or a plate changes by 3
_FILLED = 3.0  # luma levels; drawn letters have one level, those on a surface the light on it
_FIXED_PX = 0.1  # shift by coding; a camera on a tripod or a screen that is filmed has as much
_BLACK_WHITE = 180.0  # contrast; that of subtitles is 184 and more, printed matter reflects less
_SHARP, _EVEN, _STRONG, _LEVEL_DEG = 0.25, 12.0, 80.0, 3.0
_DRAWN = 0.5  # luma levels of noise; footage of a camera has 1 and more even after coding
_LOW = 2 / 3  # of the height, from the top
_CORNER = 0.2  # of the width and of the height, from the nearest edges
_LOGO = 1 / 3  # of the width and of the height: size of a logo, and its distance from a corner
_WORD = 2  # letters; single ones are read into patterns
_NAME = 16  # letters that the name in a logo has at most; Chinese characters count twice
_CENTRED = 0.05  # of the width, between the middle of a line and that of the picture
_ALIKE = 1.5  # ratio of the heights of two lines of one block, with and without descenders
_RELAYS = 2  # others on the line; a label that is lost and found again under a drift has one
_TRANSPARENT = 0.4  # opaque text has 0.3 and less, but more while it is faded in
_OPAQUE = 0.1  # variation of strokes as a share of that around them
_HALF = 128.0  # contrast that text of half transparency can have at most
_LARGEST = 0.25  # of the picture; PP-OCR takes fog and studio walls for a line of text
_OWNER = re.compile(
    r"©|\(c\)\s*\d{4}|copyright|all rights reserved"
    r"|shutterst|gettyim|istock|dreamstime|depositphoto|pond5|storyblock|adobe ?stock|alamy",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"\bwww\b|https?:|\w\.(com|net|org|tv|cn|io|co|me|ru|de|jp|uk|in)\b|^@\w", re.IGNORECASE
)


@dataclass(frozen=True)
class TextTracks:
    """All text tracks of a batch of clips, as columns.

    Attributes:
        rows: (M,) the clip of each track, as index into the batch.
        corners: (M, 8) x0, y0 ... x3, y3 in display pixels.
        boxes: (M, 4) left, top, right, bottom in display pixels.
        plates: (M, 4) of the plate under it, in display pixels; zeros where there is none.
        first_s: (M,) seconds from the clip's first frame.
        last_s: (M,) seconds from the clip's first frame.
        texts: (M,) what was read, or empty.
        overlay: (M,) bool, overlaid and not part of the scene.
        mark: (M,) bool, overlays that say whose footage it is and nothing else: transparent ones,
            and copyright lines, addresses and user names.
        logo: (M,) bool, overlays that may be a logo: compact, in a corner, and at most a name.
        legible: (M,) bool, text and not a pattern like it: read, or not tried to be read where most
            other text of the clip is read.
    """

    rows: np.ndarray
    corners: np.ndarray
    boxes: np.ndarray
    plates: np.ndarray
    first_s: np.ndarray
    last_s: np.ndarray
    texts: np.ndarray
    overlay: np.ndarray
    mark: np.ndarray
    logo: np.ndarray
    legible: np.ndarray

    def __getitem__(self, chosen: np.ndarray | slice) -> "TextTracks":
        return TextTracks(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def text_tracks(batch: ClipBatch) -> TextTracks:
    """The text tracks of clips with evidence of `ocr`, and which of them are overlaid.

    Positions are judged within `batch.views`, so that text next to a bar that an earlier filter
    crops away counts as text at the edge.
    """
    first_s = batch.lists("track_first_s")
    start, end = int(first_s.starts[0]), int(first_s.starts[-1])
    rows = np.repeat(np.arange(len(batch)), first_s.counts())

    def column(name: str, width: int = 1) -> np.ndarray:
        values = batch.lists(f"track_{name}").values[width * start : width * end]
        return values.reshape(-1, width) if width > 1 else values

    corners = column("corners", 8)
    xs, ys = corners[:, 0::2], corners[:, 1::2]
    boxes = np.stack([xs.min(1), ys.min(1), xs.max(1), ys.max(1)], axis=1)
    texts, read = _strings(batch, first_s.counts())
    tried = column("tried") > 0
    legible = _legible(texts, read, tried, rows, len(batch))
    enough = column("matches") >= np.clip(batch.numbers("samples")[rows], 2, _MIN_MATCHES)
    stands = enough & (column("shift") <= _STILL_PX)
    printed = (column("even") <= _EVEN) & (column("angle") <= _LEVEL_DEG)
    sharp, strong = column("steep") >= _SHARP, column("contrast") >= _STRONG
    ground_moves = (column("noise") >= _CHANGES) | (
        column("around") >= np.where(printed, 1, 2) * _CHANGES
    )
    pierced = column("gaps") >= _SHOWS
    low, inward, centred = _places(boxes, batch.views[rows])
    pictured = column("noise") > _DRAWN
    banner = (low | (inward <= _CORNER)) & ground_moves
    contrasting = column("contrast") >= _BLACK_WHITE
    placed = ((low & centred) | (inward <= _CORNER) | ground_moves) & contrasting
    filled = (column("even") <= _FILLED) & (column("shift") <= _FIXED_PX)
    appears = column("onset") < _CHANGES
    replaced = (column("relay") >= _RELAYS) & centred & (column("shift") <= _STILL_PX)
    # with a locked camera a sign stands still as well while people pass beside it and before it
    locked = column("moving") < _MOST_MOVES
    moving = stands & ~locked & ((legible & (printed | pierced)) | (printed & pierced))
    level = column("angle") <= _LEVEL_DEG
    words = legible & (tried | ~read) & level
    typographic = words & printed & sharp & strong
    # strokes that keep their level while the ground beside and between them changes are drawn;
    # those of signs behind passers-by vary by 0.17 to 2.7 of it
    ahead = (
        (column("fade") <= _OPAQUE)
        & (column("gaps") >= 2 * _SHOWS)
        & (column("around") >= 2 * _CHANGES)
    )
    hidden = pictured & (column("hidden") > 0) & ~ahead
    behind = hidden | _returns(rows, texts, boxes, column, locked)
    still = stands & ((filled & (placed | banner | ~pictured)) | appears)
    opaque = column("fade") < _TRANSPARENT
    floating = stands & words & (printed | opaque) & ground_moves & pierced
    overlay = moving | (
        ~behind & ((locked & floating) | (typographic & ((locked & still) | replaced)))
    )
    overlay |= _next_lines(rows, boxes, overlay, stands & typographic & ground_moves & ~behind)
    extent = boxes[:, 2:] - boxes[:, :2]
    overlay &= extent.prod(axis=1) <= _LARGEST * (batch.clip("width") * batch.clip("height"))[rows]
    compact = (extent <= _LOGO * batch.views[rows][:, 2:]).all(axis=1)
    legal = stands & level & ~behind
    transparent = (column("fade") >= _TRANSPARENT) & (column("contrast") <= _HALF)
    # an address on a van or over a shop is no mark
    said = _where(legal, texts, _OWNER.search)
    said |= _where(legal & (overlay | low | (inward <= _CORNER)), texts, _ADDRESS.search)
    mark = (overlay & transparent) | said
    in_block = _below_text(rows, boxes, overlay, mark)
    mark, overlay = mark & ~in_block, overlay | in_block
    cornered = overlay & compact & (inward <= _LOGO)
    return TextTracks(
        rows, corners, boxes, column("plates", 4), column("first_s"), column("last_s"), texts,
        overlay, mark, cornered & ~_where(cornered, texts, _is_long), legible,
    )  # fmt: skip


def _where(chosen: np.ndarray, texts: np.ndarray, holds: Callable[[str], Any]) -> np.ndarray:
    """(M,) bool: where something holds of a text; only chosen ones with text are tried."""
    result = np.zeros(len(texts), dtype=bool)
    rows = np.flatnonzero(chosen & (texts != ""))
    result[rows] = [bool(holds(text)) for text in texts[rows].tolist()]
    return result


def _is_long(text: str) -> bool:
    """Whether a text has more than `_NAME` characters; wide ones count twice, spaces do not."""
    return sum(1 + (character > "\u2e7f") for character in text if not character.isspace()) > _NAME


def _is_word(text: str) -> bool:
    """Whether a text has `_WORD` letters and digits; wide ones count twice."""
    return sum(1 + (character > "\u2e7f") for character in text if character.isalnum()) >= _WORD


def _places(boxes: np.ndarray, views: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """In the low third (bool), distance from the nearest corner, centred in the width (bool).

    The distance is the larger one of those from the two nearest edges of the view, as shares of
    its width and height.
    """
    across = ((boxes[:, 0] + boxes[:, 2]) / 2 - views[:, 0]) / np.maximum(views[:, 2], 1)
    down = ((boxes[:, 1] + boxes[:, 3]) / 2 - views[:, 1]) / np.maximum(views[:, 3], 1)
    inward = np.maximum(np.minimum(across, 1 - across), np.minimum(down, 1 - down))
    return down >= _LOW, inward, np.abs(across - 0.5) <= _CENTRED


def _legible(
    texts: np.ndarray, read: np.ndarray, tried: np.ndarray, rows: np.ndarray, count: int
) -> np.ndarray:
    """(M,) bool, see `TextTracks.legible`; everything where reading is off.

    Args:
        texts: (M,) what was read.
        read: (M,) whether reading is on.
        tried: (M,) whether it was tried to read the track.
        rows: (M,) the clip of each track.
        count: number of clips.
    """
    words = _where(np.ones(len(texts), dtype=bool), texts, _is_word)
    most = 2 * np.bincount(rows[words], minlength=count) >= np.maximum(
        np.bincount(rows[tried], minlength=count), 1
    )
    return words | ~read | (~tried & most[rows])


def _returns(
    rows: np.ndarray,
    texts: np.ndarray,
    boxes: np.ndarray,
    column: Callable[[str], np.ndarray],
    locked: np.ndarray,
) -> np.ndarray:
    """(M,) bool: the same words are in the same place before or after, and the ground changes.

    Something passes before them. Drawn words that blink leave their ground as it is.
    """
    seen: dict[tuple[int, str], list[int]] = {}
    for at in np.flatnonzero(locked & (texts != "")).tolist():
        seen.setdefault((int(rows[at]), str(texts[at])), []).append(at)
    result = np.zeros(len(rows), dtype=bool)
    first_s, last_s, onset = column("first_s"), column("last_s"), column("onset")
    for same in seen.values():
        for at, other in permutations(same, 2):
            apart = first_s[at] > last_s[other] or last_s[at] < first_s[other]
            height = boxes[at, 3] - boxes[at, 1]
            near = np.abs(boxes[at] - boxes[other]).max() <= height / 2
            if apart and near and max(onset[at], onset[other]) >= _CHANGES:
                result[at] = True
    return result


def _next_lines(
    rows: np.ndarray, boxes: np.ndarray, overlay: np.ndarray, standing: np.ndarray
) -> np.ndarray:
    """(M,) bool: standing lines directly above or below an overlaid line of the same height.

    The lines of a block are drawn together, but the ground changes more behind some than others.
    """
    joined = np.zeros(len(rows), dtype=bool)
    candidates = np.flatnonzero(standing & ~overlay)
    for at in candidates[np.isin(rows[candidates], rows[overlay])].tolist():
        near = boxes[overlay & (rows == rows[at])]
        box, heights = boxes[at], near[:, 3] - near[:, 1]
        height = box[3] - box[1]
        alike = np.maximum(heights, height) <= _ALIKE * np.minimum(heights, height)
        apart = np.maximum(near[:, 1], box[1]) - np.minimum(near[:, 3], box[3])
        shared = np.minimum(near[:, 2], box[2]) - np.maximum(near[:, 0], box[0])
        narrower = np.minimum(near[:, 2] - near[:, 0], box[2] - box[0])
        joined[at] = bool((alike & (apart <= height) & (2 * shared >= narrower)).any())
    return joined


def _below_text(
    rows: np.ndarray, boxes: np.ndarray, overlay: np.ndarray, mark: np.ndarray
) -> np.ndarray:
    """(M,) bool: a line of a block of overlaid text of which another line is no mark."""
    joined = np.zeros(len(rows), dtype=bool)
    others = np.flatnonzero(overlay & ~mark)
    for at in np.flatnonzero(mark).tolist():
        near = others[rows[others] == rows[at]]
        height = boxes[at, 3] - boxes[at, 1]
        across = np.minimum(boxes[near, 2], boxes[at, 2]) - np.maximum(boxes[near, 0], boxes[at, 0])
        down = np.minimum(boxes[near, 3], boxes[at, 3]) - np.maximum(boxes[near, 1], boxes[at, 1])
        joined[at] = bool(((across > 0) & (down > -0.5 * height)).any())
    return joined


def _strings(batch: ClipBatch, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M,) object: the strings of all tracks; (M,) bool: whether reading is on."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = batch.evidence["track_texts"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    lengths: Any = pc.fill_null(pc.list_value_length(column), 0)  # type: ignore[attr-defined]
    read = np.repeat(lengths.to_numpy() == counts, counts)
    texts = np.full(len(read), "", dtype=object)
    texts[read] = column.flatten().to_numpy(zero_copy_only=False)
    return texts, read
