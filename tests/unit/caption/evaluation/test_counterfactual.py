import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scripted import FRAMES, Guesses, Looks, Repeats, clip_frames

from wanctl.caption.backends import CaptionClip
from wanctl.caption.evaluation.counterfactual import changes, verdicts
from wanctl.caption.evaluation.counterfactual.ask import AnswerFile, Asker, ClipFrames
from wanctl.caption.evaluation.counterfactual.rates import ARMS, TESTS, measure
from wanctl.caption.evaluation.labelled.matching import Matcher
from wanctl.caption.evaluation.labelled.similarity import PhraseSimilarity
from wanctl.caption.structured.build import StructuredFactory, StructuredOptions, measure_evidence
from wanctl.log import progress

CLIPS = 24


def factory(model) -> StructuredFactory:
    options = StructuredOptions(
        lengths=("long",), styles=("formal",), languages=("en",), motion=False, retries=1, fps=3.0,
        max_frames=129, max_pixels=200_704, slow_fast=False,
    )  # fmt: skip
    return StructuredFactory(
        options, model=model.name, text_model=model.name, measure=measure_evidence,
        captions_need_frames=False,
    )  # fmt: skip


def clips(count: int = CLIPS) -> list[ClipFrames]:
    rows = [
        CaptionClip(
            id=f"{number:016x}", source=Path("a.mp4"), shot=number, start_s=0.0,
            duration_s=FRAMES / 3, width=128, height=96, has_audio=False,
            evidence={"ocr": {"texts": ["HINT"]}},
        )
        for number in range(count)
    ]  # fmt: skip
    frames = [clip_frames(number) for number in range(count)]
    other = [(number + count // 2 + 1) % count for number in range(count)]
    return [ClipFrames(rows[n], frames[n], rows[other[n]], frames[other[n]]) for n in range(count)]


def ask(model, path: Path, questions: list[ClipFrames]) -> Asker:
    with progress(len(questions) * len(ARMS), "test") as bar:
        asker = Asker(model, factory(model), AnswerFile(path), bar)
        asker.run(iter(questions))
    return asker


def rates(model, tmp_path, questions) -> dict:
    answers = ask(model, tmp_path / "answers.jsonl", questions).answers.answers
    partners = {each.clip.id: each.other.id for each in questions}
    return measure(answers, partners, Matcher(PhraseSimilarity()))


@pytest.fixture(scope="module")
def questions():
    return clips()


def test_a_captioner_that_looks_follows_every_change(tmp_path, questions):
    measured = rates(Looks(), tmp_path, questions)
    assert {name: each.clips for name, each in measured.items()} == dict.fromkeys(TESTS, CLIPS)
    assert {name: each.rate for name, each in measured.items()} == dict.fromkeys(TESTS, 1.0)


def test_a_captioner_that_repeats_the_prompt_follows_none(tmp_path, questions):
    measured = rates(Repeats(), tmp_path, questions)
    assert {name: each.clips for name, each in measured.items()} == dict.fromkeys(TESTS, CLIPS)
    assert {name: each.rate for name, each in measured.items()} == dict.fromkeys(TESTS, 0.0)


def test_guesses_change_as_often_without_a_cause(tmp_path, questions):
    measured = rates(Guesses(), tmp_path, questions)
    for name, each in measured.items():
        assert abs(each.rate) <= 4 * math.sqrt(0.5 / max(each.clips, 1)), name
    assert measured["mirrored"].moved > 0.1  # guesses do change; the control takes them off


def test_prompts_of_all_arms_are_equal_and_hold_no_hint(tmp_path):
    model = Looks()
    ask(model, tmp_path / "answers.jsonl", clips(2))
    for clip in ("0" * 16, f"{1:016x}"):
        asked_of = [each for each in model.requests if each.id.startswith(clip)]
        assert len(asked_of) == len(ARMS)
        prompts = {(each.system, each.text, each.temperature, each.seed) for each in asked_of}
        assert len(prompts) == 1
        assert "HINT" not in prompts.pop()[1]


def test_a_stopped_run_asks_for_the_rest_only(tmp_path):
    questions = clips(4)
    path = tmp_path / "answers.jsonl"
    whole = ask(Looks(), path, questions).answers.answers
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:10]) + lines[10][:20])  # killed while it wrote a line
    model = Looks()
    assert ask(model, path, questions).answers.answers == whole
    assert len(model.requests) == len(lines) - 10
    assert sorted(path.read_bytes().splitlines()) == sorted(b"".join(lines).splitlines())


