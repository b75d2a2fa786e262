"""Clusters, quotas, and a head trained on marks: on drawn vectors with known groups."""

import numpy as np
import pyarrow as pa
import pytest

from wanctl.curate.api import ClipBatch, FilterUnavailableError, Ragged, UserError, Verdicts
from wanctl_filters.quality.clusters import ranks_within, spherical_kmeans
from wanctl_filters.quality.filter import Quality, mean_rank

SIZES = (300, 120, 40, 20)


def drawn(seed: int = 0, width: int = 64):
    """Four groups of directions, the last one rare; returns (batch, group of each)."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(np.random.default_rng(9).normal(size=(width, len(SIZES))))[0].T
    groups = rng.permutation(np.repeat(np.arange(len(SIZES)), SIZES))
    vectors = centres[groups] + rng.normal(size=(len(groups), width)) * 0.06
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # two frames each, a little apart
    frames = np.repeat(vectors, 2, axis=0) + rng.normal(size=(2 * len(groups), width)) * 0.01
    frames /= np.linalg.norm(frames, axis=1, keepdims=True)
    clips = pa.table({
        "id": [f"{number:08x}" for number in rng.permutation(len(groups))],
        "source": [f"{number % 40}.mp4" for number in range(len(groups))],
    })  # fmt: skip
    units = Ragged(frames.astype(np.float16), np.arange(0, 2 * len(groups) + 1, 2))
    return ClipBatch(clips, clips, np.zeros((len(groups), 4)), {}, units), groups


def with_scores(batch: ClipBatch, **columns) -> ClipBatch:
    verdicts = {
        name: Verdicts(np.ones(len(batch), dtype=bool), lambda _: "", np.asarray(score, float))
        for name, score in columns.items()
    }
    return ClipBatch(batch.clips, batch.evidence, batch.views, verdicts, batch.vectors)


def test_clusters_are_the_groups():
    batch, groups = drawn()
    labels = Quality(clusters=4).decide_many(batch).label
    pairs = {(label, group) for label, group in zip(labels, groups, strict=True)}
    assert len(pairs) == 4
    assert {label for label, _ in pairs} == {"c0", "c1", "c2", "c3"}
    # the largest comes first
    assert ("c0", 0) in pairs


def test_purity_with_more_clusters_than_groups():
    """Ten times as many clusters as there are groups split groups but do not mix them."""
    batch, groups = drawn()
    labels = Quality(clusters=40).decide_many(batch).label
    assert len(set(labels)) <= 40
    pure = sum(
        np.bincount(groups[labels == label]).max() for label in set(labels)
    )  # fmt: skip
    assert pure / len(groups) > 0.98


def test_order_of_rows_changes_nothing():
    batch, _ = drawn()
    order = np.random.default_rng(3).permutation(len(batch))
    starts = batch.vectors.starts
    rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in order])
    shuffled = ClipBatch(
        batch.clips.take(order), batch.evidence.take(order), batch.views[order], {},
        Ragged(batch.vectors.values[rows], starts),
    )  # fmt: skip
    filter_ = Quality(clusters=12)
    assert (
        filter_.decide_many(shuffled).label.tolist()
        == filter_.decide_many(batch).label[order].tolist()
    )


def test_every_cluster_keeps_its_best_share():
    """The rare group looks worst of all; one bound for all would wipe it out."""
    batch, groups = drawn()
    rng = np.random.default_rng(2)
    beauty = rng.random(len(groups)) - 2.0 * groups
    batch = with_scores(batch, aesthetic=beauty)
    verdicts = Quality(clusters=4, keep_share=0.3).decide_many(batch)
    for group, size in enumerate(SIZES):
        kept = verdicts.keep[groups == group]
        assert kept.sum() == np.ceil(0.3 * size)
        assert beauty[groups == group][kept].min() > beauty[groups == group][~kept].max()
    row = int(np.flatnonzero(~verdicts.keep)[0])
    assert "in its cluster, of which the best" in verdicts[row].reason
    # one bound for all
    bound = Quality(clusters=4, min_score=0.5, min_kept=0).decide_many(batch)
    assert not bound.keep[groups == 3].any()
    spared = Quality(clusters=4, min_score=0.5, min_kept=3).decide_many(batch)
    assert spared.keep[groups == 3].sum() == 3


def test_dropped_clips_do_not_count():
    batch, groups = drawn()
    beauty = np.random.default_rng(2).random(len(groups))
    batch = with_scores(batch, aesthetic=beauty)
    best = np.argsort(-beauty)[: len(beauty) // 2]
    batch.verdicts["aesthetic"].keep[best] = False
    verdicts = Quality(clusters=1, keep_share=0.5).decide_many(batch)
    left = np.setdiff1d(np.arange(len(beauty)), best)
    assert verdicts.keep[left].sum() == len(left) / 2
    assert verdicts.keep[best].all()


def test_mean_rank_by_hand():
    scores = np.array([[1.0, 5.0], [2.0, np.nan], [3.0, 1.0]])
    assert mean_rank(scores, np.array([1.0, -1.0])).tolist() == [0.0, 0.5, 1.0]
    assert mean_rank(scores, np.array([3.0, 1.0])).tolist() == [0.25, 0.5, 0.75]
    assert np.isnan(mean_rank(np.zeros((2, 0)), np.zeros(0))).all()


def test_ranks_within_groups():
    groups = np.array([1, 0, 1, 0, 1])
    score = np.array([0.5, 0.1, 0.9, np.nan, 0.5])
    names = np.array(["b", "c", "d", "e", "a"])
    assert ranks_within(groups, score, names).tolist() == [2, 0, 0, 1, 1]


def test_without_anything_to_rank_by():
    batch, _ = drawn()
    assert Quality().decide_many(batch).keep.all()
    with pytest.raises(UserError, match="fit a head, or put one of aesthetic, blur, exposure"):
        Quality(keep_share=0.5).decide_many(batch)


def test_clips_without_frames_have_no_cluster():
    batch, _ = drawn()
    starts = np.append(batch.vectors.starts[:-1], batch.vectors.starts[-2])
    bare = ClipBatch(
        batch.clips, batch.evidence, batch.views, {}, Ragged(batch.vectors.values, starts)
    )
    labels = Quality(clusters=4).decide_many(bare).label
    assert labels[-1] is None
    assert None not in labels[:-1]


def test_few_clips_make_few_clusters():
    units = np.eye(8, dtype=np.float32)
    assert spherical_kmeans(units, 100).shape == (1, 8)


def taste(batch: ClipBatch, blur: np.ndarray, seed: int) -> np.ndarray:
    """Marks 1 to 5 of somebody who likes a direction and sharp pictures, and wavers."""
    direction = np.linalg.qr(np.random.default_rng(9).normal(size=(64, 4)))[0].T[1]
    likes = batch.vectors.values[::2].astype(np.float32) @ direction
    likes = (likes - likes.mean()) / likes.std() - 0.7 * (blur - 0.5) / 0.29
    likes = likes + np.random.default_rng(seed).normal(size=len(likes)) * 0.4
    places = np.argsort(np.argsort(likes))
    return 1 + 5 * places // len(places)


def test_a_head_learns_marks_and_its_figures_hold_on_new_clips(tmp_path):
    from safetensors.numpy import save_file
    from scipy.stats import spearmanr

    def world(seed):
        batch, _ = drawn(seed)
        blur = np.random.default_rng(seed + 50).random(len(batch))
        return with_scores(batch, blur=blur), taste(batch, blur, seed)

    batch, marks = world(0)
    some = np.random.default_rng(1).permutation(len(batch))[:200]
    part = ClipBatch(
        batch.clips.take(some), batch.evidence.take(some), batch.views[some],
        {"blur": Verdicts(np.ones(200, bool), lambda _: "", batch.verdicts["blur"].score[some])},
        Ragged(
            batch.vectors.values.reshape(-1, 2, 64)[some].reshape(-1, 64), np.arange(0, 401, 2)
        ),
    )  # fmt: skip
    trained = Quality().train(part, [str(mark) for mark in marks[some]])
    assert trained.report["scores"] == "blur"
    promised = trained.report["srcc"]
    assert promised > 0.6
    file = tmp_path / "quality.safetensors"
    save_file(dict(trained.tensors), file, metadata=dict(trained.metadata))
    fresh, truth = world(7)
    verdicts = Quality(head=str(file), clusters=4, keep_share=0.5).decide_many(fresh)
    got = spearmanr(verdicts.score, truth).statistic
    assert got == pytest.approx(promised, abs=0.08)
    assert verdicts.score.min() >= 1
    assert verdicts.score.max() <= 5
    # the score of `blur` is worth something to it
    flat = with_scores(fresh, blur=np.full(len(fresh), np.nan))
    without = Quality(head=str(file)).decide_many(flat).score
    assert spearmanr(without, truth).statistic < got - 0.05
    with pytest.raises(FilterUnavailableError, match="wants the scores of blur"):
        Quality(head=str(file)).decide_many(drawn(7)[0])
    again = Quality().train(part, [str(mark) for mark in marks[some]])
    for name, tensor in trained.tensors.items():
        np.testing.assert_array_equal(tensor, again.tensors[name])


def test_too_few_marks():
    batch, _ = drawn()
    with pytest.raises(UserError, match="0 labels are too few"):
        Quality().train(batch, None)
