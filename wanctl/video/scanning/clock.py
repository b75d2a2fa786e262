"""A strictly rising time for every decoded frame, whatever the container says.

Decoders return frames in the order of display, so the order is never in doubt; times may be. Most
files have a PTS for every frame, strictly rising, and those are the times. In the others

- AVI and raw streams have no PTS. With frames that are coded out of order, FFmpeg reports PTS that
  go forth and back; the DTS of the packet that released a frame is the time of display then, which
  is what FFmpeg's `best_effort_timestamp` falls back to as well. Where there is no DTS either,
  frames are as far apart as the declared frame rate says.
- Clocks restart, in recordings that were joined. A new stretch begins there, and its times continue
  those of the stretch before it.
- Single frames carry a time before that of the frame in front of them, or none; or many share a
  moment. They are counted (`unplaced`), given a time between their neighbours, and left out of
  clips.

Such a file cannot be searched by time: its frames are found again by counting from the beginning
(`frames.FrameRange`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from wanctl.video.frames import BY_DTS, BY_PTS, BY_RATE, counted_factor

# A frame is followed by a gap if the next one is later than both: so many seconds, and so many
# times the usual distance. Footage at one frame per second has gaps from ten seconds on.
GAP_S, GAP_FACTOR = 1.0, 10.0
# A clock that returns above its old value within so many frames has stumbled, not restarted.
LOOKAHEAD = 8
# With a larger share of falls, times say nothing, and the frame rate is used.
MAX_FALLS = 0.1
# The pace of a clock that few frames have is steady within so much.
PACE_WITHIN = 0.05
# So many frames in a row, each so many times sooner than usual, were squeezed in by a program that
# found no room for them on its clock.
SQUEEZED, SQUEEZE_FACTOR = 3, 20.0
# Times further from zero overflow when they are subtracted.
_LARGEST = 2**60


@dataclass(frozen=True)
class Timeline:
    """Times of all frames of a file.

    Attributes:
        pts: (N,) int64, strictly rising, in units of `time_base`.
        durations: (N,) int64, how long each frame is displayed; before a gap, the usual duration.
        time_base: seconds per unit.
        clock: "" where `pts` are the container's own; else one of the clocks in `video.frames`.
        breaks: (N,) bool, frames that do not continue the one before: after a gap, at a restart.
        unplaced: (N,) bool, frames whose time is a guess.
        longest_s: longest time between two frames, gaps included.
    """

    pts: np.ndarray
    durations: np.ndarray
    time_base: Fraction
    clock: str
    breaks: np.ndarray
    unplaced: np.ndarray
    longest_s: float


def make_timeline(
    pts: Sequence[int | None],
    dts: Sequence[int | None],
    last_duration: int,
    time_base: Fraction,
    rate: Fraction | None,
    *,
    counted: bool = False,
) -> Timeline:
    """Times of the frames of a file.

    Args:
        pts: of all frames in the order in which they were decoded; None where unknown.
        dts: of the packet that released each frame.
        last_duration: of the last frame as the file stores it; 0 where it does not.
        time_base: unit of the three.
        rate: frames per second by the header or the coded stream, for streams without any times.
        counted: whether the file cannot be searched by time although its times rise.
    """
    if not counted and _rises(pts):
        times = np.array(pts, dtype=np.int64)
        breaks = unplaced = np.zeros(len(times), dtype=bool)
        usual = round(1 / (rate or 25) / time_base)
        return _finish(times, (last_duration, usual), time_base, "", breaks, unplaced)
    factor = counted_factor(time_base)
    fine = time_base / factor
    clock, raw = _best_clock(pts, dts)
    step = round(1 / (rate or 25) / fine)
    if raw is None:
        first = next((value for value in pts if _usable(value)), 0) or 0
        # times that are missing or coarse are a matter of the container; disorder is a fault
        known = [value for value in pts if _usable(value)]
        shared = _shared_step(known, len(pts)) or _pace(pts)
        disorder = shared is None and _falls(known) > _bearable(len(pts))
        unplaced = np.full(len(pts), disorder)
        step = step if shared is None else round(shared * factor)
        times = first * factor + np.arange(len(pts), dtype=np.int64) * max(step, 1)
        breaks = np.zeros(len(pts), dtype=bool)
    else:
        ticks = [None if value is None or not _usable(value) else value * factor for value in raw]
        times, breaks, unplaced = _continue(ticks, _usual_step(ticks, step))
    # what AVI stores with a frame is one tick of its clock, however long the frame is displayed
    final = last_duration * factor if clock == BY_PTS else 0
    return _finish(times, (final, step), fine, clock, breaks, unplaced)


def _rises(values: Sequence[int | None]) -> bool:
    if not all(_usable(value) for value in values):
        return False
    return bool(np.all(np.diff(np.array(values, dtype=np.int64)) > 0))


def _usable(value: int | None) -> bool:
    return value is not None and -_LARGEST < value < _LARGEST


def _best_clock(
    pts: Sequence[int | None], dts: Sequence[int | None]
) -> tuple[str, Sequence[int | None] | None]:
    """The clock with the fewest falls, and its times; the frame rate, and None, if both fall often.

    The last frames of a stream are released by no packet; they do not count against its DTS.
    """
    released = len(dts)
    while released and dts[released - 1] is None:
        released -= 1
    more = len(dts) - released
    dts = [*dts[:released], *(_continued(dts[:released], more) if released else dts[released:])]
    falls_pts, falls_dts = _falls(pts), _falls(dts)
    clock, raw, falls = (BY_PTS, pts, falls_pts)
    if falls_dts < falls_pts:
        clock, raw, falls = (BY_DTS, dts, falls_dts)
    if falls > _bearable(len(pts)) or falls == len(pts):
        return BY_RATE, None
    return clock, raw


def _bearable(frames: int) -> float:
    return max(2, MAX_FALLS * frames)


def _shared_step(known: Sequence[int | None], frames: int) -> float | None:
    """Ticks per frame where a clock is too coarse: a few frames share each tick, at a steady pace.

    None where times are missing, fall, or are uneven.
    """
    if len(known) < frames or frames < 4:
        return None
    times, counts = np.unique(np.array(known, dtype=np.int64), return_counts=True)
    steps = np.diff(times)
    if np.any(np.diff(np.array(known, dtype=np.int64)) < 0) or len(steps) < 2 or counts.max() > 4:
        return None
    if steps.max() > 2 * np.median(steps):
        return None
    return float(times[-1] - times[0]) / (frames - counts[-1])


def _pace(pts: Sequence[int | None]) -> float | None:
    """Ticks per frame where some frames only have a PTS, as first frames of packets often do.

    None where those do not rise at a steady pace.
    """
    places = [index for index, value in enumerate(pts) if _usable(value)]
    if len(places) < 3:
        return None
    times = np.array([pts[index] for index in places], dtype=np.int64)
    paces = np.diff(times) / np.diff(places)
    # a frame more or less on the way may have been lost
    if paces.min() <= 0 or np.mean(np.abs(paces / np.median(paces) - 1) > PACE_WITHIN) > MAX_FALLS:
        return None
    return float(np.median(paces))


def _continued(values: Sequence[int | None], more: int) -> list[int]:
    """`more` times that continue a series at its usual distance."""
    known = [value for value in values if value is not None and _usable(value)]
    if not known:
        return []
    step = int(np.median(np.diff(known))) if len(known) > 1 else 1
    return [known[-1] + max(step, 1) * (index + 1) for index in range(more)]


def _falls(values: Sequence[int | None]) -> int:
    """How many times are missing or not above the one before."""
    falls, last = 0, None
    for value in values:
        if value is None or not _usable(value):
            falls += 1
        else:
            falls += last is not None and value <= last
            last = value
    return falls


def _usual_step(ticks: Sequence[int | None], default: int) -> int:
    known = np.array([tick for tick in ticks if tick is not None], dtype=np.int64)
    steps = np.diff(known)
    steps = steps[steps > 0]
    return max(1, int(np.median(steps))) if len(steps) else max(1, default)


def _continue(ticks: list[int | None], step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Strictly rising times, where stretches begin, and which frames have a guessed time."""
    times = np.zeros(len(ticks), dtype=np.int64)
    breaks, unplaced = (np.zeros(len(ticks), dtype=bool) for _ in range(2))
    shift = 0
    top: int | None = None  # the last time that was used as it is
    index = 0
    while index < len(ticks):
        tick = ticks[index]
        if tick is not None and (top is None or tick > top):
            times[index], top = tick + shift, tick
            index += 1
            continue
        back = _returns(ticks, index, top)
        last = int(times[index - 1]) if index else 0
        if back is not None:
            count = back - index
            known = ticks[back]
            assert known is not None
            # before the first known time there is nothing to stand between
            room = known + shift - last if index else step * (count + 1)
            if room > count:
                begin = last if index else known - room
                steps = np.arange(1, count + 1) * room // (count + 1)
                times[index:back], unplaced[index:back] = begin + steps, True
                index = back
                continue
        times[index] = last + step if index else 0
        if tick is None:
            unplaced[index] = True
            top = None if top is None else int(times[index]) - shift
        else:
            breaks[index] = index > 0
            shift, top = int(times[index]) - tick, tick
        index += 1
    return times, breaks, unplaced


