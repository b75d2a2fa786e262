"""The truth that cases claim, measured on the frames they render."""

import cv2
import numpy as np
import pytest

from wanctl.bench.cases import CaseResult, ClipResult
from wanctl.bench.drawing import text_line, text_lookalike, typefaces
from wanctl.bench.families import blur, border, duplicates, exposure, motion, ocr, shots, watermark
from wanctl.bench.footage import packaged_footage
from wanctl.bench.table import FAMILIES
from wanctl.video.frames import Box


@pytest.fixture(scope="module")
def footage():
    return packaged_footage()


@pytest.fixture(scope="module")
def made(footage):
    """Family name -> its few cases."""
    return {name: family.make_cases(footage, True) for name, family in FAMILIES.items()}


def test_names_are_unique_and_all_cases_are_planned_before_any_is_rendered(footage):
    for family in FAMILIES.values():
        for quick in (True, False):
            names = [case.name for case in family.make_cases(footage, quick)]
            assert len(names) == len(set(names)), family.name
            assert len(names) < 130


def test_shots_of_the_packaged_clips_hold_no_cut(footage):
    """No step between neighbours is much larger than the usual one of its shot."""
    assert len(footage.shots) == 31
    for shot in footage.shots:
        small = np.stack([cv2.resize(f, (32, 18)) for f in shot.frames(90)]).astype(float)
        steps = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
        assert steps.max() < max(12.0, 4 * np.median(steps)), shot.name


def test_bars_are_where_the_truth_says(made):
    for case in made["border"]:
        if case.variant in border.SHADES:
            frames = case.render()
            x, y, width, height = case.truth["box"]
            flat = frames.reshape(len(frames), *frames.shape[1:3], 3).std(axis=(0, 3))
            outside = np.ones(flat.shape, bool)
            outside[y : y + height, x : x + width] = False
            assert frames[:, outside].std() == 0
            inside = frames[:, y : y + height, x : x + width].astype(float)
            assert inside.std(axis=0).mean() > 0


def test_words_change_pixels_inside_their_boxes_only(made, footage):
    for case in made["ocr"]:
        if not case.truth:
            continue
        number = [c.name for c in made["ocr"]].index(case.name)
        clean = ocr._looped(footage.largest(number + 1)[-1])
        changed = (case.render()[:4] != clean[:4]).any(axis=(0, 3))
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        around = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1) / changed.size
        share = case.truth["share"]
        assert changed.mean() <= share * 1.15  # a shadow of one pixel extends beyond the box
        assert share <= around * 1.001


@pytest.mark.parametrize("face", typefaces())
def test_a_line_is_cropped_to_its_ink(face):
    mask = text_line("你好 Wan" if face == "chinese" else "Wan", 24, face).mask
    assert mask.shape[0] == 24
    assert mask[0].any()
    assert mask[-1].any()
    assert mask[:, 0].any()
    assert mask[:, -1].any()
    assert 0.1 < mask.mean() < 0.7


def test_a_logo_is_in_its_box(made, footage):
    for index, case in enumerate(made["watermark"]):
        if "box" in case.truth:
            pieces = watermark._shots(footage, index, 4)
            changed = (case.render() != watermark._joined(pieces)).any(axis=(0, 3))
            x, y, width, height = case.truth["box"]
            assert not np.delete(changed, np.s_[y : y + height], axis=0).any()
            assert changed[y : y + height, x : x + width].any()
            rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            assert abs(rows[0] - y) <= 3
            assert abs(columns[-1] + 1 - x - width) <= 3


@pytest.mark.parametrize("share", [0.1, 0.35, 0.7])
def test_the_gain_clips_the_requested_share(footage, share):
    frames = exposure._over(footage.largest(1)[0], share)
    clipped = (frames == 255).sum(axis=3) >= 2
    assert clipped.mean() == pytest.approx(share, abs=0.03)


