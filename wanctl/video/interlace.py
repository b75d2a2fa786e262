"""Interlace analysis: combing (two fields in one frame), telecine and repeated frames.

Works on the stored luma before any scaling, which removes both traces. numpy only, because it
runs on every frame of every file.
"""

import numpy as np
from av.video.frame import VideoFrame

# A repeated frame that was compressed again differs from its original by less than this share of
# the differences between nearby frames, and by less than so many levels of 0..255, in the block
# that differs most. A difference below the last figure is a repeat in any case.
REPEAT_SHARE = 0.15
REPEAT_LEVELS = 8.0
STILL_LEVELS = 0.3
# A block moves where it differs by more than this: compression leaves less in most blocks.
MOVING_LEVELS = 1.0
# Where so much of the frame moves, and as much as in the frames around, nothing is repeated: a pan
# over a drawing whose figures change with every second or third frame.
_PAN_SHARE, _PAN_RATIO = 0.08, 0.5
_NEAR = 6  # frames before and after; frame rate conversions show a new one at least every fifth
# Every so many frames one is checked for combing. Pulldown combs the same frames of every cycle of
# 5, 10, 12, 24 or 25, so the step has no divisor in common with these: it comes to all frames of a
# cycle in turn. A seventh of the frames costs 3 % of the time that decoding takes.
COMB_CHECK_STEP = 7

_GRID = (24, 32)  # blocks in which frames are compared
_SAMPLES = 3  # samples of a block along each side
_STRIPES, _STRIPE_PX = 4, 48  # columns that are checked for combing
_BLOCK = 16
_COMB_LEVELS = 9  # as in field matchers: weaker lines are noise
_COMBED_SHARE = 0.5  # of a block's pixels; small print has up to 0.4
# Two fields show the same things at two times. So where they are combed the frame differs from the
# one before it, by half of what the fields differ by where it shares a field with it (pulldown) and
# by more elsewhere; and what one field shows, the other shows within so many pixels to either side,
# at a difference smaller than that in place. In roof tiles, blinds and grilles nothing moves (0.01
# to 0.4 in an aerial shot), or one field is bright and the other dark wherever one looks.
_FIELD_MOTION, _FIELD_REACH_PX, _FIELD_MATCH = 0.4, 24, 0.75
_MAX_SUSPECTS = 8  # blocks of a frame that are compared so, the most combed first


class InterlaceAnalyzer:
    """Collects, frame by frame, the figures that `repeats` and `comb_share` need.

    Attributes:
        change: per frame, the difference from the frame before in the block that differs most,
            in levels of 0..255; the first frame has 255.
        moving: per frame, the share of blocks that differ from the frame before by more than
            MOVING_LEVELS; the first frame has 1.
        combed: per frame 1 where it is combed, 0 where not, -1 where it was not checked.
    """

    def __init__(self) -> None:
        self.change: list[float] = []
        self.moving: list[float] = []
        self.combed: list[int] = []
        self._last: np.ndarray | None = None
        self._before: np.ndarray | None = None

    def add(self, frame: VideoFrame) -> None:
        """Analyse the next frame."""
        luma, shift = stored_luma(frame)
        small = _thinned(luma)
        if shift:
            small = (small >> shift).astype(np.uint8)
        change, moving = _difference(small, self._last)
        self.change.append(change)
        self.moving.append(moving)
        self._last = small
        before, self._before = self._before, None
        if len(self.combed) % COMB_CHECK_STEP == 0:
            # the decoder reuses the frame's memory
            self._before = luma.copy()
        comparable = before is not None and before.shape == luma.shape
        self.combed.append(int(is_combed(luma, shift, before)) if comparable else -1)


