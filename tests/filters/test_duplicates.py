"""Copies of drawn clips, changed as re-uploads are, among other takes of the same scenes."""

from dataclasses import replace

import cv2
import numpy as np
import pyarrow as pa
import pytest

from wanctl.curate.api import ClipBatch, FrameBatch
from wanctl.curate.columns import CLIP_COLUMNS, Verdicts
from wanctl.data.schemas import evidence_columns
from wanctl.video.frame_sampling import FrameSampler
from wanctl_filters.duplicates.alignment import Pictures, Sides, align, between
from wanctl_filters.duplicates.filter import Duplicates, _widths
from wanctl_filters.duplicates.groups import groups_of, overlapping, vector_pairs
from wanctl_filters.duplicates.near_pairs import near_pairs
from wanctl_filters.duplicates.picture_hash import MIRROR, MIRROR_COARSE, VIEWS, describe
from wanctl_filters.shared.bars import Bar

FPS, COUNT = 24, 96


def _scene(seed: int, take: int = 0) -> np.ndarray:
    """(96, 180, 320) uint8: one set per seed; how things move in it is the take's own."""
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
        picture = ground.copy()
        for rate, phase, shade in zip(rates, phases, (30, 225), strict=True):
            x = 160 + 90 * np.sin(rate[0] * index / FPS + phase[0])
            y = 90 + 45 * np.sin(rate[1] * index / FPS + phase[1])
            cv2.circle(picture, (int(x), int(y)), 28, shade, -1)
        frames.append(picture)
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
def shelf(row):
    """shelf(frames, name, fps=24, **clip columns) -> (clip, evidence)."""
    filter_ = Duplicates()

    def make(frames, name, fps=FPS, **changes):
        count = len(frames)
        moments = FrameSampler(filter_.frames(), count / fps)
        index = [i for i in range(count) if moments.wants(i / fps, (i + 1) / fps)]
        scale = min(1.0, 160 / max(frames.shape[1:]))
        size = (round(frames.shape[2] * scale), round(frames.shape[1] * scale))
        small = [cv2.resize(frames[i], size, interpolation=cv2.INTER_AREA) for i in index]
        batch = FrameBatch(np.stack(small), np.array(index) / fps, scale)
        clip = row(np.zeros((count, *frames.shape[1:], 1)), fps, id=name, **changes)
        return clip, filter_.measure(clip, batch)

    return make


def _batch(found, filter_=None, verdicts=None) -> ClipBatch:
    filter_ = filter_ or Duplicates()
    clips, evidence = zip(*found, strict=True)
    rows = [{name: getattr(clip, name) for name in CLIP_COLUMNS} for clip in clips]
    return ClipBatch(
        pa.Table.from_pylist(rows),
        pa.Table.from_pylist(evidence, schema=evidence_columns(filter_.evidence)),
        np.array([(0, 0, clip.width, clip.height) for clip in clips], np.int32),
        verdicts or {},
    )


@pytest.fixture(scope="module")
def crowd(shelf):
    """Originals, a copy of each kind, and a second take of each scene."""
    found = []
    for seed, (kind, (change, rate, (first, end))) in enumerate(COPIES.items()):
        frames = _scene(seed)
        found.append(shelf(frames, f"{kind} original"))
        found.append(shelf(change(frames)[first:end], f"{kind} copy", FPS * rate))
        found.append(shelf(_scene(seed, take=1), f"{kind} take"))
    return found


def test_copies_share_a_group_and_other_takes_do_not(crowd):
    verdicts = Duplicates().decide_many(_batch(crowd))
    labels = {clip.id: label for (clip, _), label in zip(crowd, verdicts.label, strict=True)}
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


def test_the_larger_copy_is_kept_unless_a_filter_knows_better(crowd):
    ids = [clip.id for clip, _ in crowd]
    by_size = Duplicates().decide_many(_batch(crowd))
    assert by_size.keep[ids.index("halved original")]
    assert by_size.keep[ids.index("enlarged copy")]
    score = np.array([2.0 if name.endswith("copy") else 1.0 for name in ids])
    judged = {
        "aesthetic": Verdicts(np.ones(len(ids), bool), str, score=score),
        "blur": Verdicts(np.ones(len(ids), bool), str, score=score),
    }
    best = Duplicates().decide_many(_batch(crowd, verdicts=judged))
    assert all(
        keep == (not name.endswith("original")) for name, keep in zip(ids, best.keep, strict=True)
    )
    # of widths of edges, the smaller is the better
    sharp = Duplicates(best_by="blur").decide_many(_batch(crowd, verdicts=judged))
    assert all(
        keep == (not name.endswith("copy")) for name, keep in zip(ids, sharp.keep, strict=True)
    )


def test_a_dropped_clip_takes_nobodys_place(crowd):
    ids = [clip.id for clip, _ in crowd]
    keep = np.array([name != "halved original" for name in ids])
    found = Duplicates().decide_many(
        _batch(crowd, verdicts={"ocr": Verdicts(keep, lambda _: "text")})
    )
    assert found.keep[ids.index("halved copy")]
    assert not found.keep[ids.index("halved original")]


def test_the_order_of_clips_does_not_matter(crowd):
    forward = Duplicates().decide_many(_batch(crowd))
    backward = Duplicates().decide_many(_batch(crowd[::-1]))
    assert forward.label.tolist() == backward.label[::-1].tolist()


