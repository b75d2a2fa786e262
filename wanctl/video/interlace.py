"""What a stored picture says about how footage was made: repeated pictures, woven fields.

Works on the luma as it is stored, before anything is scaled: both traces are gone afterwards.
numpy only, because every picture of every file comes by here.
"""

import numpy as np
from av.video.frame import VideoFrame

# A repeated picture that was compressed again differs from its original by less than this share
# of what pictures near it differ by, and by less than so many levels of 0..255, in the block that
# differs most. What differs by less than the last figure repeats in any case.
REPEAT_SHARE = 0.15
REPEAT_LEVELS = 8.0
STILL_LEVELS = 0.3
_NEAR = 6  # pictures before and after; conversions show a new one at least every fifth
# Enough to find what is woven: the traces come and go with motion, not with pictures.
COMB_LOOKS_PER_S = 1.5

_GRID = (24, 32)  # blocks that pictures are compared in
_SAMPLES = 3  # samples of a block along each side
_STRIPES, _STRIPE_PX = 4, 48  # columns looked at for combs
_BLOCK = 16
_COMB_LEVELS = 9  # as field matchers have it: weaker lines are noise
_COMBED_SHARE = 0.5  # of a block's pixels; thin print has up to 0.4


class InterlaceAnalyzer:
    """Collects, picture by picture, what `repeats` and `comb_share` need.

    Attributes:
        change: per picture, how much the block that differs most differs from the picture
            before, in levels of 0..255; the first picture has 255.
        combed: per picture 1 where it is woven of two fields, 0 where not, -1 where nobody looked.
    """

    def __init__(self) -> None:
        self.change: list[float] = []
        self.combed: list[int] = []
        self._last: np.ndarray | None = None
        self._looked_s = -np.inf

    def look(self, frame: VideoFrame, time_s: float) -> None:
        """The next picture."""
        luma, shift = stored_luma(frame)
        small = _thinned(luma)
        if shift:
            small = (small >> shift).astype(np.uint8)
        self.change.append(_difference(small, self._last))
        self._last = small
        look = time_s - self._looked_s >= 1 / COMB_LOOKS_PER_S - 1e-6
        if look:
            self._looked_s = time_s
        self.combed.append(int(is_combed(luma, shift)) if look else -1)


def stored_luma(frame: VideoFrame) -> tuple[np.ndarray, int]:
    """(H, W) of the stored picture and how many bits it has above eight.

    Formats that do not keep luma in a plane of its own are converted first.
    """
    form = frame.format
    first = form.components[0]
    apart = form.is_planar and not form.is_rgb and first.is_luma and not form.is_big_endian
    if form.name != "gray" and not (apart and first.bits >= 8):
        frame = frame.reformat(format="gray")
        first = frame.format.components[0]
    plane = frame.planes[0]
    wide = first.bits > 8
    kind = np.uint16 if wide else np.uint8
    rows = np.frombuffer(plane, kind)  # pyright: ignore[reportCallIssue,reportArgumentType]
    rows = rows.reshape(plane.height, plane.line_size // (2 if wide else 1))
    # in P010 and its kin the bits sit at the top
    top = 16 if frame.format.name.startswith("p0") or frame.format.name.startswith("p2") else 0
    return rows[:, : plane.width], (top or first.bits) - 8


def repeats(change: np.ndarray) -> np.ndarray:
    """(N,) bool: pictures of one shot that show what the one before them shows.

    Args:
        change: (N,) as `InterlaceAnalyzer` has it; the first one is not compared with anything.
    """
    if len(change) < 2:
        return np.zeros(len(change), dtype=bool)
    padded = np.pad(change[1:], _NEAR, mode="edge")
    near = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEAR + 1).max(axis=1)
    bound = np.maximum(STILL_LEVELS, np.minimum(REPEAT_LEVELS, REPEAT_SHARE * near))
    return np.concatenate([[False], change[1:] <= bound])


def frozen(same: np.ndarray, durations_s: np.ndarray, least_s: float = 0.5) -> np.ndarray:
    """(N,) bool: the repeats that belong to a standstill of at least `least_s`."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
    result = np.zeros(len(same), dtype=bool)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if durations_s[start:end].sum() >= least_s:
            result[start:end] = True
    return result


def is_combed(luma: np.ndarray, shift: int = 0) -> bool:
    """Whether rows of two moments are woven together somewhere in an (H, W) picture.

    Every other row stands out from both its neighbours, in a whole block. Fine texture does that
    too, but across columns as well, or only here and there.
    """
    part = (_stripes(luma) >> shift).astype(np.int16)
    rows = part.shape[0] // _BLOCK * _BLOCK
    columns = part.shape[1] // _BLOCK * _BLOCK
    # with a single row of blocks there are no neighbours to compare it with
    if rows < 2 * _BLOCK or not columns:
        return False
    part = part[:rows, :columns]
    if not _any_rougher(part):
        return False
    woven = _blocks(_alternates(part))
    suspects = woven >= _COMBED_SHARE
    if not suspects.any():
        return False
    fine = _blocks(_alternates(part.T).T)
    return bool(np.any(suspects & (woven >= 2 * fine)))


def _any_rougher(part: np.ndarray) -> bool:
    """Whether in some block neighbouring rows differ more than rows two apart do.

    Hardly any progressive picture has such a block, and this takes a fifth of the time.
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


def _stripes(luma: np.ndarray) -> np.ndarray:
    """Some columns of the picture, spread over its width: combs are as wide as what moves."""
    width = luma.shape[1]
    if width <= _STRIPES * _STRIPE_PX:
        return luma
    starts = np.linspace(0, width - _STRIPE_PX, _STRIPES).astype(int)
    return np.concatenate([luma[:, start : start + _STRIPE_PX] for start in starts], axis=1)


def _thinned(luma: np.ndarray) -> np.ndarray:
    """Samples on a fixed grid; a picture smaller than the grid is taken whole."""
    height, width = luma.shape
    step_y = max(1, height // (_GRID[0] * _SAMPLES))
    step_x = max(1, width // (_GRID[1] * _SAMPLES))
    thin = luma[::step_y, ::step_x]
    height, width = (max(side // _SAMPLES * _SAMPLES, 1) for side in thin.shape)
    return np.ascontiguousarray(thin[:height, :width])


def _difference(picture: np.ndarray, last: np.ndarray | None) -> float:
    if last is None or last.shape != picture.shape:
        return 255.0
    apart = (np.maximum(picture, last) - np.minimum(picture, last)).astype(np.uint16)
    if min(apart.shape) < _SAMPLES:
        return float(apart.mean())
    # sums over slices take a tenth of the time that reduceat or a reshaped mean takes
    summed = sum((apart[start::_SAMPLES] for start in range(1, _SAMPLES)), apart[::_SAMPLES])
    summed = sum(
        (summed[:, start::_SAMPLES] for start in range(1, _SAMPLES)), summed[:, ::_SAMPLES]
    )
    return float(summed.max()) / _SAMPLES**2
