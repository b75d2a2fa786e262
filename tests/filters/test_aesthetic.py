"""CLIP embedding, made one long, through the linear head: checked against doing it by hand."""

import numpy as np
import pytest

from wanctl.curate.api import FilterUnavailableError
from wanctl_filters.aesthetic import Aesthetic


@pytest.fixture(scope="module")
def files(tmp_path_factory, clip_folder):
    return clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def filter_(files):
    clip, head = files
    return Aesthetic(clip_weights=str(clip), head_weights=str(head), device="cpu")


def test_scores_equal_a_calculation_by_hand(filter_, files, footage, texture):
    import open_clip
    import torch
    from PIL import Image

    clip, batch = footage(filter_, texture)
    scores = filter_.measure(clip, batch)["scores"]
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{files[0]}")
    pictures = torch.stack([preprocess(Image.fromarray(frame)) for frame in batch.frames])
    with torch.no_grad():
        embedding = model.eval().encode_image(pictures).double().numpy()
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
    assert scores == pytest.approx(expected, abs=2e-4)
    assert len(set(scores)) == len(scores)


def test_single_layer_head(files, footage, texture, tmp_path):
    import torch

    head = tmp_path / "sa_0_4_linear.pth"
    torch.save({"weight": torch.zeros(1, 24), "bias": torch.tensor([5.25])}, head)
    filter_ = Aesthetic(clip_weights=str(files[0]), head_weights=str(head), device="cpu")
    assert filter_.measure(*footage(filter_, texture))["scores"] == [5.25] * 4


def test_mean_and_worst_frame_decide(row, texture):
    clip = row(texture)
    evidence = {"scores": [5.0, 5.5, 3.0]}
    assert Aesthetic().decide(clip, evidence).score == 4.5
    assert Aesthetic().decide(clip, evidence).keep
    assert "on average" in Aesthetic(min_mean=4.6).decide(clip, evidence).reason
    assert "worst frame scores 3.00" in Aesthetic(min_frame=3.5).decide(clip, evidence).reason


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


def test_head_and_model_must_belong_together(files, footage, texture, tmp_path):
    import torch

    wrong = tmp_path / "wrong.pth"
    torch.save({"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}, wrong)
    filter_ = Aesthetic(clip_weights=str(files[0]), head_weights=str(wrong), device="cpu")
    with pytest.raises(FilterUnavailableError, match=r"768 numbers.* makes 24"):
        filter_.measure(*footage(filter_, texture))
    torch.save({"weight": torch.zeros(2, 24), "bias": torch.zeros(2)}, wrong)
    filter_ = Aesthetic(clip_weights=str(files[0]), head_weights=str(wrong), device="cpu")
    with pytest.raises(FilterUnavailableError, match="no aesthetic head"):
        filter_.measure(*footage(filter_, texture))