def test_same_bytes_that_overlap_are_copies(shelf):
    frames = _scene(40)
    found = [shelf(frames, "a", content_hash="x"), shelf(_scene(41), "b", content_hash="x")]
    shifted = [
        (replace(clip, start_s=start, end_s=start + 4), evidence)
        for (clip, evidence), start in zip(found, (0.0, 1.0), strict=True)
    ]
    assert Duplicates().decide_many(_batch(shifted)).keep.sum() == 1
    apart = [shifted[0], (replace(shifted[1][0], start_s=3.0, end_s=7.0), shifted[1][1])]
    assert Duplicates().decide_many(_batch(apart)).keep.all()


def test_flat_clips_are_not_copies_of_each_other(shelf):
    found = [shelf(np.full((96, 90, 160), level, np.uint8), str(level)) for level in (0, 90, 91)]
    assert Duplicates().decide_many(_batch(found)).keep.all()


def test_a_mirrored_picture_needs_no_hash_of_its_own():
    picture = _scene(3)[:1, :160, :]
    signs, coarse = describe(picture)
    turned, turned_coarse = describe(np.ascontiguousarray(picture[:, :, ::-1]))
    assert signs.any(axis=2).all()
    assert np.bitwise_count(signs ^ MIRROR ^ turned).sum() <= 2 * len(VIEWS)  # rounding near zero
    assert np.abs(coarse * MIRROR_COARSE - turned_coarse).max() <= 1


def test_near_pairs_of_many_clips_are_found_and_few_others():
    rng = np.random.default_rng(0)
    count, pictures = 20_000, 4
    signs = rng.integers(0, 2**64, (count, pictures, 4), dtype=np.uint64)
    copies = np.arange(count // 2, count // 2 + 1000)
    signs[copies] = signs[copies - count // 2]
    for _ in range(8):  # 8 of 256 signs turn, a hundredth of them the same one twice
        word, bit = rng.integers(0, 4, (1000, pictures)), rng.integers(0, 64, (1000, pictures))
        flip = np.zeros((1000, pictures, 4), np.uint64)
        np.put_along_axis(
            flip, word[..., None], np.uint64(1) << bit.astype(np.uint64)[..., None], 2
        )
        signs[copies] ^= flip
    pairs = near_pairs(signs.reshape(-1, 1, 4), np.arange(count + 1) * pictures)
    true = pairs[:, 1] - pairs[:, 0] == count // 2
    assert true.sum() >= 990
    assert (~true).sum() < count / 10


def test_a_crop_is_found_in_the_view_that_it_leaves():
    picture = _scene(5)[:1]
    whole, _ = describe(picture)
    cropped, _ = describe(picture[:, 9:171, 16:304])
    apart = np.bitwise_count(whole[0] ^ cropped[0, 0]).sum(axis=1) / 255
    assert apart[VIEWS.index(0.9)] <= 0.02
    assert apart[VIEWS.index(1.0)] >= 0.15
    found = near_pairs(np.concatenate([whole, cropped]), np.arange(3))
    assert [0, 1, 0, VIEWS.index(0.9), VIEWS.index(1.0)] in found.tolist()


def test_clips_without_pictures_have_no_near_pairs():
    assert near_pairs(np.zeros((0, 4, 4), np.uint64), np.zeros(4, np.int64)).shape == (0, 5)


def test_a_bar_that_a_dark_picture_hides_is_as_wide_as_the_one_facing_it():
    sure, hidden = Bar(12, 1.0, 0.3), Bar(18, 0.0, 0.3)
    bars = {"left": Bar(), "right": Bar(17, 0.0, 17.0), "top": hidden, "bottom": sure}
    assert _widths(bars) == {"left": 0, "right": 0, "top": 12, "bottom": 12}
    other = bars | {"top": Bar(18, 0.0, 40.0)}
    assert _widths(other)["top"] == 0


def test_speed_and_offset_come_out_of_the_pictures():
    signs = np.random.default_rng(2).integers(0, 2**64, (32, 1, 4), dtype=np.uint64)
    time = np.concatenate([np.arange(16) * 0.25, np.arange(16) * 0.2])
    short = signs.copy()
    short[16:24] = signs[4:12]  # the second clip shows places 4 to 11 of the first, 1.25 x as fast
    pictures = Pictures(
        signs=short[:24],
        coarse=np.zeros((24, 1, 16), np.int16),
        time_s=time[:24],
        starts=np.array([0, 16, 24]),
        length_s=np.array([4.0, 1.6]),
    )
    row, view = np.array([1]), np.array([0])
    sides = Sides(pictures.table(row, view), pictures.table(np.array([0]), view))
    differ = sides.short.signs[:, :, None] ^ sides.long.signs[:, None]
    apart = np.bitwise_count(differ).sum(axis=3) / 255
    rate, offset = align(sides, apart)
    assert rate.tolist() == [1.25]
    assert np.allclose(offset, 1.0, atol=1e-6)
    before, _, share, inside = between(sides, rate, offset)
    assert inside.all()
    assert np.allclose(before + share, np.arange(4, 12), atol=1e-4)


def test_a_crowd_of_equal_keys_is_linked_without_comparing_all_with_all():
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


def test_spans_overlap_within_one_file_only():
    content = np.array(["a", "a", "b", ""])
    start, end = np.array([0.0, 1.0, 0.0, 0.0]), np.array([4.0, 5.0, 4.0, 4.0])
    assert overlapping(content, start, end, share=0.6).tolist() == [[0, 1]]
    assert overlapping(content, start, end, share=0.9).tolist() == []