def _returns(ticks: Sequence[int | None], index: int, top: int | None) -> int | None:
    """The next frame, among a few, whose time exceeds `top`; None if the clock stays below it."""
    for ahead in range(index + 1, min(index + 1 + LOOKAHEAD, len(ticks))):
        tick = ticks[ahead]
        if tick is not None and (top is None or tick > top):
            return ahead
    return None


def _finish(
    times: np.ndarray,
    last: tuple[int, int],
    time_base: Fraction,
    clock: str,
    breaks: np.ndarray,
    unplaced: np.ndarray,
) -> Timeline:
    """`last`: duration of the last frame as the file stores it, and as the frame rate has it."""
    last_duration, usual = last
    steps = np.diff(times)
    median = int(np.median(steps)) if len(steps) else max(usual, 1)
    final = last_duration if median <= 2 * last_duration <= 8 * median else max(median, 1)
    gaps = steps > max(GAP_S / float(time_base), GAP_FACTOR * median)
    durations = np.append(np.where(gaps, max(median, 1), steps), final).astype(np.int64)
    # no footage has more than 2,000 frames a second
    least = max(float(median), SQUEEZE_FACTOR / 2000 / float(time_base))
    unplaced = unplaced | _squeezed(steps, least)
    return Timeline(
        times,
        durations,
        time_base,
        clock,
        breaks=breaks | np.concatenate([[False], gaps])[: len(times)],
        unplaced=unplaced,
        longest_s=float(steps.max() * time_base) if len(steps) else 0.0,
    )


def _squeezed(steps: np.ndarray, usual: float) -> np.ndarray:
    """(N,) bool: frames of runs that hardly move in time, after (N - 1,) steps."""
    tiny = np.concatenate([[False], steps * SQUEEZE_FACTOR < usual, [False]])
    edges = np.flatnonzero(np.diff(tiny.astype(np.int8))).reshape(-1, 2)
    result = np.zeros(len(steps) + 1, dtype=bool)
    for first, last in edges.tolist():
        if last - first >= SQUEEZED:
            result[first + 1 : last + 1] = True
    return result