def test_stops_are_taken_away_in_linear_light(footage):
    shot = footage.largest(1)[0]
    before = exposure._linear(shot.frames(360, 4))
    after = exposure._linear(exposure._gained(shot, 0.25)[:4])
    bright = before > 0.3
    assert np.median(after[bright] / before[bright]) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("shape", blur.SHAPES)
def test_a_blur_has_the_stated_spread(shape):
    weights = blur.kernel(shape, 3.0)
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]] - (weights.shape[0] - 1) / 2
    spread = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=weights.ravel(), bias=True)
    widest = np.sqrt(np.linalg.eigvalsh(spread)[-1])
    assert weights.sum() == pytest.approx(1)
    assert widest == pytest.approx(3.0, rel=0.04)


def test_boundaries_are_where_the_truth_says(made):
    for case in made["shots"]:
        frames = np.stack([cv2.resize(f, (32, 18)) for f in case.render()]).astype(float)
        steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
        truth = case.truth["boundaries"]
        if case.variant == "hard cut":
            assert len(frames) == shots.PIECE * (len(truth) + 1)
            for first, last in truth:
                assert first == last
                assert steps[first] > 1.5 * np.median(steps)
        elif case.variant == "dissolve":
            assert [last - first + 1 for first, last in truth] == list(shots.LENGTHS[1::2])
        else:
            assert truth == []


def test_jitter_has_the_stated_frequency():
    spectrum = np.abs(np.fft.rfft(motion.jitter(3, 6.0))) ** 2
    hertz = np.fft.rfftfreq(motion.FRAMES, 1 / motion.FPS)
    near = spectrum[(hertz > 4) & (hertz < 8)].sum() / spectrum.sum()
    assert near > 0.7
    assert np.abs(motion.jitter(3, 6.0)).max() == 1


def test_copies_are_changed_and_their_pairs_are_known(made):
    cases = {case.name: case for case in made["duplicates"]}
    assert sum(bool(case.truth.get("copy")) for case in cases.values()) == 4
    for case in cases.values():
        if case.truth.get("copy"):
            original = cases[f"{case.truth['pair']}_original"]
            assert original.fps == pytest.approx(case.fps / duplicates.CHANGES[case.variant][3])


@pytest.mark.parametrize("kind", ["bricks", "foliage"])
def test_look_alikes_are_textured_and_the_same_every_time(kind):
    one, other = text_lookalike(kind, 90, 160, seed=2), text_lookalike(kind, 90, 160, seed=2)
    assert np.array_equal(one, other)
    assert one.std() > 15


def clip_result(**changes):
    base = {
        "kept": True,
        "reasons": (),
        "score": 0.0,
        "crop": Box(0, 0, 640, 360),
        "frame_size": (640, 360),
        "label": None,
        "evidence": {},
    }
    return ClipResult(**{**base, **changes})


def test_perfect_results_reach_every_target_and_wrong_ones_none(made):
    """Perfect results score one, wrong ones do not."""
    right, wrong = [], []
    for case in made["border"]:
        x, y, width, height = case.truth.get("box", (0, 0, 640, 360))
        crop = Box(x, y, width, height)
        frame_size = (width + 2 * x, height + 2 * y)
        right.append(CaseResult(case, (clip_result(crop=crop, frame_size=frame_size),)))
        wrong.append(
            CaseResult(case, (clip_result(frame_size=frame_size, crop=Box(0, 0, *frame_size)),))
        )
    assert all(metric.is_met in (True, None) for metric in border.evaluate(right).metrics)
    assert border.evaluate(wrong).metrics[0].is_met is False
    correct = [CaseResult(c, (clip_result(label=c.truth["tier"]),)) for c in made["motion"]]
    assert motion.evaluate(correct).metrics[0].value == 1
    same = [CaseResult(c, (clip_result(label="static"),)) for c in made["motion"]]
    assert motion.evaluate(same).metrics[0].value < 0.2
