"""Normalised CLIP embeddings through the linear head, compared with a direct calculation."""

import numpy as np
import pyarrow as pa
import pytest

from wanctl.curate.api import ClipBatch, FilterUnavailableError, Ragged
from wanctl_filters.aesthetic import Aesthetic


@pytest.fixture(scope="module")
def files(tmp_path_factory, clip_folder):
    return clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def filter_(files):
    clip, head = files
    return Aesthetic(clip_weights=str(clip), head_weights=str(head), device="cpu")


def test_scores_equal_a_direct_calculation(filter_, files, footage, row, texture, batch_of):
    import open_clip
    import torch
    from PIL import Image

    scores = filter_.frame_scores(batch_of(filter_, [(row(texture), texture)])).values
    _, batch = footage(filter_.embedder(), texture)
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{files[0]}")
    inputs = torch.stack([preprocess(Image.fromarray(frame)) for frame in batch.frames])
    with torch.no_grad():
        embedding = model.eval().encode_image(inputs).double().numpy()
    embedding /= np.sqrt((embedding**2).sum(axis=1, keepdims=True))
    head = torch.load(files[1], weights_only=True)
    mlp = torch.nn.Sequential(
        torch.nn.Linear(24, 1024),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(1024, 128),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(128, 64),
        torch.nn.Dropout(0.1),
        torch.nn.Linear(64, 16),
        torch.nn.Linear(16, 1),
    ).double()
    mlp.load_state_dict({key.removeprefix("layers."): value for key, value in head.items()})
    with torch.no_grad():
        expected = mlp.eval()(torch.from_numpy(embedding))[:, 0].tolist()
    # Vectors are stored as fp16: measured 1e-4 here, where the head's weights add up to 1.2; the
    # published head's reach further, to about 1e-3 of a score of 5.
    assert scores == pytest.approx(expected, abs=3e-4)
    assert len(set(scores)) == len(scores)


def test_single_layer_head(files, row, texture, batch_of, tmp_path):
    import torch

    head = tmp_path / "sa_0_4_linear.pth"
    torch.save({"weight": torch.zeros(1, 24), "bias": torch.tensor([5.25])}, head)
    filter_ = Aesthetic(clip_weights=str(files[0]), head_weights=str(head), device="cpu")
    verdicts = filter_.decide_many(batch_of(filter_, [(row(texture), texture)]))
    assert verdicts.score.tolist() == [5.25]


def test_mean_and_worst_frame_decide(tmp_path):
    """The first number of the vector is the score; a clip of three frames, then one of one."""
    import torch

    head = tmp_path / "first.pth"
    torch.save({"weight": torch.tensor([[10.0, 0.0]]), "bias": torch.tensor([0.0])}, head)
    scores = np.array([0.5, 0.55, 0.3, 0.6])
    units = np.stack([scores, np.sqrt(1 - scores**2)], axis=1).astype(np.float16)
    nothing = pa.table({"id": ["a", "b"]})
    batch = ClipBatch(nothing, nothing, np.zeros((2, 4)), {}, Ragged(units, np.array([0, 3, 4])))
    verdicts = Aesthetic(head_weights=str(head)).decide_many(batch)
    assert verdicts.score == pytest.approx([4.5, 6.0], abs=2e-3)
    low = Aesthetic(head_weights=str(head), min_mean=4.6).decide_many(batch)
    assert low.keep.tolist() == [False, True]
    assert low[0].reason == "scores 4.50 on average, at least 4.6 wanted"
    worst = Aesthetic(head_weights=str(head), min_mean=4.4, min_frame=3.5).decide_many(batch)
    assert worst[0].reason == "its worst frame scores 3.00, at least 3.5 wanted"
    assert worst[1].keep


def test_missing_weights_take_one_line(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(FilterUnavailableError) as error:
        Aesthetic().check()
    message = str(error.value)
    assert "\n" not in message
    for part in (
        "timm/vit_large_patch14_clip_224.openai",
        "sac+logos+ava1-l14-linearMSE.pth",
        str(tmp_path),
        "optional: true",
    ):
        assert part in message


def test_head_and_model_must_belong_together(files, row, texture, batch_of, tmp_path):
    import torch

    def decide(head):
        torch.save(head, tmp_path / "wrong.pth")
        filter_ = Aesthetic(
            clip_weights=str(files[0]), head_weights=str(tmp_path / "wrong.pth"), device="cpu"
        )
        return filter_.decide_many(batch_of(filter_, [(row(texture), texture)]))

    with pytest.raises(FilterUnavailableError, match=r"768 numbers.* makes 24"):
        decide({"weight": torch.zeros(1, 768), "bias": torch.zeros(1)})
    with pytest.raises(FilterUnavailableError, match="no aesthetic head"):
        decide({"weight": torch.zeros(2, 24), "bias": torch.zeros(2)})
