"""300 files of every kind: what is read equals what was written and what `ffmpeg` shows.

Nothing is left out in silence: a file is read whole, or what is left out is noted, or the file is
refused with a reason. A part of the files is tried in every run, all of them in `make test-slow`.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.unit.video.synthetic.maker import FootageMaker
from tests.unit.video.synthetic.reading import FramesRead, ffmpeg_command, read, shown_by_ffmpeg
from tests.unit.video.synthetic.recipes import (
    FRAMES,
    UNCHECKED,
    Recipe,
    number_of,
    numbered,
    recipes,
)
from wanctl.video.stream import VideoError

ALL = recipes(300)
OFTEN = ALL[::7]


@pytest.fixture(scope="module")
def maker(tmp_path_factory) -> FootageMaker:
    return FootageMaker(tmp_path_factory.mktemp("synthetic"))


@pytest.mark.parametrize("recipe", OFTEN, ids=str)
def test_frames_read_are_the_frames_that_were_written(recipe, maker):
    check(recipe, maker.make(recipe))


@pytest.mark.slow
def test_300_files_are_read_or_refused_and_none_in_silence(maker):
    outcomes, faults = Counter[str](), []
    for number, recipe in enumerate(ALL):
        try:
            outcomes[check(recipe, maker.make(recipe, number))] += 1
        except (AssertionError, VideoError) as error:
            faults.append(f"{number} {recipe}: {str(error).splitlines()[0]}")
    print(dict(outcomes), "compared with ffmpeg:", ffmpeg_command() is not None)
    assert not faults, "\n".join(faults)


def check(recipe: Recipe, path: Path) -> str:
    """Compare what is read with what was written and with what `ffmpeg` shows; name the outcome."""
    try:
        found = read(path)
    except VideoError:
        if recipe.damage == "none":
            raise
        return "refused with a reason"
    command = ffmpeg_command()
    if command:
        shown = shown_by_ffmpeg(command, path)
        assert len(found.whole) == len(shown), f"{len(found.whole)} read, {len(shown)} shown"
        apart = [
            float(np.abs(mine.astype(int) - theirs).mean())
            for mine, theirs in zip(found.frames, shown[found.index], strict=True)
        ]
        assert max(apart) < 2.5, f"frame {int(np.argmax(apart))} differs by {max(apart):.1f} levels"
    if recipe.damage == "none":
        return check_undamaged(recipe, found)
    return check_damaged(recipe, found)


def check_undamaged(recipe: Recipe, found: FramesRead) -> str:
    """Every frame is read, in order; those without a time are noted."""
    everything = [number_of(frame) for frame in found.whole]
    assert everything == list(range(FRAMES)), f"read {everything}"
    unfit = found.scan.unfit
    assert found.numbers == [n for n in range(FRAMES) if not unfit[n]], "other frames in clips"
    assert found.scan.notes or not unfit.any(), "frames are left out without a note"
    # a join looks like lost packets, and zeros behind a raw stream like a part of its last frame
    bearable = recipe.clock in ("same", "back", "joined") or recipe.trailer == "zeros"
    assert unfit.sum() <= 2 * bearable, f"left out: {found.scan.notes}"
    times = found.scan.pts * found.scan.info.time_base[0] / found.scan.info.time_base[1]
    assert np.all(np.diff(times) > 0)
    if recipe.clock in ("plain", "joined", "late", "early", "wrap"):
        assert np.abs(np.diff(times) - 0.04).max() < 0.0021, f"steps: {np.diff(times)}"
        assert not found.scan.info.vfr
    if recipe.clock in ("gap", "hour"):
        ends = [row["first_frame"] + row["num_frames"] for row in found.rows]
        assert ends == [FRAMES // 2, FRAMES], f"clips end at {ends}"
        assert found.scan.info.vfr
    assert all(row["end_s"] - row["start_s"] <= 1.021 for row in found.rows)
    return "frames left out with a note" if unfit.any() else "read whole"


def check_damaged(recipe: Recipe, found: FramesRead) -> str:
    """What is in clips is whole, and in order; what is left out is noted."""
    numbers = found.numbers
    if recipe.damage == "flipped" and recipe.codec in UNCHECKED and not found.scan.unfit.any():
        return "damaged in a way that no decoder notices"
    assert all(a < b for a, b in zip([-1, *numbers], numbers, strict=False)), f"read {numbers}"
    for frame, number in zip(found.frames, numbers, strict=True):
        clean = numbered(number) @ np.array([0.299, 0.587, 0.114])
        assert np.abs(frame - clean).mean() < 8, f"frame {number} is damaged"
    if len(numbers) == FRAMES:
        return "read whole, damage outside frames"
    assert found.scan.notes, f"only {numbers} read, without a note"
    return "damage cut out with a note"
