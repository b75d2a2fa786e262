"""Modified copies of synthetic clips are found; other takes of the same scenes are not."""

from dataclasses import replace

import cv2
import numpy as np
import pyarrow as pa
import pytest

from wanctl.curate.api import ClipBatch, FrameBatch
from wanctl.curate.columns import CLIP_COLUMNS, Verdicts
from wanctl.data.schemas import evidence_columns
from wanctl.video.frame_sampling import FrameSampler
from wanctl_filters.duplicates.alignment import ClipPairs, FrameHashes, align, bracketing_frames
from wanctl_filters.duplicates.filter import Duplicates, _widths
from wanctl_filters.duplicates.frame_hash import (
    MIRROR,
    MIRROR_COARSE,
    SIDE,
    VIEWS,
    hash_frames,
    view_coefficients,
)
from wanctl_filters.duplicates.groups import groups_of, overlapping, vector_pairs
from wanctl_filters.duplicates.near_pairs import near_pairs
from wanctl_filters.shared.bars import Bar

FPS, COUNT = 24, 96


def _scene(seed: int, take: int = 0) -> np.ndarray:
    """(96, 180, 320) uint8 frames: one scene per seed, with the motion of one take."""
    rng = np.random.default_rng(seed)
    ground = np.full((180, 320), 110, np.float32)
    for octave in range(2, 7):
        grains = rng.normal(0, 60 / 1.5**octave, (2**octave // 2 + 1, 2**octave))
        ground += cv2.resize(grains.astype(np.float32), (320, 180), interpolation=cv2.INTER_CUBIC)
    for _ in range(14):
        x, y = rng.integers(0, (300, 160))
        cv2.rectangle(
            ground, (int(x), int(y)), (int(x + rng.integers(8, 60)), int(y + 40)),
            float(rng.uniform(20, 230)), -1,
        )  # fmt: skip
    own = np.random.default_rng([seed, take])
    frames = []
    rates, phases = own.uniform(0.5, 1.6, (2, 2)), own.uniform(0, 6, (2, 2))
    for index in range(COUNT):
        frame = ground.copy()
        for rate, phase, shade in zip(rates, phases, (30, 225), strict=True):
            x = 160 + 90 * np.sin(rate[0] * index / FPS + phase[0])
            y = 90 + 45 * np.sin(rate[1] * index / FPS + phase[1])
            cv2.circle(frame, (int(x), int(y)), 28, shade, -1)
        frames.append(frame)
    return np.clip(np.stack(frames), 0, 255).astype(np.uint8)


def _jpeg(quality, frames):
    codes = [
        cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for frame in frames
    ]
    return np.stack([cv2.imdecode(code, 0) for code in codes])


def _badged(frames):
    marked = frames.copy()
    marked[:, 8:44, 250:312] = 250
    return marked


def _scaled(scale, frames):
    return np.stack([cv2.resize(f, None, fx=scale, fy=scale, interpolation=1) for f in frames])


COPIES = {
    "compressed": (lambda frames: _jpeg(25, frames), 1.0, (0, 96)),
    "halved": (lambda frames: _scaled(0.5, frames), 1.0, (0, 96)),
    "enlarged": (lambda frames: _scaled(1.5, frames), 1.0, (0, 96)),
    "cropped": (lambda frames: frames[:, 4:176, 8:312], 1.0, (0, 96)),
    "mirrored": (lambda frames: frames[:, :, ::-1].copy(), 1.0, (0, 96)),
    "letterboxed": (lambda frames: np.pad(frames, ((0, 0), (30, 30), (0, 0))), 1.0, (0, 96)),
    "brightened": (lambda frames: np.clip(frames * 1.1 + 8, 0, 255).astype(np.uint8), 1.0, (0, 96)),
    "faster": (lambda frames: frames, 1.1, (0, 96)),
    "slower": (lambda frames: frames, 0.9, (0, 96)),
    "middle": (lambda frames: frames, 1.0, (18, 80)),
    "cropped by a tenth": (lambda frames: frames[:, 9:171, 16:304], 1.0, (0, 96)),
    "cropped by a fifth": (lambda frames: frames[:, 18:162, 32:288], 1.0, (0, 96)),
    "badged": (_badged, 1.0, (0, 96)),
    "a quarter faster": (lambda frames: frames, 1.25, (0, 96)),
    "half as fast again": (lambda frames: frames, 1.5, (0, 96)),
    "two seconds": (lambda frames: frames, 1.0, (31, 79)),
    "middle, faster": (lambda frames: frames, 1.25, (18, 80)),
}


@pytest.fixture(scope="module")
def measured(row):
    """measured(frames, name, fps=24, **clip columns) -> (clip, evidence)."""
    filter_ = Duplicates()

    def make(frames, name, fps=FPS, **changes):
        count = len(frames)
        sampler = FrameSampler(filter_.frames(), count / fps)
        index = [i for i in range(count) if sampler.samples(i / fps, (i + 1) / fps)]
        scale = min(1.0, 160 / max(frames.shape[1:]))
        size = (round(frames.shape[2] * scale), round(frames.shape[1] * scale))
        small = [cv2.resize(frames[i], size, interpolation=cv2.INTER_AREA) for i in index]
        batch = FrameBatch(np.stack(small), np.array(index) / fps, scale)
        clip = row(np.zeros((count, *frames.shape[1:], 1)), fps, id=name, **changes)
        return clip, filter_.measure(clip, batch)

    return make


def _batch(rows, filter_=None, verdicts=None) -> ClipBatch:
    filter_ = filter_ or Duplicates()
    clips, evidence = zip(*rows, strict=True)
    columns = [{name: getattr(clip, name) for name in CLIP_COLUMNS} for clip in clips]
    return ClipBatch(
        pa.Table.from_pylist(columns),
        pa.Table.from_pylist(evidence, schema=evidence_columns(filter_.evidence)),
        np.array([(0, 0, clip.width, clip.height) for clip in clips], np.int32),
        verdicts or {},
    )


@pytest.fixture(scope="module")
def clips_of_all_kinds(measured):
    """(clip, evidence) of originals, a copy of each kind, and a second take of each scene."""
    rows = []
    for seed, (kind, (change, rate, (first, end))) in enumerate(COPIES.items()):
        frames = _scene(seed)
        rows.append(measured(frames, f"{kind} original"))
        rows.append(measured(change(frames)[first:end], f"{kind} copy", FPS * rate))
        rows.append(measured(_scene(seed, take=1), f"{kind} take"))
    return rows


def test_copies_share_a_group_and_other_takes_do_not(clips_of_all_kinds):
    verdicts = Duplicates().decide_many(_batch(clips_of_all_kinds))
    labels = {
        clip.id: label for (clip, _), label in zip(clips_of_all_kinds, verdicts.label, strict=True)
    }
    for kind in COPIES:
        assert labels[f"{kind} original"] is not None, kind
        assert labels[f"{kind} copy"] == labels[f"{kind} original"], kind
        assert labels[f"{kind} take"] is None, kind
    assert verdicts.keep.sum() == 2 * len(COPIES)
    dropped = np.flatnonzero(~verdicts.keep)
    for index in dropped:
        verdict = verdicts[index]
        assert verdict.reason.startswith(f"a copy of {verdict.label}, which is better")
        assert verdict.score == 2


def test_the_larger_copy_is_kept_unless_another_filter_ranks_it_lower(clips_of_all_kinds):
    ids = [clip.id for clip, _ in clips_of_all_kinds]
    by_size = Duplicates().decide_many(_batch(clips_of_all_kinds))
    assert by_size.keep[ids.index("halved original")]
    assert by_size.keep[ids.index("enlarged copy")]
    score = np.array([2.0 if name.endswith("copy") else 1.0 for name in ids])
    judged = {
        "aesthetic": Verdicts(np.ones(len(ids), bool), str, score=score),
        "blur": Verdicts(np.ones(len(ids), bool), str, score=score),
    }
    best = Duplicates().decide_many(_batch(clips_of_all_kinds, verdicts=judged))
    assert all(
        keep == (not name.endswith("original")) for name, keep in zip(ids, best.keep, strict=True)
    )
    # of widths of edges, the smaller is the better
    sharp = Duplicates(best_by="blur").decide_many(_batch(clips_of_all_kinds, verdicts=judged))
    assert all(
        keep == (not name.endswith("copy")) for name, keep in zip(ids, sharp.keep, strict=True)
    )


def test_a_dropped_clip_does_not_replace_a_kept_copy(clips_of_all_kinds):
    ids = [clip.id for clip, _ in clips_of_all_kinds]
    keep = np.array([name != "halved original" for name in ids])
    verdicts = Duplicates().decide_many(
        _batch(clips_of_all_kinds, verdicts={"ocr": Verdicts(keep, lambda _: "text")})
    )
    assert verdicts.keep[ids.index("halved copy")]
    assert not verdicts.keep[ids.index("halved original")]


def test_the_order_of_clips_does_not_matter(clips_of_all_kinds):
    forward = Duplicates().decide_many(_batch(clips_of_all_kinds))
    backward = Duplicates().decide_many(_batch(clips_of_all_kinds[::-1]))
    assert forward.label.tolist() == backward.label[::-1].tolist()


def test_overlapping_ranges_of_one_file_are_copies(measured):
    frames = _scene(40)
    rows = [measured(frames, "a", content_hash="x"), measured(_scene(41), "b", content_hash="x")]
    shifted = [
        (replace(clip, start_s=start, end_s=start + 4), evidence)
        for (clip, evidence), start in zip(rows, (0.0, 1.0), strict=True)
    ]
    assert Duplicates().decide_many(_batch(shifted)).keep.sum() == 1
    distance = [shifted[0], (replace(shifted[1][0], start_s=3.0, end_s=7.0), shifted[1][1])]
    assert Duplicates().decide_many(_batch(distance)).keep.all()


def test_flat_clips_are_not_copies_of_each_other(measured):
    frames = [np.full((96, 90, 160), level, np.uint8) for level in (0, 90, 91)]
    rows = [measured(each, str(index)) for index, each in enumerate(frames)]
    assert Duplicates().decide_many(_batch(rows)).keep.all()


def test_the_hash_of_a_mirrored_frame_is_derived_from_its_hash():
    frame = _scene(3)[:1, :160, :]
    signs, coarse = hash_frames(frame)
    turned, turned_coarse = hash_frames(np.ascontiguousarray(frame[:, :, ::-1]))
    assert signs.any(axis=2).all()
    assert np.bitwise_count(signs ^ MIRROR ^ turned).sum() <= 2 * len(VIEWS)  # rounding near zero
    assert np.abs(coarse * MIRROR_COARSE - turned_coarse).max() <= 1


@pytest.mark.parametrize("shape", [(90, 160), (160, 55)])
def test_one_product_scales_and_transforms_all_views(shape):
    """Against scaling and transforming each view by itself, which rounds to whole levels."""
    frames = np.stack([cv2.resize(each, shape[::-1]) for each in _scene(4)[:3]])
    height, width = shape
    for frame, views in zip(frames, view_coefficients(frames), strict=True):
        for share, coefficients in zip(VIEWS, views, strict=True):
            y, x = (round(side * (1 - share) / 2) for side in shape)
            part = frame[y : height - y, x : width - x]
            small = cv2.resize(part, (32, 32), interpolation=cv2.INTER_AREA)
            plain = cv2.dct(small.astype(np.float32))[:SIDE, :SIDE] / 32
            assert np.abs(plain).max() > 2
            assert np.abs(plain - coefficients).max() <= 0.1


def test_near_pairs_of_many_clips_are_found_and_few_others():
    rng = np.random.default_rng(0)
    count, frames = 20_000, 4
    signs = rng.integers(0, 2**64, (count, frames, 4), dtype=np.uint64)
    copies = np.arange(count // 2, count // 2 + 1000)
    signs[copies] = signs[copies - count // 2]
    for _ in range(8):  # 8 of 256 signs turn, a hundredth of them the same one twice
        word, bit = rng.integers(0, 4, (1000, frames)), rng.integers(0, 64, (1000, frames))
        flip = np.zeros((1000, frames, 4), np.uint64)
        np.put_along_axis(
            flip, word[..., None], np.uint64(1) << bit.astype(np.uint64)[..., None], 2
        )
        signs[copies] ^= flip
    pairs = near_pairs(signs.reshape(-1, 1, 4), np.arange(count + 1) * frames)
    true = pairs[:, 1] - pairs[:, 0] == count // 2
    assert true.sum() >= 990
    assert (~true).sum() < count / 10


def test_a_cropped_copy_matches_one_of_the_views():
    frame = _scene(5)[:1]
    full, _ = hash_frames(frame)
    cropped, _ = hash_frames(frame[:, 9:171, 16:304])
    distance = np.bitwise_count(full[0] ^ cropped[0, 0]).sum(axis=1) / 255
    assert distance[VIEWS.index(0.9)] <= 0.02
    assert distance[VIEWS.index(1.0)] >= 0.15
    pairs = near_pairs(np.concatenate([full, cropped]), np.arange(3))
    assert [0, 1, 0, VIEWS.index(0.9), VIEWS.index(1.0)] in pairs.tolist()


def test_clips_without_frames_have_no_near_pairs():
    assert near_pairs(np.zeros((0, 4, 4), np.uint64), np.zeros(4, np.int64)).shape == (0, 5)


def test_a_bar_that_is_hidden_in_a_dark_frame_is_as_wide_as_the_opposite_one():
    visible, hidden = Bar(12, 1.0, 0.3), Bar(18, 0.0, 0.3)
    bars = {"left": Bar(), "right": Bar(17, 0.0, 17.0), "top": hidden, "bottom": visible}
    assert _widths(bars) == {"left": 0, "right": 0, "top": 12, "bottom": 12}
    other = bars | {"top": Bar(18, 0.0, 40.0)}
    assert _widths(other)["top"] == 0


def test_speed_and_offset_are_estimated_from_the_hashes():
    signs = np.random.default_rng(2).integers(0, 2**64, (32, 1, 4), dtype=np.uint64)
    time = np.concatenate([np.arange(16) * 0.25, np.arange(16) * 0.2])
    short = signs.copy()
    short[16:24] = signs[4:12]  # the second clip shows places 4 to 11 of the first, 1.25 x as fast
    hashes = FrameHashes(
        signs=short[:24],
        coarse=np.zeros((24, 1, 16), np.int16),
        time_s=time[:24],
        starts=np.array([0, 16, 24]),
        length_s=np.array([4.0, 1.6]),
    )
    row, view = np.array([1]), np.array([0])
    clip_pairs = ClipPairs(hashes.table(row, view), hashes.table(np.array([0]), view))
    differ = clip_pairs.short.signs[:, :, None] ^ clip_pairs.long.signs[:, None]
    distance = np.bitwise_count(differ).sum(axis=3) / 255
    rate, offset = align(clip_pairs, distance)
    assert rate.tolist() == [1.25]
    assert np.allclose(offset, 1.0, atol=1e-6)
    before, _, share, inside = bracketing_frames(clip_pairs, rate, offset)
    assert inside.all()
    assert np.allclose(before + share, np.arange(4, 12), atol=1e-4)


def test_many_equal_keys_are_linked_without_comparing_all_with_all():
    signs = np.tile(np.arange(1, 5, dtype=np.uint64), (5000, 1))
    pairs = near_pairs(signs[:, None], np.arange(5001))
    assert len(pairs) < 6 * 16 * 5000
    assert len(np.unique(groups_of(5000, pairs[:, :2]))) == 1


def test_vectors_that_point_the_same_way_are_paired():
    rng = np.random.default_rng(1)
    vectors = rng.normal(0, 1, (2000, 64)).astype(np.float32)
    vectors[1000:1100] = vectors[:100] + rng.normal(0, 0.05, (100, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    group = groups_of(2000, vector_pairs(vectors, 0.98))
    assert np.mean(group[1000:1100] == np.arange(100)) >= 0.95
    assert len(np.unique(group)) >= 1900


def test_time_ranges_overlap_within_one_file_only():
    content = np.array(["a", "a", "b", ""])
    start, end = np.array([0.0, 1.0, 0.0, 0.0]), np.array([4.0, 5.0, 4.0, 4.0])
    assert overlapping(content, start, end, share=0.6).tolist() == [[0, 1]]
    assert overlapping(content, start, end, share=0.9).tolist() == []
