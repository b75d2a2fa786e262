"""Marks that `ocr` has read: addresses, copyright lines, transparent words, logos of letters.

With a still camera the steadiness of edges shows nothing, but words do.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wanctl.curate.api import Box, ClipBatch
from wanctl_filters.shared.overlay import text_tracks
from wanctl_filters.watermark.marks import Mark

_LASTS = 0.5  # of the clip; a title is shown for less
_MARGIN_PX = 1  # beyond the detector's polygon


class Words(NamedTuple):
    """What the text of a clip says about marks, in display pixels.

    Attributes:
        marks: addresses, copyright lines and transparent words.
        logos: boxes of other words that are overlaid in corners and nowhere else: a logo, if its
            edges are those of a graphic.
    """

    marks: list[Mark]
    logos: list[Box]


def words_of(batch: ClipBatch | None, count: int) -> dict[int, Words]:
    """Row -> its words, for the clips that have any.

    Args:
        batch: the clips with evidence of `ocr`; None where the recipe lacks it.
        count: number of clips.
    """
    found: dict[int, Words] = {}
    if batch is None:
        return found
    tracks = text_tracks(batch)
    lasts = (tracks.last_s - tracks.first_s) >= _LASTS * batch.clip("duration_s")[tracks.rows]
    # on a score board, on a slide and next to a title the words of a corner are no logo
    elsewhere = np.bincount(
        tracks.rows[tracks.overlay & ~tracks.mark & ~tracks.logo], minlength=count
    )
    logo = tracks.logo & (elsewhere[tracks.rows] == 0)
    for track in np.flatnonzero(lasts & (tracks.mark | logo)).tolist():
        box = _around(tracks.boxes[track].tolist())
        words = found.setdefault(int(tracks.rows[track]), Words([], []))
        if tracks.mark[track]:
            words.marks.append(Mark(box, 1.0, read=True))
        else:
            words.logos.append(box)
    return found


def _around(corners: Sequence[float]) -> Box:
    left, top = (max(0, int(value) - _MARGIN_PX) for value in corners[:2])
    right, bottom = (int(np.ceil(value)) + _MARGIN_PX for value in corners[2:])
    return Box(left, top, right - left, bottom - top)