def stored_luma(frame: VideoFrame) -> tuple[np.ndarray, int]:
    """(H, W) luma of the stored frame, and how many bits it has above eight.

    Formats without a separate luma plane are converted first.
    """
    form = frame.format
    first = form.components[0]
    separate = form.is_planar and not form.is_rgb and first.is_luma and not form.is_big_endian
    if form.name != "gray" and not (separate and first.bits >= 8):
        frame = frame.reformat(format="gray")
        first = frame.format.components[0]
    plane = frame.planes[0]
    wide = first.bits > 8
    kind = np.uint16 if wide else np.uint8
    rows = np.frombuffer(plane, kind)  # pyright: ignore[reportCallIssue,reportArgumentType]
    rows = rows.reshape(plane.height, plane.line_size // (2 if wide else 1))
    # in P010 and similar formats the bits are the most significant ones
    top = 16 if frame.format.name.startswith("p0") or frame.format.name.startswith("p2") else 0
    return rows[:, : plane.width], (top or first.bits) - 8


def repeats(change: np.ndarray, moving: np.ndarray | None = None) -> np.ndarray:
    """(N,) bool: frames of one shot that repeat the frame before them.

    Args:
        change: (N,) `InterlaceAnalyzer.change`; the first frame is never a repeat.
        moving: (N,) `InterlaceAnalyzer.moving`; None: not measured.
    """
    if len(change) < 2:
        return np.zeros(len(change), dtype=bool)
    bound = np.maximum(STILL_LEVELS, np.minimum(REPEAT_LEVELS, REPEAT_SHARE * _near(change)))
    same = change[1:] <= bound
    if moving is not None:
        usual = np.maximum(_PAN_SHARE, _PAN_RATIO * _near(moving))
        same &= moving[1:] <= usual
    return np.concatenate([[False], same])


def moving_share(moving: np.ndarray, same: np.ndarray) -> float:
    """How much of the frame moves between frames that differ: the median share of blocks.

    Args:
        moving: (N,) `InterlaceAnalyzer.moving` of one shot.
        same: (N,) `repeats` of it.
    """
    different = moving[1:][~same[1:]]
    return float(np.median(different)) if len(different) else 1.0


def _near(values: np.ndarray) -> np.ndarray:
    """(N - 1,) largest value around each frame but the first."""
    padded = np.pad(values[1:], _NEAR, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEAR + 1).max(axis=1)


def frozen(same: np.ndarray, durations_s: np.ndarray, least_s: float = 0.5) -> np.ndarray:
    """(N,) bool: the repeats that belong to a still run of at least `least_s` seconds."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
    result = np.zeros(len(same), dtype=bool)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if durations_s[start:end].sum() >= least_s:
            result[start:end] = True
    return result


def is_combed(luma: np.ndarray, shift: int = 0, before: np.ndarray | None = None) -> bool:
    """Whether rows of two fields are combed together somewhere in an (H, W) frame.

    Args:
        luma: the frame.
        shift: bits above eight.
        before: the frame before it, of the same shape; None: motion is not asked for.

    In a combed block every other row differs from both its neighbours. Fine texture does too, but
    across columns as well, or only in places; and stripes do, but not by motion.
    """
    starts = _stripe_starts(luma.shape[1])
    part = np.concatenate([luma[:, start:end] for start, end in starts], axis=1)
    part = (part >> shift).astype(np.int16)
    rows = part.shape[0] // _BLOCK * _BLOCK
    columns = part.shape[1] // _BLOCK * _BLOCK
    # with a single row of blocks there are no neighbours to compare it with
    if rows < 2 * _BLOCK or not columns:
        return False
    part = part[:rows, :columns]
    if not _any_rougher(part):
        return False
    combed = _blocks(_alternates(part))
    suspects = combed >= _COMBED_SHARE
    if not suspects.any():
        return False
    fine = _blocks(_alternates(part.T).T)
    places = np.argwhere(suspects & (combed >= 2 * fine))
    order = np.argsort(-combed[tuple(places.T)], kind="stable")[:_MAX_SUSPECTS]
    columns_of = np.concatenate([np.arange(start, end) for start, end in starts])
    for row, column in places[order]:
        rows = slice(row * _BLOCK, (row + 1) * _BLOCK)
        left = int(columns_of[column * _BLOCK])
        last = None if before is None else before[rows]
        if _fields_moved(luma[rows], last, left, shift):
            return True
    return False


def _fields_moved(luma: np.ndarray, before: np.ndarray | None, left: int, shift: int) -> bool:
    """Whether a block that begins at column `left` of these rows is combed by motion."""
    columns = slice(left, left + _BLOCK)
    first, end = max(0, left - _FIELD_REACH_PX), left + _BLOCK + _FIELD_REACH_PX
    rows = (luma[:, first:end] >> shift).astype(np.float32)
    # both fields at the rows in the middle between two of the upper one
    fields = (rows[:-2:2] + rows[2::2]) / 2, rows[1:-1:2]
    upper, lower = (field[:, left - first :][:, :_BLOCK] for field in fields)
    apart = float(np.abs(upper - lower).mean())
    if before is not None:
        old, new = (each[:, columns] >> shift for each in (before, luma))
        if np.abs(new.astype(np.int32) - old).mean() < _FIELD_MOTION * apart:
            return False
    pairs = (upper, fields[1]), (lower, fields[0])
    return all(_nearest(*pair) <= _FIELD_MATCH * apart for pair in pairs)


def _nearest(block: np.ndarray, strip: np.ndarray) -> float:
    """Smallest mean difference of a block from any part of a wider strip of the same height."""
    windows = np.lib.stride_tricks.sliding_window_view(strip, block.shape[1], axis=1)
    return float(np.abs(windows - block[:, None]).mean(axis=(0, 2)).min())


def _any_rougher(part: np.ndarray) -> bool:
    """Whether in some block neighbouring rows differ more than rows two apart do.

    Hardly any progressive frame has such a block, and this check takes a fifth of the time.
    """
    inner = part[_BLOCK // 2 - 1 :][: part.shape[0] - _BLOCK + 2]
    near = _sums(np.abs(inner[1:-1] - inner[:-2]))
    far = _sums(np.abs(inner[2:] - inner[:-2]))
    return bool(np.any((near > far) & (near > _BLOCK**2 * _COMB_LEVELS // 2)))


def _alternates(part: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose row differs from both neighbours, which agree with each other."""
    step = part[1:] - part[:-1]
    up, down = -step[1:-2], step[2:-1]
    # a row between two others: 6 times its distance from what five rows around it make likely
    out_of_line = np.abs(part[:-4] + part[4:] + 4 * part[2:-2] - 3 * (part[1:-3] + part[3:-1]))
    least = np.where((up > 0) == (down > 0), np.minimum(np.abs(up), np.abs(down)), 0)
    result = np.zeros(part.shape, dtype=bool)
    result[2:-2] = (out_of_line > 6 * _COMB_LEVELS) & (least > _COMB_LEVELS)
    return result


def _blocks(mask: np.ndarray) -> np.ndarray:
    return _sums(mask.astype(np.int16)) / _BLOCK**2


def _sums(values: np.ndarray) -> np.ndarray:
    """(H, W) int16 summed over blocks; a column of a block must not exceed 2**15."""
    rows, columns = values.shape[0] // _BLOCK, values.shape[1] // _BLOCK
    tall = values[: rows * _BLOCK].reshape(rows, _BLOCK, -1).sum(axis=1, dtype=np.int16)
    return tall[:, : columns * _BLOCK].reshape(rows, columns, _BLOCK).sum(axis=2, dtype=np.int32)


def _stripe_starts(width: int) -> list[tuple[int, int]]:
    """Columns to check, spread over the frame: combing is as wide as the moving object."""
    if width <= _STRIPES * _STRIPE_PX:
        return [(0, width)]
    starts = np.linspace(0, width - _STRIPE_PX, _STRIPES).astype(int)
    return [(int(start), int(start) + _STRIPE_PX) for start in starts]


def _thinned(luma: np.ndarray) -> np.ndarray:
    """Subsample on a fixed grid; a frame smaller than the grid is taken whole."""
    height, width = luma.shape
    step_y = max(1, height // (_GRID[0] * _SAMPLES))
    step_x = max(1, width // (_GRID[1] * _SAMPLES))
    thin = luma[::step_y, ::step_x]
    height, width = (max(side // _SAMPLES * _SAMPLES, 1) for side in thin.shape)
    return np.ascontiguousarray(thin[:height, :width])


def _difference(frame: np.ndarray, last: np.ndarray | None) -> tuple[float, float]:
    """Mean difference in the block that differs most, and the share of blocks that move."""
    if last is None or last.shape != frame.shape:
        return 255.0, 1.0
    difference = (np.maximum(frame, last) - np.minimum(frame, last)).astype(np.uint16)
    if min(difference.shape) < _SAMPLES:
        mean = float(difference.mean())
        return mean, float(mean > MOVING_LEVELS)
    # sums over slices take a tenth of the time that reduceat or a reshaped mean takes
    summed = sum(
        (difference[start::_SAMPLES] for start in range(1, _SAMPLES)), difference[::_SAMPLES]
    )
    summed = sum(
        (summed[:, start::_SAMPLES] for start in range(1, _SAMPLES)), summed[:, ::_SAMPLES]
    )
    moving = np.count_nonzero(summed > MOVING_LEVELS * _SAMPLES**2) / summed.size
    return float(summed.max()) / _SAMPLES**2, moving
