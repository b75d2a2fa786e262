import json
import random
from dataclasses import asdict

import numpy as np
import pytest

from tests.unit.caption.scripted import (
    STRUCTURE,
    ScriptedChatModel,
    WordChecks,
    answered,
    clip,
    right_answer,
    right_content,
    run_steps,
)
from wanctl.caption.checks.facts import measured_facts
from wanctl.caption.structured.clip_steps import ClipTask
from wanctl.caption.structured.result import STRUCTURE as STRUCTURE_FLAG
from wanctl.caption.structured.steps import StructuredSteps
from wanctl.vlm.chat import ChatAnswer, ChatRequest, Frames

VARIANTS = ("long-formal-en", "short-poetic-en", "motion-en", "long-formal-zh", "motion-zh")
FRAMES = Frames((np.zeros((4, 4, 3), np.uint8),) * 2, (0.0, 0.5))


def build(
    variants=VARIANTS, structure=None, *, facts=None, still=False, retries=2, clip_id="00aa"
) -> StructuredSteps:
    task = ClipTask(clip(clip_id), FRAMES if structure is None else None, structure, variants)
    facts = facts or measured_facts(5.0, {})
    return StructuredSteps(task, facts, WordChecks("wrong"), retries=retries, still=still)


class Once:
    """Answers rightly but for the first request of a part, e.g. `structure`, or the first few."""

    def __init__(self, part: str, wrong, times: int = 1) -> None:
        self.part, self.wrong, self.left = part, wrong, times

    def __call__(self, request: ChatRequest) -> ChatAnswer:
        if request.id.split("/")[1].split("#")[0] == self.part and self.left:
            self.left -= 1
            return self.wrong(request)
        return right_answer(request)


def test_a_clip_gets_its_structure_and_all_its_captions_from_three_requests():
    model = ScriptedChatModel()
    result = run_steps(build(), model)
    assert [request.id for request in model.requests] == ["00aa/structure", "00aa/en", "00aa/zh"]
    assert result.structure == STRUCTURE
    assert [each.variant for each in result.captions] == list(VARIANTS)
    assert result.captions[0].text == "Caption long-formal-en of 00aa."
    assert (result.flags, result.attempts) == ((), 1)
    assert (result.input_tokens, result.output_tokens) == (300, 30)


def test_only_the_structured_request_has_frames():
    model = ScriptedChatModel()
    run_steps(build(), model)
    assert [request.frames for request in model.requests] == [FRAMES, None, None]


def test_what_an_earlier_run_found_is_not_asked_again():
    model = ScriptedChatModel()
    result = run_steps(build(("short-formal-zh",), STRUCTURE), model)
    (request,) = model.requests
    assert (request.id, request.frames, result.attempts) == ("00aa/zh", None, 0)
    assert [each.variant for each in result.captions] == ["short-formal-zh"]
    assert '"scene": "inside a small bakery by day"' in request.text
    assert run_steps(build((), STRUCTURE), model).structure == STRUCTURE
    assert len(model.requests) == 1


def _other_id(request: ChatRequest) -> ChatAnswer:
    return answered(request, right_content(request) | {"clip_id": "00bb"})


def _violation(request: ChatRequest) -> ChatAnswer:
    return answered(request, right_content(request) | {"camera_angle": "sideways"})


WRONG = {
    "id": (_other_id, "00bb"),
    "json": (lambda request: answered(request, '{"clip_id": "00aa", '), "cut off"),
    "schema": (_violation, "camera_angle"),
    "refusal": (lambda request: answered(request, "I'm sorry, I can't."), "refusal"),
    "truncation": (lambda request: answered(request, right_content(request), "length"), "tokens"),
    "word": (
        lambda request: answered(request, right_content(request) | {"scene": "wrong"}),
        "no such scene",
    ),
}


@pytest.mark.parametrize("check", WRONG)
def test_a_wrong_structure_is_asked_for_again_with_the_reason_and_then_flagged(check):
    wrong, reason = WRONG[check]
    model = ScriptedChatModel(Once("structure", wrong))
    result = run_steps(build(), model)
    assert (result.structure, result.attempts, result.flags) == (STRUCTURE, 2, ())
    first, second = model.requests[:2]
    assert second.id == "00aa/structure#2"
    assert second.frames is FRAMES
    assert reason in second.text
    assert reason not in first.text

    model = ScriptedChatModel(Once("structure", wrong, times=9))
    result = run_steps(build(), model)
    (flag,) = result.flags
    assert (result.structure, result.captions, len(model.requests)) == (None, (), 3)
    assert (flag.variant, flag.attempts, flag.is_final) == (STRUCTURE_FLAG, 3, True)
    assert flag.checks[0].startswith(f"{check}: ")
    assert flag.text == wrong(model.requests[-1]).text