def test_the_stars_are_as_many_as_the_detail_says_and_the_plate_is_legible():
    batch = clip_frames(0)
    for number in range(8):
        detail = changes.detail_of(f"{number:016x}")
        assert Looks._stars(changes.with_copies(batch, detail).frames[0]) == detail.copies
        assert Looks._read(changes.with_string(batch, detail).frames[0]) == [detail.string]
    assert np.abs(changes.again(batch, detail).frames.astype(int) - batch.frames).max() == 2


@pytest.mark.parametrize(
    ("verdict", "before", "after", "expected"),
    [
        ("sides_swap", {"camera_motion": ["truck left"]}, {"camera_motion": ["pan right"]}, True),
        ("sides_swap", {"camera_motion": ["pan left"]}, {"camera_motion": ["pan left"]}, False),
        ("sides_swap", {"scene": "a tree on the left"}, {"scene": "a tree on the right"}, True),
        ("sides_swap", {"scene": "a tree"}, {"scene": "a tree on the right"}, None),
        ("motion_vanishes", {"camera_motion": ["hand-held"]}, {"camera_motion": ["still"]}, True),
        ("motion_vanishes", {"camera_motion": ["zoom in"]}, {"camera_motion": ["zoom in"]}, False),
        ("motion_vanishes", {"camera_motion": ["still"]}, {"camera_motion": ["still"]}, None),
    ],
)
def test_verdicts_on_camera_and_sides(verdict, before, after, expected):
    assert getattr(verdicts, verdict)(before, after) is expected


def test_verdicts_on_order_colour_and_number():
    matcher = Matcher(PhraseSimilarity())
    events = ["a ball falls", "the dog barks", "the light goes out"]
    turned = {"event": ["the light goes out", "a dog barks", "the ball falls"]}
    assert verdicts.time_reverses({"event": events}, turned, matcher) is True
    assert verdicts.time_reverses({"event": events}, {"event": events}, matcher) is False
    assert verdicts.time_reverses({"event": events[:1]}, turned, matcher) is None
    zoom = {"camera_motion": ["push in"], "event": events}
    assert verdicts.time_reverses(zoom, {"camera_motion": ["zoom out"]}, matcher) is True

    car = {"object_color": [{"object": "red car", "color": "red"}]}
    cyan = {"object_color": [{"object": "cyan car", "color": "light blue"}]}
    assert verdicts.colors_turn(car, cyan, matcher) is True
    orange = {"object_color": [{"object": "car", "color": "orange"}]}
    assert verdicts.colors_turn(car, orange, matcher) is False
    gray = {"object_color": [{"object": "car", "color": "grey"}]}
    assert verdicts.colors_turn(gray, car, matcher) is None

    detail = changes.Detail(copies=4, string="BAKERY 12", seed=0)
    dogs = {"object_counting": [{"object": "dog", "count": 4}]}
    stars = {"object_counting": [{"object": "dogs", "count": 4}, {"object": "star", "count": 4}]}
    assert verdicts.count_follows(dogs, stars, detail, matcher) is True
    assert verdicts.count_follows(dogs, dogs, detail, matcher) is False
    assert verdicts.string_is_read({"ocr_text": ["The BAKERY 12"]}, detail) is True
    assert verdicts.string_is_read({"ocr_text": ["MARKET 12"]}, detail) is False
