"""The packaged suitability head, its features, and how it is trained."""

from dataclasses import replace

import cv2
import numpy as np
import pyarrow as pa
import pytest

from wanctl.curate.api import ClipBatch, Ragged, Verdicts
from wanctl_filters.quality.filter import Quality
from wanctl_filters.quality.frame_statistics import COLUMNS, clip_statistics
from wanctl_filters.quality.suitability_features import ALL, DIRECTIONS, features
from wanctl_filters.quality.suitability_training import fit_suitability
from wanctl_filters.shared.heads import Inputs, read_head

COUNT = 60


def clips(seed: int = 0, width: int = 1280) -> ClipBatch:
    """Clips without any evidence but an embedding, all 640x360."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(COUNT, width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    row = {"width": 640, "height": 360, "fps": 25.0, "bit_rate": 1e6, "start_s": 0.0, "end_s": 5.0}
    table = pa.table({
        "id": [f"{number:08x}" for number in range(COUNT)],
        "source": [f"{number // 2}.mp4" for number in range(COUNT)],
        **{name: [value] * COUNT for name, value in row.items()},
    })  # fmt: skip
    evidence = pa.table({name: rng.normal(size=COUNT) for name in COLUMNS})
    units = Ragged(vectors.astype(np.float16), np.arange(COUNT + 1))
    return ClipBatch(table, evidence, np.tile([0, 0, 640, 360], (COUNT, 1)), {}, units)


def test_the_packaged_head_lowers_clips_with_text_shake_and_softness(caplog):
    batch = clips()
    caplog.set_level("INFO", logger="wanctl")
    plain = Quality().decide_many(batch).score
    assert plain.min() >= 1
    assert plain.max() <= 5
    assert "no motion, ocr before it" in caplog.text
    keep = np.ones(COUNT, dtype=bool)
    text = {"ocr": Verdicts(keep, lambda _: "", np.full(COUNT, 9.0))}
    none = {"ocr": Verdicts(keep, lambda _: "", np.zeros(COUNT))}
    tier = np.array(["shaky"] * COUNT, dtype=object)
    shaky = {**none, "motion": Verdicts(keep, lambda _: "", label=tier)}
    steady = {**none, "motion": Verdicts(keep, lambda _: "", label=np.full(COUNT, None, object))}
    scores = [
        Quality().decide_many(replace(batch, verdicts=each)).score.mean()
        for each in (none, text, steady, shaky)
    ]
    assert scores[1] < scores[0] - 0.1
    assert scores[3] < scores[2] - 0.1
    sharper = batch.evidence.set_column(0, "fine_detail", pa.array(np.full(COUNT, 0.5)))
    softer = batch.evidence.set_column(0, "fine_detail", pa.array(np.full(COUNT, -2.0)))
    pair = [
        Quality().decide_many(replace(batch, evidence=each)).score.mean()
        for each in (sharper, softer)
    ]
    assert pair[0] > pair[1] + 0.1


def test_scores_of_filters_replace_the_packaged_head_on_request():
    batch = clips()
    keep = np.ones(COUNT, dtype=bool)
    batch = replace(batch, verdicts={"blur": Verdicts(keep, lambda _: "", np.arange(COUNT) * 1.0)})
    assert Quality(rank_by={"blur": -1}).decide_many(batch).score.max() == 1.0
    other = Quality(samples=2).decide_many(batch).score
    assert other.tolist() == Quality(rank_by={"blur": -1}).decide_many(batch).score.tolist()


def test_training_finds_a_taste_and_a_known_direction(tmp_path):
    from safetensors.numpy import save_file

    batch = clips(1, 32)
    names = tuple(name for name in ALL if name.startswith(("quality:", "clip:")))
    columns = features(batch, names)
    detail = columns[:, names.index("quality:fine_detail")]
    vectors = batch.vectors.values.astype(np.float32)
    taste = 3 + 0.6 * detail + 3 * vectors[:, 0]
    head = fit_suitability(
        Inputs("cnn@x", names), vectors, columns, np.clip(np.round(taste), 1, 5),
        batch.clip("source").tolist(), batch.clip("id").tolist(),
    )  # fmt: skip
    assert head.about["srcc"] > 0.4
    columns = columns[:, [names.index(name) for name in head.inputs.scores]]
    joined = np.concatenate([vectors, columns], axis=1)
    assert head.predict(vectors, columns) == pytest.approx(head(joined), abs=1e-4)
    file = tmp_path / "head.safetensors"
    save_file(head.tensors(), file, metadata=head.metadata())
    assert read_head(str(file), "quality").predict(vectors, columns) == pytest.approx(
        head.predict(vectors, columns), abs=1e-4
    )
    assert set(DIRECTIONS) <= set(ALL)


def test_statistics_follow_what_they_are_named_after(large_texture):
    plain = clip_statistics(large_texture[:8], 1.0)
    size = {"dsize": (854, 480), "interpolation": cv2.INTER_NEAREST}
    crisp = np.stack([cv2.resize(frame, **size) for frame in large_texture[:8]])
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in crisp])
    details = [clip_statistics(each, 1.0)["fine_detail"] for each in (crisp, soft)]
    assert details[1] < details[0] - 0.3
    grey = clip_statistics(np.repeat(large_texture[:8].mean(axis=3, keepdims=True), 3, 3)
                           .astype(np.uint8), 1.0)  # fmt: skip
    assert grey["colourfulness"] < 1 < plain["colourfulness"]
    rng = np.random.default_rng(0)
    noisy = large_texture[:8] + rng.normal(0, 6, large_texture[:8].shape)
    noisy = clip_statistics(noisy.clip(0, 255).astype(np.uint8), 1.0)
    assert noisy["noise"] > plain["noise"] + 0.3
    still = clip_statistics(np.repeat(large_texture[:1], 8, axis=0), 1.0)
    assert still["still_share"] == 1.0 > plain["still_share"]
    _, code = cv2.imencode(".jpg", large_texture[0], [cv2.IMWRITE_JPEG_QUALITY, 8])
    blocks = np.repeat(cv2.imdecode(code, cv2.IMREAD_COLOR)[None], 8, axis=0)
    assert clip_statistics(blocks, 1.0)["blockiness"] > still["blockiness"] + 0.3
    assert clip_statistics(blocks, 0.5)["blockiness"] is None
    assert clip_statistics(blocks[:1], 1.0)["change"] is None