def test_only_a_caption_that_fails_is_asked_for_again_with_its_reason():
    def wrong(request: ChatRequest) -> ChatAnswer:
        return answered(request, right_content(request) | {"short-poetic-en": "A wrong  man."})

    model = ScriptedChatModel(Once("en", wrong))
    result = run_steps(build(), model)
    assert [each.variant for each in result.captions] == list(VARIANTS)
    again = next(request for request in model.requests if request.id == "00aa/en#2")
    assert again.schema is not None
    assert list(again.schema["properties"]) == ["clip_id", "short-poetic-en"]
    assert "word: say not wrong" in again.text
    assert "A wrong man." in again.text
    assert "long-formal-en" not in again.text


def test_a_caption_that_stays_wrong_is_flagged_and_the_others_are_kept():
    def wrong(request: ChatRequest) -> ChatAnswer:
        return answered(request, right_content(request) | {"motion-en": "All wrong."})

    model = ScriptedChatModel(Once("en", wrong, times=9))
    result = run_steps(build(), model)
    (flag,) = result.flags
    assert (flag.variant, flag.text, flag.attempts) == ("motion-en", "All wrong.", 3)
    assert flag.checks == ("word: say not wrong",)
    assert len(result.captions) == len(VARIANTS) - 1


def test_a_list_that_a_model_filled_with_repeats_is_not_accepted():
    loop = [f"{number % 2} men" for number in range(20)]
    model = ScriptedChatModel(
        Once("structure", lambda each: answered(each, right_content(each) | {"subjects": loop}))
    )
    run_steps(build(), model)
    assert "repetition: subjects" in model.requests[1].text


def test_white_space_in_a_structure_is_collapsed_and_alone_is_nothing():
    def reply(request: ChatRequest) -> ChatAnswer:
        scene = "a\n  bakery " if request.id.endswith("#2") else " \t"
        return answered(request, right_content(request, {**STRUCTURE, "scene": scene}))

    result = run_steps(build(()), ScriptedChatModel(reply))
    assert result.structure == {**STRUCTURE, "scene": "a bakery"}
    assert result.attempts == 2


@pytest.mark.parametrize("value", ["", "  ", None, 3, ["A dog."]])
def test_a_caption_that_an_answer_lacks_is_asked_for_again(value):
    def wrong(request: ChatRequest) -> ChatAnswer:
        return answered(request, right_content(request) | {"motion-en": value})

    model = ScriptedChatModel(Once("en", wrong))
    assert len(run_steps(build(), model).captions) == len(VARIANTS)
    assert [request.id for request in model.requests].count("00aa/en#2") == 1


def test_openers_are_removed_rather_than_asked_for_again():
    content = {"clip_id": "00aa", "motion-en": "The video shows a dog\nthat runs."}
    model = ScriptedChatModel(lambda request: answered(request, content))
    result = run_steps(build(("motion-en",), STRUCTURE), model)
    assert result.captions[0].text == "A dog that runs."


def test_a_request_without_an_answer_is_flagged_such_that_a_later_run_asks_again():
    def failed(request: ChatRequest) -> ChatAnswer:
        return ChatAnswer(request.id, "", "failed", error="timed out after 300 s")

    (flag,) = run_steps(build(), ScriptedChatModel(failed)).flags
    assert (flag.checks, flag.is_final) == (("failed: timed out after 300 s",), False)
    result = run_steps(build(), ScriptedChatModel(Once("en", failed)))
    assert [flag.variant for flag in result.flags] == list(VARIANTS[:3])
    assert not any(flag.is_final for flag in result.flags)
    assert [each.variant for each in result.captions] == list(VARIANTS[3:])


def test_text_that_ocr_read_has_to_be_in_the_structure_and_in_long_captions():
    facts = measured_facts(5.0, {"ocr": {"texts": ["SALE", "50 %"]}})
    structure = {**STRUCTURE, "ocr_text": ["SALE", "50 %"]}
    quoting = {"en": 'A sign says "Sale 50%".', "zh": "牌子上写着“SALE 50 %”。"}

    def reply(request: ChatRequest) -> ChatAnswer:
        content = right_content(request, structure if request.id.endswith("#2") else STRUCTURE)
        if request.id.endswith("/en#2"):
            content["long-formal-en"] = quoting["en"]
        return answered(request, content)

    model = ScriptedChatModel(reply)
    result = run_steps(build(VARIANTS[:3], facts=facts), model)
    texts = {request.id: request.text for request in model.requests}
    assert list(texts) == ["00aa/structure", "00aa/structure#2", "00aa/en", "00aa/en#2"]
    assert 'quoting: ocr_text lacks "SALE"' in texts["00aa/structure#2"]
    assert 'quoting: the caption omits the text "SALE", "50 %"' in texts["00aa/en#2"]
    assert result.captions[0].text == quoting["en"]
    assert not result.flags


