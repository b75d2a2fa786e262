"""Overlaid marks are found by their still edges; objects of the scene are not."""

import cv2
import numpy as np
import pyarrow as pa
import pytest

from wanctl.curate.api import Box, ClipBatch
from wanctl.data.schemas import evidence_columns
from wanctl_filters.shared.cut_away import cut_away
from wanctl_filters.shared.overlay import TRACK_COLUMNS
from wanctl_filters.watermark.edge_maps import RIM, active_area, edge_maps, red_and_blue
from wanctl_filters.watermark.filter import Watermark
from wanctl_filters.watermark.mark_evidence import MarkEvidence
from wanctl_filters.watermark.marks import MarkRules
from wanctl_filters.watermark.scenes import coarse_levels, moving_share, scenes_of, thumbnail
from wanctl_filters.watermark.shapes import pack_cells, unpack_cells

WIDTH, HEIGHT = 640, 360
WHOLE = Box(0, 0, WIDTH, HEIGHT)
MARK = Box(560, 20, 60, 34)  # x, y, width, height


def _shot(seed, count=16):
    """Soft shapes that move, from a fixed seed."""
    rng = np.random.default_rng(seed)
    wide = cv2.resize(
        rng.integers(20, 235, (HEIGHT // 12, WIDTH // 6, 3), dtype=np.uint8),
        (2 * WIDTH, HEIGHT),
        interpolation=cv2.INTER_CUBIC,
    )
    step = WIDTH / count
    return np.stack([wide[:, int(i * step) : int(i * step) + WIDTH] for i in range(count)])


def _marked(frames, alpha=1.0, box=MARK, colour=(255, 255, 255)):
    """A ring with letters, blended in."""
    stencil = np.zeros((box.height, box.width), np.uint8)
    cv2.rectangle(stencil, (1, 1), (box.width - 2, box.height - 2), 255, 3)
    cv2.putText(stencil, "TV7", (7, box.height - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
    mask = alpha * stencil[..., None] / 255.0
    out = frames.copy()
    part = out[:, box.y : box.y + box.height, box.x : box.x + box.width]
    part[:] = np.rint(part * (1 - mask) + np.array(colour) * mask).astype(np.uint8)
    return out


@pytest.fixture
def inspect(footage):
    """inspect(shots, filter=default, view=WHOLE) -> boxes and verdict of a source's first shot."""

    def run(shots, filter_=None, view=WHOLE):
        filter_ = filter_ or Watermark()
        rows = [filter_.measure(*footage(filter_, frames)) for frames in shots]
        return _decide(filter_, rows, view)

    return run


def _decide(filter_, rows, view, words=None):
    count = len(rows)
    clips = {
        "source": ["a.mp4"] * count,
        "width": [WIDTH] * count,
        "height": [HEIGHT] * count,
        "start_s": [0.0] * count,
        "end_s": [4.0] * count,
    }
    schema = evidence_columns(TRACK_COLUMNS)
    batch = ClipBatch(
        clips=pa.table(clips),
        evidence=pa.Table.from_pylist(rows, schema=evidence_columns(Watermark.evidence)),
        views=np.array([view] * count, np.int32),
        others={"ocr": pa.Table.from_pylist([words] * count, schema=schema)} if words else {},
    )
    return [mark.box for mark in filter_.marks(batch)[0]], filter_.decide_many(batch)[0]


def _iou(one, other):
    wide = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    high = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    shared = max(0, wide) * max(0, high)
    return shared / (one.width * one.height + other.width * other.height - shared)


@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("shots", [1, 4])
@pytest.mark.parametrize("colour", [(255, 255, 255), (220, 40, 40)])
@pytest.mark.parametrize("corner", [(560, 20), (20, 20), (20, 306), (560, 306)])
def test_finds_marks_in_corners(inspect, alpha, shots, colour, corner):
    box = Box(*corner, MARK.width, MARK.height)
    footage = [_marked(_shot(seed), alpha, box, colour) for seed in range(shots)]
    boxes, verdict = inspect(footage)
    assert len(boxes) == 1
    assert _iou(boxes[0], box) >= 0.5
    assert verdict.keep
    assert verdict.crop is not None
    assert _iou(verdict.crop, box) == 0
    assert verdict.crop.width * verdict.crop.height >= 0.8 * WIDTH * HEIGHT


def test_clean_footage_has_none(inspect):
    for shots in (1, 4):
        boxes, verdict = inspect([_shot(10 + seed) for seed in range(shots)])
        assert boxes == []
        assert verdict.keep
        assert verdict.crop is None


def test_a_still_clip_gives_no_evidence_but_gets_the_marks_of_its_source(inspect):
    still = _marked(np.repeat(_shot(3)[:1], 16, axis=0))
    assert inspect([still])[0] == []
    boxes, verdict = inspect([still, _marked(_shot(4)), _marked(_shot(5))])
    assert len(boxes) == 1
    assert verdict.crop is not None


def test_still_shots_of_different_scenes_show_what_they_have_in_common(inspect):
    still = [_marked(np.repeat(_shot(seed)[:1], 16, axis=0)) for seed in (3, 4, 5)]
    boxes, _ = inspect(still)
    assert len(boxes) == 1
    assert _iou(boxes[0], MARK) >= 0.5


def test_clips_of_one_camera_position_count_once():
    room = np.repeat(_shot(6)[:1], 48, axis=0)
    walker = _shot(7, count=48)
    for index, frame in enumerate(room):  # somebody passes before a quarter of the picture
        left = 40 + 8 * index
        frame[:, left : left + 160] = walker[index, :, left : left + 160]
    takes = [room[start : start + 16] for start in (0, 16, 32)]
    thumbs = [thumbnail(frames[..., 0]).view(np.uint8) for frames in (*takes, _shot(8))]
    moving = [moving_share(frames[..., 0]) for frames in (*takes, _shot(8))]
    assert 0.2 <= moving[0] <= 0.7 < moving[3]
    assert len(scenes_of(np.stack(thumbs[:3]), moving[:3], 5.0)) == 1
    assert scenes_of(np.stack(thumbs), moving, 5.0)[0] == 3
    assert len(scenes_of(np.stack(thumbs), moving, 5.0)) == 2


def test_maps_are_those_of_the_definition():
    frames = _marked(_shot(9, count=5))[:, ::2, ::2]
    maps = edge_maps(red_and_blue(frames))
    steps = np.zeros((4, *frames.shape[:3]))
    for number, channel in ((0, 0), (2, 2)):
        plane = frames[..., channel].astype(np.float64)
        steps[number, :, :, 1:-1] = plane[:, :, 2:] - plane[:, :, :-2]
        steps[number + 1, :, 1:-1] = plane[:, 2:] - plane[:, :-2]
    steps = steps.clip(-48, 48)[:, :, RIM:-RIM, RIM:-RIM]
    inner = (..., slice(RIM, -RIM), slice(RIM, -RIM))
    assert np.allclose(maps.gradient[inner], steps.mean(axis=1), atol=1e-4)
    assert np.allclose(maps.energy[inner], (steps**2).sum(axis=0).mean(axis=0), rtol=1e-5)
    assert np.count_nonzero(maps.energy) == np.count_nonzero(maps.energy[inner])
    gradient = maps.gradient.astype(np.float64)
    second = np.zeros(maps.energy.shape)
    second[:, 1:-1] = ((gradient[::2, :, 2:] - gradient[::2, :, :-2]) ** 2).sum(axis=0)
    second[1:-1] += ((gradient[1::2, 2:] - gradient[1::2, :-2]) ** 2).sum(axis=0)
    cells = maps.strong(0.5)
    assert len(cells) > 50
    assert np.allclose(maps.curvature(cells), second.ravel()[cells], rtol=1e-4)


@pytest.mark.parametrize("cut", [(0, 0, 0, 0), (30, 12, 0, 5), (0, 45, 45, 45), (1, 2, 3, 4)])
def test_the_margins_are_those_of_all_lines_at_once(cut):
    frames = _shot(11, count=6)[:, ::2, ::2].copy()
    left, top, right, bottom = cut
    height, width = frames.shape[1:3]
    bars = np.ones((height, width), bool)
    bars[top : height - bottom, left : width - right] = False
    frames[:, bars] = (16, 40, 90)
    planes = red_and_blue(frames)
    rows, columns = active_area(planes)
    mean = planes.mean(axis=1)
    bounds = []
    for axis in (1, 0):
        middle = np.sort(np.rint(mean), axis=1 + axis).take([mean.shape[1 + axis] // 2], 1 + axis)
        differs = (np.abs(mean - middle) > 12).any(axis=0) | (np.ptp(planes, axis=1) > 24).any(0)
        used = np.flatnonzero(differs.mean(axis=axis) > 0.01)
        bounds.append(slice(used[0] + RIM, used[-1] + 1 - RIM))
    assert (rows, columns) == tuple(bounds)
    assert rows.start == top + RIM
    assert columns.stop == width - right - RIM


def test_coarse_levels_are_plain_means():
    frames = _shot(12, count=3)[:, :180, :317, 0]
    squares = frames[:, :176, :312].reshape(3, 22, 8, 39, 8).mean(axis=(2, 4))
    assert np.abs(coarse_levels(frames) - squares).max() <= 0.51


def test_cells_survive_packing():
    cells = np.sort(np.random.default_rng(3).choice(317 * 180, 900, replace=False))
    blocks, bits = pack_cells(cells, 317)
    assert (np.diff(blocks) > 0).all()
    assert np.array_equal(np.sort(unpack_cells(blocks, bits, 317)), cells)


def test_only_sources_that_may_have_marks_are_looked_at_and_none_is_missed(footage):
    filter_ = Watermark()
    still = [np.repeat(_shot(40 + seed)[:1], 16, axis=0) for seed in range(6)]
    shots = [*map(_marked, still[:3]), *still[3:], _marked(_shot(4)), _shot(5), _marked(_shot(6))]
    rows = [filter_.measure(*footage(filter_, frames)) for frames in shots]
    sources = [0, 0, 0, 1, 1, 1, 2, 3, 3]
    batch = ClipBatch(
        clips=pa.table({"width": [WIDTH] * 9, "height": [HEIGHT] * 9}),
        evidence=pa.Table.from_pylist(rows, schema=evidence_columns(Watermark.evidence)),
        views=np.array([WHOLE] * 9, np.int32),
    )
    evidence, groups = MarkEvidence.of(batch), np.array(sources)
    rules = MarkRules(filter_.min_steady, filter_.max_still, filter_.corner_share)
    plain = {
        source: evidence.marks_of_source(np.flatnonzero(groups == source), rules, 5.0)
        for source in range(4)
    }
    assert [bool(plain[source]) for source in range(3)] == [True, False, True]
    found = evidence.source_marks(groups, rules, 5.0)
    assert found == {source: marks for source, marks in plain.items() if marks}


def test_an_object_in_one_shot_only_is_no_mark(inspect):
    shots = [_shot(20 + seed) for seed in range(4)]
    shots[1] = _marked(shots[1])
    assert inspect(shots)[0] == []


def test_an_object_at_the_edge_or_in_the_middle_is_no_mark(inspect):
    lamp = _shot(30)
    cv2.rectangle(lamp[0], (WIDTH - 70, 20), (WIDTH, 80), (240, 230, 200), -1)
    lamp[:, 20:80, WIDTH - 70 :] = lamp[:1, 20:80, WIDTH - 70 :]
    assert inspect([lamp])[0] == []
    badge = Box(290, 165, 60, 34)
    assert inspect([_marked(_shot(30), box=badge)])[0] == []
    boxes = inspect([_marked(_shot(30), box=badge)], Watermark(corner_share=0.5))[0]
    assert len(boxes) == 1


def test_a_soft_object_and_a_subtitle_are_no_marks(inspect):
    shot = _shot(31)
    soft = shot.copy()
    patch = np.random.default_rng(1).uniform(40, 220, (4, 5)).astype(np.float32)
    soft[:, 20:84, 540:620] = cv2.resize(patch, (80, 64))[..., None]
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in soft])
    assert inspect([soft])[0] == []
    for frame in shot:
        cv2.putText(frame, "he said that she had seen it", (60, 340), 0, 1.1, (255,) * 3, 3)
    assert inspect([shot])[0] == []


def test_an_inset_picture_is_a_mark(inspect):
    shot = _shot(32)
    inset = cv2.resize(_shot(33)[0][:, :WIDTH], (190, 108), interpolation=cv2.INTER_AREA)
    cv2.rectangle(inset, (0, 0), (189, 107), (250, 250, 250), 4)
    shot[:, HEIGHT - 108 :, :190] = inset
    boxes, verdict = inspect([shot])
    assert len(boxes) == 1
    assert not verdict.keep


def _text(box, words, last_s=4.0, fade=0.0):
    """Evidence of `ocr`: one line that stands on still ground."""
    left, top, right, bottom = box.x, box.y, box.x + box.width, box.y + box.height
    return {
        "samples": 8,
        "track_corners": [left, top, right, top, right, bottom, left, bottom],
        "track_plates": [0.0] * 4,
        "track_first_s": [0.0],
        "track_last_s": [last_s],
        "track_matches": [8],
        "track_around": [0.0],
        "track_moving": [0.0],
        "track_shift": [0.1],
        "track_noise": [1.0],
        "track_fade": [fade],
        "track_gaps": [2.0],
        "track_hidden": [0],
        "track_onset": [255.0],
        "track_steep": [0.4],
        "track_even": [2.0],
        "track_contrast": [120.0],
        "track_angle": [0.0],
        "track_relay": [0],
        "track_tried": [1],
        "track_texts": [words],
    }


def test_words_show_marks_before_a_still_camera(footage):
    filter_ = Watermark()
    still = np.repeat(_shot(3)[:1], 16, axis=0)
    rows = [filter_.measure(*footage(filter_, still))]
    corner, across = Box(460, 300, 160, 40), Box(120, 150, 400, 60)
    assert _decide(filter_, rows, WHOLE)[0] == []
    for words in (_text(corner, "EXIT"), _text(corner, "films.com", last_s=1.0)):
        assert _decide(filter_, rows, WHOLE, words)[0] == []
    boxes, verdict = _decide(filter_, rows, WHOLE, _text(corner, "films.com"))
    assert _iou(boxes[0], corner) >= 0.8
    assert verdict.score == 1
    assert verdict.crop is not None
    _, verdict = _decide(filter_, rows, WHOLE, _text(across, "shutterstock"))
    assert not verdict.keep
    assert verdict.score is None


def test_what_cannot_be_cropped_is_dropped_or_kept(inspect):
    large = Box(150, 90, 200, 90)
    shots = [_marked(_shot(seed), box=large) for seed in range(3)]
    settings = {"corner_share": 0.5}
    _, verdict = inspect(shots, Watermark(**settings))
    assert not verdict.keep
    assert "at least 80% wanted" in verdict.reason
    _, verdict = inspect(shots, Watermark(**settings, otherwise="keep"))
    assert verdict.keep
    assert verdict.crop is None


def test_marks_outside_the_view_cost_nothing(inspect):
    shots = [_marked(_shot(seed)) for seed in range(3)]
    _, verdict = inspect(shots, view=Box(0, 60, WIDTH, 240))
    assert verdict.keep
    assert verdict.crop is None


def test_cuts_leave_the_largest_rectangle():
    assert cut_away([], WHOLE) == WHOLE
    assert cut_away([MARK], WHOLE) == Box(0, 0, 560, 360)
    assert cut_away([Box(300, 300, 40, 40)], WHOLE) == Box(0, 0, 640, 300)
    two = [Box(560, 10, 60, 30), Box(10, 320, 60, 30)]
    assert cut_away(two, WHOLE) == Box(70, 40, 570, 320)
    assert cut_away([MARK], Box(0, 100, 640, 200)) == Box(0, 100, 640, 200)


# x, y, width, height, read off single frames; of clips with one shot, or several with one mark
REAL_MARKS = {
    "aerial_logo": Box(572, 292, 62, 62),
    "cartoon_logo_titles": Box(60, 24, 80, 24),
    "dissolve_wine": Box(506, 311, 130, 45),
    "dolphins": Box(10, 10, 50, 16),
    "hands_logo": Box(578, 242, 56, 62),
}


def test_real_clips(real):
    """One clip per source, which is the hardest: logos by their labels, nothing elsewhere."""
    name, clip, batches = real
    if name in ("lava_cut", "letterbox_multishot"):
        return  # several shots in one clip: its pixels stand still for none of them
    filter_ = Watermark()
    evidence = filter_.measure(clip, batches["watermark"])
    batch = ClipBatch(
        clips=pa.table({"source": [name], "width": [clip.width], "height": [clip.height]}),
        evidence=pa.Table.from_pylist([evidence], schema=evidence_columns(Watermark.evidence)),
        views=np.array([(0, 0, clip.width, clip.height)], np.int32),
    )
    boxes = [mark.box for mark in filter_.marks(batch)[0]]
    if name in REAL_MARKS:
        assert max(_iou(box, REAL_MARKS[name]) for box in boxes) >= 0.5
    else:
        assert boxes == []
