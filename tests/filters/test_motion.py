"""Six tiers on synthetic scenes of known motion, at several sizes and frame rates."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from wanctl.curate.api import ClipBatch, FrameBatch
from wanctl.curate.columns import CLIP_COLUMNS
from wanctl.data.schemas import evidence_columns
from wanctl.video.frame_sampling import FrameSampler
from wanctl_filters.motion.camera_path import Points
from wanctl_filters.motion.filter import Motion
from wanctl_filters.motion.frame_bursts import distinct, split_bursts
from wanctl_filters.motion.relative_motion import explain, off_epipolar
from wanctl_filters.motion.shake import shake_of

TIERS = ("optimal", "medium", "static", "camera", "low_quality", "shaky")
SIZES = ((320, 180), (160, 90), (400, 224), (202, 360), (240, 240))
RATES = (24, 30, 60, 25, 50)
SEEDS = (1, 2)
SECONDS = 2.4

Place = Callable[[float], tuple[float, float]]


@dataclass(frozen=True)
class Scene:
    """A still under a moving camera, and textured ellipses that move before it.

    Lengths are shares of the width and times are seconds: the same at any size and rate.
    """

    background: np.ndarray
    camera: Callable[[float], tuple[float, float, float]]  # x, y, log zoom
    things: tuple[tuple[float, Place, np.ndarray], ...] = ()
    noise: float = 0.0

    def frame(self, time_s: float, width: int, height: int) -> np.ndarray:
        """(height, width) uint8."""
        x, y, zoom = self.camera(time_s)
        tall, wide = self.background.shape
        scale = max(width / wide, height / tall) * 1.6 * np.exp(zoom)
        shift = (
            width / 2 - x * width - scale * wide / 2,
            height / 2 - y * width - scale * tall / 2,
        )
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        canvas = cv2.warpAffine(
            self.background, matrix, (width, height), flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        ).astype(np.float32)  # fmt: skip
        for size, place, skin in self.things:
            _lay(canvas, skin, size * width, place(time_s))
        noise = np.random.default_rng(round(time_s * 1e4)).normal(0, 1, canvas.shape)
        return np.clip(canvas + self.noise * noise, 0, 255).astype(np.uint8)

    def film(self, filter_: Motion, fps: float, width: int, height: int) -> FrameBatch:
        """The frames that the filter requests; no others are drawn."""
        spec, count = filter_.frames(), round(SECONDS * fps)
        sampler = FrameSampler(spec, count / fps)
        index = [i for i in range(count) if sampler.samples(i / fps, (i + 1) / fps)]
        scale = min(1.0, spec.long_side_px / max(width, height))
        size = (round(width * scale), round(height * scale))
        full = [self.frame(i / fps, width, height) for i in index]
        small = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in full]
        return FrameBatch(np.stack(small), np.array(index) / fps, size[0] / width)


def _lay(canvas: np.ndarray, skin: np.ndarray, side: float, place: tuple[float, float]) -> None:
    """A skin on the canvas, to a fraction of a pixel; only its surroundings are touched."""
    height, width = canvas.shape
    x0, y0 = place[0] * width - side / 2, place[1] * height - side / 2
    left, top = max(0, int(x0) - 1), max(0, int(y0) - 1)
    right, bottom = min(width, int(x0 + side) + 2), min(height, int(y0 + side) + 2)
    if left >= right or top >= bottom:
        return
    scale = side / skin.shape[1]
    matrix = np.array([[scale, 0, x0 - left], [0, scale, y0 - top]])
    size = (right - left, bottom - top)
    paint = cv2.warpAffine(skin[0], matrix, size).astype(np.float32)
    mask = cv2.warpAffine(skin[1], matrix, size).astype(np.float32) / 255
    part = canvas[top:bottom, left:right]
    part[:] = part * (1 - mask) + paint * mask


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width) uint8: clouds of every size and boxes with sharp edges."""
    frame = np.full((height, width), 120, np.float32)
    for octave in range(2, 8):
        grains = rng.normal(0, 80 / 1.6**octave, (2**octave * height // width + 1, 2**octave))
        frame += cv2.resize(grains.astype(np.float32), (width, height))
    for _ in range(60):
        x, y = rng.integers(0, (width, height))
        wide, tall = rng.integers(width // 60, width // 8, 2)
        far = (int(x + wide), int(y + tall))
        cv2.rectangle(frame, (int(x), int(y)), far, float(rng.uniform(20, 235)), -1)
    return np.clip(frame, 0, 255).astype(np.uint8)


def _skin(rng: np.random.Generator, side: int = 96) -> np.ndarray:
    """(2, side, side) uint8: a pattern and the ellipse that it fills."""
    mask = np.zeros((side, side), np.uint8)
    cv2.ellipse(mask, (side // 2, side // 2), (side // 2 - 3, side // 2 - 12), 0, 0, 360, 255, -1)
    shade = rng.choice([-70, 70])
    return np.stack([np.clip(_texture(rng, side, side) + shade, 0, 255).astype(np.uint8), mask])


def still(_: float) -> tuple[float, float, float]:
    return 0.0, 0.0, 0.0


def glide(rng: np.random.Generator, least: float, most: float) -> Callable:
    """A pan, a zoom, or both."""
    kind, angle, speed = rng.integers(3), rng.uniform(0, 2 * np.pi), rng.uniform(least, most)
    grow = 0.0 if kind == 0 else float(rng.choice([-0.12, 0.12]))
    pan = 0.0 if kind == 1 else speed
    return lambda t: (
        pan * np.cos(angle) * (t - 1),
        0.5 * pan * np.sin(angle) * (t - 1),
        grow * (t - 1),
    )


def shake(rng: np.random.Generator, base: Callable, size: float, rate_hz: float) -> Callable:
    """An AR(2) process that rings at `rate_hz` with amplitude `size`, on top of a path."""
    step = 1 / 240
    damping = np.exp(-step * rate_hz * 0.6)
    turn = 2 * damping * np.cos(2 * np.pi * rate_hz * step)
    path = rng.normal(0, 1, (1200, 2))
    for k in range(2, len(path)):
        path[k] += turn * path[k - 1] - damping**2 * path[k - 2]
    path = path[400:] / path[400:].std(axis=0) * size / np.sqrt(2)

    def at(t: float) -> tuple[float, float, float]:
        first, share = int(t * 240), t * 240 % 1
        offset = path[first] * (1 - share) + path[first + 1] * share
        x, y, zoom = base(t)
        return x + offset[0], y + offset[1], zoom

    return at


def walk(rng: np.random.Generator, speed: float) -> Place:
    """To and fro, smoothly."""
    reach, phase = rng.uniform(0.15, 0.3), rng.uniform(0, 2 * np.pi)
    middle = rng.uniform(0.35, 0.65, 2)

    def at(t: float) -> tuple[float, float]:
        turn = 1.3 * speed / reach * t + phase
        return middle[0] + reach * np.sin(turn), middle[1] + 0.5 * reach * np.cos(turn)

    return at


def run(rng: np.random.Generator) -> Place:
    """Round and round, anywhere."""
    place, angle = rng.uniform(0, 1, 2), rng.uniform(0, 2 * np.pi)
    turn, speed = rng.choice([-1, 1]) * rng.uniform(1, 3), rng.uniform(0.1, 0.4)
    return lambda t: (
        (place[0] + speed / turn * np.sin(angle + turn * t)) % 1,
        (place[1] - speed / turn * np.cos(angle + turn * t)) % 1,
    )


def make(tier: str, seed: int) -> Scene:
    rng = np.random.default_rng([seed, TIERS.index(tier)])
    background, noise = _texture(rng, 540, 960), float(rng.uniform(0, 3))
    quiet = still if seed % 2 else glide(rng, 0.02, 0.08)
    if tier == "static":
        return Scene(background, still, noise=noise)
    if tier == "camera":
        return Scene(background, glide(rng, 0.05, 0.3), noise=noise)
    if tier == "shaky":
        path = shake(rng, quiet, rng.uniform(0.01, 0.08), rng.uniform(3, 10))
        return Scene(background, path, noise=noise)
    if tier == "low_quality":
        skins = [_skin(rng, 48) for _ in range(6)]
        crowd = [(float(rng.uniform(0.08, 0.14)), run(rng), skins[i % 6]) for i in range(90)]
        return Scene(background, quiet, tuple(crowd), noise)
    if tier == "optimal":
        size, speed = float(rng.uniform(0.35, 0.5)), float(rng.uniform(0.12, 0.4))
        return Scene(background, quiet, ((size, walk(rng, speed), _skin(rng)),), noise)
    places = [(0.2, 0.3), (0.8, 0.3), (0.3, 0.8), (0.75, 0.75)][: 2 + seed % 3]

    def near(home: tuple[float, float]) -> Place:
        speed, phase = rng.uniform(0.12, 0.25), rng.uniform(0, 6)
        return lambda t: (
            home[0] + 0.1 * np.sin(speed * 10 * t + phase),
            home[1] + 0.06 * np.cos(speed * 10 * t + phase),
        )

    size = float(rng.uniform(0.14, 0.2))
    return Scene(background, quiet, tuple((size, near(home), _skin(rng)) for home in places), noise)


@pytest.fixture(scope="module")
def filmed(row):
    """(filter, truth, clips, evidence) of all scenes, each at a size and a rate of its own."""
    filter_ = Motion()
    truth, clips, evidence = [], [], []
    for number, tier in enumerate(TIERS):
        for seed in SEEDS:
            width, height = SIZES[(number + seed) % len(SIZES)]
            fps = RATES[(2 * number + seed) % len(RATES)]
            clip = row(np.zeros((round(SECONDS * fps), height, width, 3)), fps)
            batch = make(tier, seed).film(filter_, fps, width, height)
            truth.append(tier)
            clips.append(clip)
            evidence.append(filter_.measure(clip, batch))
    return filter_, truth, clips, evidence


def _batch(filter_, clips, evidence, views=None) -> ClipBatch:
    rows = [{name: getattr(clip, name) for name in CLIP_COLUMNS} for clip in clips]
    full = [(0, 0, clip.width, clip.height) for clip in clips]
    return ClipBatch(
        pa.Table.from_pylist(rows),
        pa.Table.from_pylist(evidence, schema=evidence_columns(filter_.evidence)),
        np.array(views or full, dtype=np.int32),
    )


def _f1(truth, predicted, tier) -> float:
    hit = sum(a == b == tier for a, b in zip(truth, predicted, strict=True))
    wrong = sum((a == tier) != (b == tier) for a, b in zip(truth, predicted, strict=True))
    return 2 * hit / (2 * hit + wrong)


def test_macro_f1_over_six_tiers(filmed):
    filter_, truth, clips, evidence = filmed
    predicted = filter_.decide_many(_batch(filter_, clips, evidence)).label.tolist()
    mean = np.mean([_f1(truth, predicted, tier) for tier in TIERS])
    assert mean >= 0.9, list(zip(truth, predicted, strict=True))


def test_a_batch_decides_like_single_clips(filmed):
    filter_, _, clips, evidence = filmed
    batched = filter_.decide_many(_batch(filter_, clips, evidence))
    for index, (clip, each) in enumerate(zip(clips, evidence, strict=True)):
        alone = filter_.decide(clip, each)
        assert alone.label == batched[index].label
        assert alone.score == pytest.approx(batched[index].score)


def test_policies_weight_and_drop(filmed):
    filter_, _, clips, evidence = filmed
    verdicts = filter_.decide_many(_batch(filter_, clips, evidence))
    for index, tier in enumerate(verdicts.label):
        verdict = verdicts[index]
        assert verdict.keep == (tier not in ("low_quality", "shaky"))
        if verdict.keep:
            assert verdict.weight == getattr(filter_.tiers, tier)
        else:
            assert verdict.reason.startswith(f"{tier} motion: camera ")
    strict = Motion(tiers={"static": "drop", "shaky": 0.5})
    assert strict.config_hash() == filter_.config_hash()
    again = strict.decide_many(_batch(strict, clips, evidence))
    for index, tier in enumerate(again.label):
        assert again[index].keep == (tier not in ("low_quality", "static"))
    with pytest.raises(ValidationError):
        Motion(tiers={"still": 1.0})


@pytest.mark.parametrize("fps", RATES)
def test_the_cameras_path_is_measured_in_long_sides_per_second(row, fps):
    rng = np.random.default_rng(5)
    scene = Scene(_texture(rng, 540, 960), lambda t: (0.2 * t - 0.2, -0.1 * t + 0.1, 0.1 * t))
    filter_ = Motion()
    clip = row(np.zeros((round(SECONDS * fps), 180, 320, 3)), fps)
    evidence = filter_.measure(clip, scene.film(filter_, fps, 320, 180))
    gaps = np.array(evidence["gap_s"])
    assert np.all(gaps >= 0.08)
    assert np.all(gaps <= 0.16)
    # image content moves opposite to the camera
    for name, speed, slack in (("pan", -0.2, 0.02), ("tilt", 0.1, 0.02), ("zoom", 0.1, 0.02)):
        middle = np.median(np.array(evidence[name]) / gaps)
        assert middle == pytest.approx(speed, abs=slack), name


def test_a_cut_and_a_flash_make_no_shake(row):
    rng = np.random.default_rng(6)
    first, second = (Scene(_texture(rng, 540, 960), still, noise=2.0) for _ in range(2))
    filter_ = Motion()
    clip = row(np.zeros((58, 180, 320, 3)), 24)
    batch = first.film(filter_, 24, 320, 180)
    other = second.film(filter_, 24, 320, 180)
    cut = replace(batch, frames=np.concatenate([batch.frames[:9], other.frames[9:]]))
    assert filter_.decide(clip, filter_.measure(clip, cut)).label == "static"
    flash = batch.frames.copy()
    flash[9] = np.clip(flash[9].astype(int) + 90, 0, 255)
    lit = replace(batch, frames=flash)
    assert filter_.decide(clip, filter_.measure(clip, lit)).label == "static"


def test_only_what_the_view_shows_counts(row):
    rng = np.random.default_rng(7)
    scene = Scene(
        _texture(rng, 540, 960), still, ((0.35, lambda t: (0.22, 0.5 + 0.15 * t), _skin(rng)),)
    )
    filter_ = Motion()
    clip = row(np.zeros((58, 180, 320, 3)), 24)
    evidence = filter_.measure(clip, scene.film(filter_, 24, 320, 180))
    full = _batch(filter_, [clip], [evidence])
    right = _batch(filter_, [clip], [evidence], [(160, 0, 160, 180)])
    assert filter_.decide_many(full).label[0] == "optimal"
    assert filter_.decide_many(right).label[0] == "static"
    slow = filter_.model_copy(update={"moving_speed": 0.03})
    assert slow.decide_many(full).label[0] == "optimal"
    areas = evidence["moving"]
    assert areas == sorted(areas, reverse=True)
    assert areas[-1] > 0.05


def test_bars_are_excluded(row):
    rng = np.random.default_rng(8)
    scene = Scene(_texture(rng, 540, 960), lambda t: (0.15 * t, 0.0, 0.0))
    filter_ = Motion()
    clip = row(np.zeros((58, 180, 320, 3)), 24)
    batch = scene.film(filter_, 24, 320, 180)
    boxed = batch.frames.copy()
    boxed[:, :20] = boxed[:, -20:] = 16
    verdict = filter_.decide(clip, filter_.measure(clip, replace(batch, frames=boxed)))
    assert verdict.label == "camera"


def test_a_pan_converted_from_24_to_60_fps_is_not_shaky(row):
    rng = np.random.default_rng(9)
    scene = Scene(_texture(rng, 540, 960), lambda t: (0.2 * np.floor(t * 24) / 24, 0.0, 0.0))
    filter_ = Motion()
    clip = row(np.zeros((144, 180, 320, 3)), 60)
    verdict = filter_.decide(clip, filter_.measure(clip, scene.film(filter_, 60, 320, 180)))
    assert verdict.label == "camera"


def test_bursts_are_split_at_gaps():
    times = np.concatenate([start + np.arange(6) / 24 for start in (0.5, 2.5, 4.5)])
    assert [part.tolist() for part in split_bursts(times, 0.03, 6)] == [
        [*range(6)], [*range(6, 12)], [*range(12, 18)],
    ]  # fmt: skip
    assert [len(part) for part in split_bursts(np.arange(50) / 24, 0.03, 20)] == [25, 25]
    slides = split_bursts(np.arange(5.0), 0.03, 20)
    assert [len(part) for part in slides] == [5]
    assert split_bursts(np.array([1.0]), 0.03, 20) == []


def test_repeats_are_removed_and_times_spaced_evenly(texture):
    luma = texture[..., 0]
    burst = distinct(luma[[0, 0, 1, 2, 2, 3]], np.arange(6) / 60, np.arange(6))
    assert burst.frames.tolist() == [0, 2, 3, 5]
    np.testing.assert_allclose(np.diff(burst.times_s), 5 / 60 / 3)


def test_a_picture_that_stands_before_it_moves_keeps_its_times(texture):
    luma = texture[..., 0]
    burst = distinct(luma[[0] * 8 + [1, 2, 3, 4]], np.arange(12) / 30, np.arange(12))
    np.testing.assert_allclose(burst.times_s, np.array([0, 8, 9, 10, 11]) / 30)


def test_a_frame_without_texture_is_static(row):
    filter_ = Motion()
    clip = row(np.zeros((24, 180, 320, 3)), 24)
    flat = FrameBatch(np.full((6, 108, 192), 90, np.uint8), np.arange(6) / 24, 0.6)
    evidence = filter_.measure(clip, flat)
    assert evidence["textured"] == 0
    assert filter_.decide(clip, evidence).label == "static"


def _model(path: np.ndarray) -> np.ndarray:
    """(N, 8) camera models of the pairs of a path of N + 1 places."""
    model = np.zeros((len(path) - 1, 8))
    model[:, [0, 3]] = np.diff(path, axis=0)
    return model


def test_shake_is_the_acceleration_without_the_smooth_part():
    times = np.arange(21) / 30
    trust = np.ones(20)
    pan = np.stack([0.3 * times + 0.4 * times**2, -0.1 * times], axis=1)
    assert shake_of(_model(pan), trust, times).shake < 1e-6
    whip = np.stack([0.5 / (1 + np.exp(-25 * (times - 0.3))), 0 * times], axis=1)
    trembling = pan + 0.01 * np.sin(2 * np.pi * 4 * times)[:, None]
    expected = 0.01 * (2 * np.pi * 4) ** 2  # both axes, RMS
    assert shake_of(_model(trembling), trust, times).shake == pytest.approx(expected, rel=0.3)
    assert shake_of(_model(whip), np.where(np.arange(20) % 4, 1.0, 0.1), times).drift > 0.3
    assert shake_of(_model(trembling), np.full(20, 0.2), times).shake == -1


def test_parallax_is_no_motion_of_a_subject():
    points = Points.of(108, 192)
    depth = np.where(points.y < -0.1, 0.0, np.abs(points.x) + points.y + 0.3)
    sideways = np.stack([0.2 * depth, 0 * depth], axis=1)
    forward = depth[:, None] * np.stack([points.x - 0.1, points.y + 0.05], axis=1)
    weight = np.ones_like(depth)
    for velocity in (sideways, forward):
        assert off_epipolar(velocity[None], weight[None], points.x, points.y).max() < 0.005
        subject = velocity.copy()
        there = np.hypot(points.x, points.y) < 0.12
        subject[there] += [0.02, -0.15]
        (apart,) = off_epipolar(subject[None], weight[None], points.x, points.y)
        assert np.median(apart[there]) > 0.05
        assert np.median(apart[~there]) < 0.01


def test_only_flow_that_predicts_the_next_frame_is_motion():
    rng = np.random.default_rng(10)
    ground = _texture(rng, 108, 192)
    points = Points.of(*ground.shape)
    sideways = np.zeros((108, 192, 2), np.float32)
    sideways[..., 0] = 4
    moved = np.roll(ground, 4, axis=1)
    still, pan = np.zeros(8), np.zeros(8)
    pan[0] = 4 / 192
    assert explain(ground, moved, sideways, still, points).moves.mean() > 0.9
    titled = ground.copy()
    cv2.putText(titled, "TITLE", (30, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.4, 255, 3)
    assert explain(ground, titled, sideways, still, points).moves.mean() < 0.1
    # a logo stays where it is while the camera pans
    logo = np.zeros((108, 192), bool)
    logo[8:40, 8:40] = True
    after = np.where(logo, ground, moved)
    stays = explain(ground, after, sideways, pan, points).stays.reshape(points.shape)
    assert stays[1:4, 1:4].all()
    assert stays[6:].mean() < 0.1


LABELS = {
    "vertical_subtitles": {"static", "medium"},
    "lava_cut": {"static"},
    "great_wall_aerial": {"camera"},
    "aerial_logo": {"camera"},
    "bigbuckbunny": {"optimal", "medium"},
    "red_car": {"optimal", "medium"},
    "dissolve_wine": {"optimal", "medium"},
}


def test_labelled_clips(read_real):
    clips = {name: clip for name in LABELS if (clip := read_real(name)) is not None}
    assert "bigbuckbunny" in clips
    filter_ = Motion()
    labels = {
        name: filter_.decide(clip, filter_.measure(clip, batches["motion"])).label
        for name, (clip, batches) in clips.items()
    }
    assert {name: label for name, label in labels.items() if label not in LABELS[name]} == {}
