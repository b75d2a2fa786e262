import numpy as np
import pytest

from tests.unit.sample.rewrite.scripted import CHINESE, ENGLISH, STYLE, ScriptedModel, answer
from wanctl.sample.rewrite.checks import language_of, problems
from wanctl.sample.rewrite.question import Picture, Question
from wanctl.sample.rewrite.rewriter import rewrite
from wanctl.vlm.chat import ChatAnswer

DOG = Question("a dog on the beach", "en")
GOOD = answer("A brown dog walks along a beach.")
TEXT = f"{STYLE}. A brown dog walks along a beach. {ENGLISH}"


def test_a_prompt_is_asked_for_once_in_all_runs(tmp_path):
    model = ScriptedModel(lambda _: GOOD)
    questions = [DOG, Question("a cat", "en"), DOG]
    assert rewrite(questions, model, tmp_path) == {DOG: TEXT, questions[1]: TEXT}
    assert sorted(each.text for each in model.requests) == [
        "Request: a cat", "Request: a dog on the beach"
    ]  # fmt: skip
    assert model.closed == 1
    again = ScriptedModel(lambda _: pytest.fail("asked again"))
    assert rewrite(questions, again, tmp_path)[DOG] == TEXT
    assert again.closed == 0  # it was never loaded
    other = ScriptedModel(lambda _: GOOD)
    other.name = "another"
    rewrite([DOG, Question(DOG.prompt, "zh")], other, tmp_path)
    assert len(other.requests) == 3  # another model, another language (and once more: not Chinese)


def test_pictures_are_shown_with_their_role_and_belong_to_the_key(tmp_path):
    def question(content, shade):
        image = np.full((4, 6, 3), shade, np.uint8)
        pictures = (
            Picture("first", 0, content, lambda: image),
            Picture("last", 0, "z", lambda: image),
        )
        return Question("它走了", "zh", pictures)

    model = ScriptedModel(lambda _: answer("一只棕色的狗在海滩上散步", CHINESE, "纪实摄影风格"))
    first = question("a", 10)
    assert rewrite([first], model, tmp_path)[first].startswith(
        "纪实摄影风格。一只棕色的狗在海滩上散步。它"
    )
    (request,) = model.requests
    assert (
        request.text
        == "图1：视频的第一帧。\n图2：视频的最后一帧，请写出画面如何变化到这一帧。\n要求：它走了"
    )
    assert [image[0, 0, 0] for image in request.frames.images] == [10, 10]
    assert not request.frames.is_video
    assert "附有图片" in request.system
    rewrite([question("a", 10)], model, tmp_path)
    assert len(model.requests) == 1
    rewrite([question("b", 20)], model, tmp_path)
    assert len(model.requests) == 2


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (answer("狗", CHINESE, "纪实摄影"), "it has to be in English only"),
        (answer("A dog.", "It runs."), "it has 6 words; write 80 to 100"),
        (answer("A dog.", f"{ENGLISH} {ENGLISH}"), "write 80 to 100"),
        ("I'm sorry, but I can't help with that.", "the answer has no JSON object"),
        (answer("I'm sorry, but I cannot write this."), "it refuses"),
        (answer("Here is the rewritten prompt."), "it says 'Here is'"),
        ('{"style": "Film"}', "a JSON object with the texts style, summary, detail"),
        (ChatAnswer("x", GOOD, "length"), "cut off"),
        (ChatAnswer("x", "", "refused"), "refused by the server's filter"),
        (ChatAnswer("x", "", "failed", error="502 bad gateway"), "502 bad gateway"),
    ],
)
def test_a_bad_answer_is_asked_again_with_the_reason(tmp_path, caplog, bad, reason):
    model = ScriptedModel(lambda request: GOOD if request.id.endswith("#2") else bad)
    assert rewrite([DOG], model, tmp_path) == {DOG: TEXT}
    first, second = model.requests
    assert second.text.startswith(first.text)
    assert reason in second.text
    assert not caplog.records or "not rewritten" not in caplog.text
    stubborn = ScriptedModel(lambda _: bad)
    assert rewrite([DOG], stubborn, tmp_path / "other") == {}
    assert len(stubborn.requests) == 2
    assert f"sampled as typed: {DOG.prompt} (" in caplog.text
    assert reason in caplog.text


def test_quoted_text_has_to_stay():
    typed = 'a neon sign "OPEN 24h" and a banner 「今天休息」, the dogs\' bowls'
    kept = TEXT + ' A sign reads "OPEN 24h" beside “今天休息”.'
    assert list(problems(kept, typed, "en")) == []
    assert list(problems(kept.replace("24h", "24 h"), typed, "en")) == [
        "it lacks the quoted text 'OPEN 24h', which has to stand in it letter by letter"
    ]
    assert list(problems(TEXT, "two dogs' and three cats' bowls", "en")) == []


@pytest.mark.parametrize(
    ("prompt", "language"),
    [
        ("a fox", "en"),
        ("一只狐狸", "zh"),
        ("Shop sign “今天休息，明天再来”", "en"),
        ("vlog风格，一只猫", "zh"),
    ],
)
def test_language_of_a_prompt(prompt, language):
    assert language_of(prompt) == language
