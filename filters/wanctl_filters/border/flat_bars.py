"""Decides which flat margins are bars, from their constancy, their edges and the opposite side.

A bar is drawn: it has one colour, does not change, ends in a straight line, and nearly always has
an equal one on the opposite side. Ground, horizons, monitor bezels and the shadows of dark shots
have some of these properties, not all of them.
"""

import numpy as np

from wanctl.curate.api import ClipBatch
from wanctl_filters.shared.bars import SIDES

OPPOSITE = [2, 3, 0, 1]
"""The place in `SIDES` of the side opposite to each."""
PAIR_PX = 4
"""Pixels by which the widths of two equal bars may differ."""

# Range of the luma along the bar and deviation over time, in levels. Real letterboxes and
# pillarboxes: at most 0.4 and 0.04. Drawn bars with grain of 6 levels at crf 35: at most 2 and 0.5.
# Pictured margins with a straight edge (horizon, tray, screen): 0.8 to 7.5, and 0.02 to 3.6.
_EXACT_UNEVEN, _EXACT_DRIFT = 0.5, 0.25
_EVEN_UNEVEN, _EVEN_DRIFT = 3.0, 1.5
_BLACK = 24.0  # luma of a bar that needs no counterpart
_MIN_SHARE = 0.008  # of the side; thinner margins are left by scaling and blanking
_WHOLE_EDGE = 0.9  # share of the edge that differs, for the weaker kinds of bars


def flat_bars(
    batch: ClipBatch, size: np.ndarray, *, min_bar_px: int, min_change: float
) -> np.ndarray:
    """(N, 4) int64 width of the flat bar on each side, in the order of `SIDES`; 0 for none.

    A margin is a bar if there is an equal one on the opposite side and the frame differs from them
    along enough of the edge; if both sides have unequal ones, each constant and with an edge; or if
    it is black, constant, and the frame differs from it along the entire edge. A thin frame counts
    where it encloses the picture or where wide bars do.

    Args:
        batch: evidence of the `border` filter.
        size: (N, 4) length in pixels across each side: width, height, width, height.
        min_bar_px: thinner bars are ignored.
        min_change: share of the edge along which the frame must differ from the bar.
    """

    def column(name: str) -> np.ndarray:
        return batch.lists(name).values.reshape(-1, len(SIDES))

    margin, change = column("bars").astype(np.int64), column("change")
    uneven, drift = column("uneven"), column("drift")
    exact = (uneven <= _EXACT_UNEVEN) & (drift <= _EXACT_DRIFT)
    even = (uneven <= _EVEN_UNEVEN) & (drift <= _EVEN_DRIFT)
    some = margin >= min_bar_px
    wide = some & (margin >= _MIN_SHARE * size)

    equal = wide & wide[:, OPPOSITE] & (np.abs(margin - margin[:, OPPOSITE]) <= PAIR_PX)
    # in a dark shot one of two equal bars may have no contrast: the pair shares the larger one, and
    # needs less, as footage may have the bar's shade along half of the edge
    shared = np.maximum(change, change[:, OPPOSITE])
    both_exact = exact & exact[:, OPPOSITE]
    least = np.where(both_exact, 1 / 2, 2 / 3) * min_change
    pair = equal & even & even[:, OPPOSITE] & (shared >= least)

    edged = wide & exact & (change >= 1.3 * min_change)
    unequal = edged & edged[:, OPPOSITE]
    alone = wide & exact & (column("luma") <= _BLACK) & (change >= _WHOLE_EDGE)
    bar = pair | unequal | alone

    whole = some & (change >= _WHOLE_EDGE)
    framed = whole.all(axis=1, keepdims=True) | bar[:, [1, 0, 1, 0]] & bar[:, [3, 2, 3, 2]]
    bar |= whole & framed
    # black on all sides: the outline of a window in it need not be straight
    window = (equal & both_exact & (column("luma") <= _BLACK)) & bar[:, [1, 0, 1, 0]]
    bar |= window & bar[:, [3, 2, 3, 2]] & unequal[:, [1, 0, 1, 0]]
    written = column("written").astype(np.int64)
    return np.maximum(np.where(bar, margin, 0), np.where(written >= _MIN_SHARE * size, written, 0))