def test_a_still_image_is_not_asked_for_camera_motion():
    model = ScriptedChatModel()
    result = run_steps(build(VARIANTS[:2], still=True), model)
    assert result.structure == {**STRUCTURE, "camera_motion": []}
    request = model.requests[0]
    assert request.schema is not None
    assert "camera_motion" not in request.schema["properties"]
    assert "camera_motion" not in request.system + request.text
    assert "still image" in model.requests[1].text


def test_an_answer_to_a_request_that_is_not_open_is_refused():
    steps = build()
    (ask,) = steps.start()
    with pytest.raises(ValueError, match="00bb/structure"):
        steps.take(ChatAnswer("00bb/structure", "", "stop"))
    assert steps.result is None
    answer = right_answer(ask.request)
    steps.take(answer)
    with pytest.raises(ValueError, match="00aa/structure"):
        steps.take(answer)


def test_seeds_depend_on_clip_part_and_attempt_alone():
    def seeds(clip_id: str) -> dict[str, int]:
        model = ScriptedChatModel(Once("zh", WRONG["json"][0]))
        run_steps(build(clip_id=clip_id), model)
        return {request.id: request.seed for request in model.requests}

    first, again, other = seeds("00aa"), seeds("00aa"), seeds("00bb")
    assert first == again
    assert len({*first.values(), *other.values()}) == 8
    assert all(0 <= seed < 2**31 for seed in first.values())


def _disturbed(request: ChatRequest, draw: random.Random) -> ChatAnswer:
    """An answer with one of the faults of models and servers, or a right one."""
    content = right_content(request)
    text = json.dumps(content)
    name = draw.choice([key for key in content if key != "clip_id"])
    some = {key: value for key, value in content.items() if draw.random() < 0.7}
    odd = draw.choice(["", "{}", "[]", "null", '{"a": NaN}', "{" * 9, "\ud800"])
    answers = [
        ChatAnswer(request.id, "", "failed", error="HTTP 500"),
        ChatAnswer(request.id, "", "refused"),
        answered(request, text[: draw.randrange(len(text))], "length"),
        answered(request, odd),
        answered(request, some),
        answered(request, content | {name: draw.choice(["is wrong", 7, "\ud800", " "])}),
        answered(request, content | {"extra": "x"}),
        answered(request, f"Here it is:\n```json\n{text}\n```"),
        _other_id(request),
        *[answered(request, text)] * 4,
    ]
    return draw.choice(answers)


def test_every_variant_ends_once_as_a_caption_or_a_flag_whatever_the_model_does():
    draw = random.Random(7)
    ends = {"caption": 0, "flag": 0, "structure": 0, "again": 0}
    for number in range(200):
        clip_id = f"{number:016x}"
        variants = tuple(draw.sample(VARIANTS, draw.randrange(1, len(VARIANTS) + 1)))
        structure = STRUCTURE if draw.random() < 0.2 else None
        retries = draw.randrange(3)
        steps = build(variants, structure, retries=retries, clip_id=clip_id)
        model = ScriptedChatModel(lambda request: _disturbed(request, draw))
        open_asks = list(steps.start())
        while open_asks:
            assert steps.result is None
            ask = open_asks.pop(draw.randrange(len(open_asks)))
            assert (ask.request.frames is not None) == (ask.role == "vision")
            open_asks += steps.take(model.ask([ask.request])[0])
        result = steps.result
        assert result is not None
        json.dumps(asdict(result), ensure_ascii=False).encode()
        ids = [request.id for request in model.requests]
        assert len(set(ids)) == len(ids) <= (retries + 1) * 3
        captioned = [each.variant for each in result.captions]
        flagged = [each.variant for each in result.flags]
        assert all(flag.checks and 1 <= flag.attempts <= retries + 1 for flag in result.flags)
        assert all(clip_id in each.text for each in result.captions)
        if result.structure is None:
            assert (captioned, flagged) == ([], [STRUCTURE_FLAG])
        else:
            assert sorted(captioned + flagged) == sorted(variants)
        ends["structure"] += result.structure is None
        ends["caption"] += len(captioned)
        ends["flag"] += len(flagged)
        ends["again"] += sum("#" in each for each in ids)
    assert min(ends.values()) > 25, ends
