"""The truth that cases claim, measured on the pictures they render."""

import cv2
import numpy as np
import pytest

from wanctl.bench.cases import Found, Outcome
from wanctl.bench.drawing import faces, line_of, lookalike
from wanctl.bench.families import border, copies, cuts, focus, light, logo, text, tiers
from wanctl.bench.material import packaged
from wanctl.bench.table import BENCHES
from wanctl.video.frames import Box


@pytest.fixture(scope="module")
def material():
    return packaged()


@pytest.fixture(scope="module")
def made(material):
    """Family name -> its few cases."""
    return {name: family.make(material, True) for name, family in BENCHES.items()}


def test_names_are_unique_and_all_of_a_run_is_planned_before_anything_is_drawn(material):
    for family in BENCHES.values():
        for quick in (True, False):
            names = [case.name for case in family.make(material, quick)]
            assert len(names) == len(set(names)), family.name
            assert len(names) < 130


def test_shots_of_the_packaged_clips_hold_no_cut(material):
    """No step between neighbours is much larger than the usual one of its shot."""
    assert len(material.shots) == 31
    for shot in material.shots:
        small = np.stack([cv2.resize(f, (32, 18)) for f in shot.frames(90)]).astype(float)
        steps = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
        assert steps.max() < max(12.0, 4 * np.median(steps)), shot.name


def test_bars_lie_where_the_truth_says(made):
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


def test_words_change_pixels_inside_their_boxes_only(made, material):
    for case in made["ocr"]:
        if not case.truth:
            continue
        number = [c.name for c in made["ocr"]].index(case.name)
        clean = text._looped(material.large(number + 1)[-1])
        changed = (case.render()[:4] != clean[:4]).any(axis=(0, 3))
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        around = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1) / changed.size
        share = case.truth["share"]
        assert changed.mean() <= share * 1.15  # a shadow of one pixel lies beyond the box
        assert share <= around * 1.001


@pytest.mark.parametrize("face", faces())
def test_a_line_is_cut_to_its_ink(face):
    mask = line_of("你好 Wan" if face == "chinese" else "Wan", 24, face).mask
    assert mask.shape[0] == 24
    assert mask[0].any()
    assert mask[-1].any()
    assert mask[:, 0].any()
    assert mask[:, -1].any()
    assert 0.1 < mask.mean() < 0.7


def test_a_mark_lies_in_its_box(made, material):
    for index, case in enumerate(made["watermark"]):
        if "box" in case.truth:
            shots = logo._shots(material, index, 4)
            changed = (case.render() != logo._joined(shots)).any(axis=(0, 3))
            x, y, width, height = case.truth["box"]
            assert not np.delete(changed, np.s_[y : y + height], axis=0).any()
            assert changed[y : y + height, x : x + width].any()
            rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            assert abs(rows[0] - y) <= 3
            assert abs(columns[-1] + 1 - x - width) <= 3


@pytest.mark.parametrize("share", [0.1, 0.35, 0.7])
def test_the_gain_clips_the_share_that_is_asked_for(material, share):
    frames = light._over(material.large(1)[0], share)
    clipped = (frames == 255).sum(axis=3) >= 2
    assert clipped.mean() == pytest.approx(share, abs=0.03)


def test_stops_are_taken_away_in_linear_light(material):
    shot = material.large(1)[0]
    before = light._linear(shot.frames(360, 4))
    after = light._linear(light._gained(shot, 0.25)[:4])
    bright = before > 0.3
    assert np.median(after[bright] / before[bright]) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("shape", focus.SHAPES)
def test_a_blur_spreads_as_far_as_it_says(shape):
    weights = focus.kernel(shape, 3.0)
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]] - (weights.shape[0] - 1) / 2
    spread = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=weights.ravel(), bias=True)
    widest = np.sqrt(np.linalg.eigvalsh(spread)[-1])
    assert weights.sum() == pytest.approx(1)
    assert widest == pytest.approx(3.0, rel=0.04)


def test_boundaries_lie_where_the_truth_says(made):
    for case in made["shots"]:
        frames = np.stack([cv2.resize(f, (32, 18)) for f in case.render()]).astype(float)
        steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
        truth = case.truth["boundaries"]
        if case.variant == "hard cut":
            assert len(frames) == cuts.PIECE * (len(truth) + 1)
            for first, last in truth:
                assert first == last
                assert steps[first] > 1.5 * np.median(steps)
        elif case.variant == "dissolve":
            assert [last - first + 1 for first, last in truth] == list(cuts.LENGTHS[1::2])
        else:
            assert truth == []


def test_a_hand_shakes_as_quickly_as_it_says():
    spectrum = np.abs(np.fft.rfft(tiers.jitter(3, 6.0))) ** 2
    hertz = np.fft.rfftfreq(tiers.FRAMES, 1 / tiers.FPS)
    near = spectrum[(hertz > 4) & (hertz < 8)].sum() / spectrum.sum()
    assert near > 0.7
    assert np.abs(tiers.jitter(3, 6.0)).max() == 1


def test_copies_are_changed_and_their_pairs_are_known(made):
    cases = {case.name: case for case in made["duplicates"]}
    assert sum(bool(case.truth.get("copy")) for case in cases.values()) == 4
    for case in cases.values():
        if case.truth.get("copy"):
            original = cases[f"{case.truth['pair']}_original"]
            assert original.fps == pytest.approx(case.fps / copies.CHANGES[case.variant][3])


@pytest.mark.parametrize("kind", ["bricks", "foliage"])
def test_look_alikes_are_textured_and_the_same_every_time(kind):
    one, other = lookalike(kind, 90, 160, seed=2), lookalike(kind, 90, 160, seed=2)
    assert np.array_equal(one, other)
    assert one.std() > 15


def found(**changes):
    base = {
        "kept": True,
        "reasons": (),
        "score": 0.0,
        "crop": Box(0, 0, 640, 360),
        "whole": (640, 360),
        "label": None,
        "evidence": {},
    }
    return Found(**{**base, **changes})


def test_perfect_answers_reach_every_bar_and_wrong_ones_none(made):
    """Graders grade: what is right scores one, what is wrong does not."""
    right, wrong = [], []
    for case in made["border"]:
        x, y, width, height = case.truth.get("box", (0, 0, 640, 360))
        crop = Box(x, y, width, height)
        whole = (width + 2 * x, height + 2 * y)
        right.append(Outcome(case, (found(crop=crop, whole=whole),)))
        wrong.append(Outcome(case, (found(whole=whole, crop=Box(0, 0, *whole)),)))
    assert all(figure.met in (True, None) for figure in border.grade(right).figures)
    assert border.grade(wrong).figures[0].met is False
    said = [Outcome(c, (found(label=c.truth["tier"]),)) for c in made["motion"]]
    assert tiers.grade(said).figures[0].value == 1
    same = [Outcome(c, (found(label="static"),)) for c in made["motion"]]
    assert tiers.grade(same).figures[0].value < 0.2
