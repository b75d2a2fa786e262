"""The structured pass with the checks that recipes run, on captions written by a person."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.unit.caption.scripted import ScriptedChatModel, answered, clip, run_steps
from wanctl.caption.structured.build import (
    StructuredFactory,
    StructuredOptions,
    measure_evidence,
)
from wanctl.caption.structured.clip_steps import ClipTask
from wanctl.caption.variants import STYLES
from wanctl.video.frames import FrameBatch
from wanctl.vlm.chat import ChatAnswer, ChatRequest

BAKERY = json.loads((Path(__file__).parent / "bakery.json").read_text(encoding="utf-8"))
RIGHT = {"clip_id": "00aa", **BAKERY["structure"], **BAKERY["captions"]}
EVIDENCE = {
    "ocr": {"texts": ["FRESH BREAD"]},
    "motion": {"trust": [1.0] * 6, "gap_s": [1 / 24] * 6, "time_s": [0.5, 2.5],
               "pan": [-0.2 / 24] * 6, "tilt": [0.0] * 6, "zoom": [0.0] * 6},
}  # fmt: skip


def run(changes):
    """The result of a model that answers rightly but for these keys in its first answers."""

    def reply(request: ChatRequest) -> ChatAnswer:
        assert request.schema is not None
        source = RIGHT if "#" in request.id else RIGHT | changes
        return answered(request, {key: source[key] for key in request.schema["required"]})

    options = StructuredOptions(
        lengths=("long", "medium", "short"), styles=STYLES, languages=("en", "zh"), motion=True,
        retries=2, fps=3.0, max_frames=129, max_pixels=4096, slow_fast=True,
    )  # fmt: skip
    factory = StructuredFactory(
        options, model="scripted", text_model="scripted", measure=measure_evidence,
        captions_need_frames=False,
    )  # fmt: skip
    frames = factory.frames(FrameBatch(np.zeros((5, 36, 64, 3), np.uint8), np.arange(5) / 3, 1.0))
    task = ClipTask(clip("00aa", **EVIDENCE), frames, None, factory.variants(5.0))
    model = ScriptedChatModel(reply)
    result = run_steps(factory.build(task), model)
    return result, {request.id: request for request in model.requests}


def test_right_captions_of_all_variants_pass_the_checks_at_once():
    result, requests = run({})
    assert result.flags == ()
    assert {each.variant: each.text for each in result.captions} == BAKERY["captions"]
    assert len(requests) == 3


_WRONG_CAMERA = BAKERY["captions"]["medium-informal-en"].replace("pans right", "pans left")


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("structure", {"camera_motion": ["pan left"]}),
        ("structure", {"ocr_text": []}),
        ("en", {"medium-informal-en": _WRONG_CAMERA}),
        ("en", {"long-poetic-en": BAKERY["captions"]["long-poetic-en"].replace("FRESH", "FLAT")}),
        ("en", {"short-formal-en": BAKERY["captions"]["long-formal-en"]}),
        ("en", {"motion-en": BAKERY["captions"]["motion-zh"]}),
        ("zh", {"short-formal-zh": "很抱歉，我无法描述这段视频。"}),
        ("zh", {"medium-formal-zh": "视频里" + BAKERY["captions"]["medium-formal-zh"]}),
    ],
)
def test_one_wrong_answer_costs_one_request_that_names_it(part, changes):
    result, requests = run(changes)
    assert result.flags == ()
    assert {each.variant: each.text for each in result.captions} == BAKERY["captions"]
    assert sorted(requests) == sorted(
        ["00aa/structure", "00aa/en", "00aa/zh", f"00aa/{part}#2"]
    )  # fmt: skip
    again = requests[f"00aa/{part}#2"]
    (key,) = changes
    assert again.schema is not None
    if part != "structure":
        assert list(again.schema["properties"]) == ["clip_id", key]
