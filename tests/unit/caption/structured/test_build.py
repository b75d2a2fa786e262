from dataclasses import replace

import numpy as np
import pytest

from tests.unit.caption.scripted import STRUCTURE, ScriptedChatModel, WordChecks, clip, run_steps
from wanctl.caption.checks.facts import MeasuredFacts
from wanctl.caption.structured import caption_prompt_zh, structure_prompt, versions
from wanctl.caption.structured.build import (
    StructuredFactory,
    StructuredOptions,
    measure_evidence,
)
from wanctl.caption.structured.clip_steps import ClipChecks, ClipTask
from wanctl.caption.structured.schema import CAMERA_ANGLES, CAMERA_MOTIONS
from wanctl.caption.structured.slow_fast import chat_frames, frame_spec
from wanctl.caption.variants import (
    STYLES,
    accepted_length,
    length_of,
    parse_variant,
    variant_names,
)
from wanctl.video.frames import FrameBatch

OPTIONS = StructuredOptions(
    lengths=("long", "short"), styles=("formal",), languages=("en", "zh"), motion=True, retries=2,
    fps=3.0, max_frames=129, max_pixels=200_704, slow_fast=True,
)  # fmt: skip


def _measure(task: ClipTask) -> tuple[MeasuredFacts, ClipChecks]:
    return measure_evidence(task)[0], WordChecks("wrong")


def factory(options: StructuredOptions = OPTIONS, model="qwen", text_model="qwen"):
    return StructuredFactory(
        options, model=model, text_model=text_model, measure=_measure,
        captions_need_frames=False,
    )  # fmt: skip


def batch(count: int, height: int = 90, width: int = 160, gap_s: float = 1 / 3) -> FrameBatch:
    frames = np.random.default_rng(0).integers(0, 255, (count, height, width, 3), np.uint8)
    return FrameBatch(frames, np.arange(count) * gap_s, 1.0)


def first_request(duration_s=5.0, count=16, options=OPTIONS, gap_s=1 / 3, **evidence):
    made = factory(options)
    frames = made.frames(batch(count, gap_s=gap_s))
    task = ClipTask(clip("00aa", duration_s, **evidence), frames, None, made.variants(duration_s))
    (ask,) = made.build(task).start()
    assert ask.role == "vision"
    return ask.request


def test_every_fourth_frame_is_full_and_the_others_have_a_quarter_of_the_pixels():
    decoded = batch(6, 90, 161)
    frames = chat_frames(decoded, slow_fast=True)
    assert [image.shape[:2] for image in frames.images] == [
        (90, 161), (45, 80), (45, 80), (45, 80), (90, 161), (45, 80)
    ]  # fmt: skip
    assert np.array_equal(frames.images[4], decoded.frames[4])
    assert not any(np.shares_memory(image, decoded.frames) for image in frames.images)
    assert frames.times_s == pytest.approx([0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3])
    assert chat_frames(decoded, slow_fast=False).one_size


def test_the_small_frames_are_averages():
    decoded = batch(2)
    averages = decoded.frames[1].reshape(45, 2, 80, 2, 3).mean((1, 3))
    small = chat_frames(decoded, slow_fast=True).images[1]
    assert np.abs(small - averages).max() <= 0.5


def test_one_frame_is_a_picture():
    assert not chat_frames(batch(1), slow_fast=True).is_video


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (720, 1280), (4000, 100), (64, 64)])
def test_frames_are_decoded_within_the_limit_of_pixels(width, height):
    spec = frame_spec(3.0, 129, 200_704, width, height)
    scale = min(1.0, spec.long_side_px / max(width, height))
    assert width * height * scale**2 <= 200_704
    if width * height > 200_704:
        assert width * height * scale**2 > 0.98 * 200_704
    assert (spec.fps, spec.max_count) == (3.0, 129)


def test_a_still_image_has_no_captions_on_motion():
    made = factory()
    names = ("long-formal-en", "short-formal-en", "motion-en")
    assert made.variants(5.0)[:3] == names
    assert made.variants(0.0) == (*names[:2], "long-formal-zh", "short-formal-zh")
    assert made.variants(0.3) == made.variants(0.0)  # one frame of it is sampled
    assert "You see one still image" in first_request(0.0, count=1).text


def test_the_prompt_holds_what_was_measured():
    text = first_request(
        5.25,
        motion={"trust": [1.0] * 6, "gap_s": [1 / 24] * 6, "label": "camera",
                "pan": [0.2 / 24] * 6, "tilt": [0.0] * 6, "zoom": [0.0] * 6},
        ocr={"texts": ['SALE "now"', "半价"]}, exposure={"luma": [30.0]},
        category={"label": "food"}, shot_size={"label": "close-up"},
    ).text  # fmt: skip
    for part in (
        "Clip id: 00aa", "16 frames", "every 0.33 seconds from 0.0 s to 5.0 s", "fourth frame",
        "the camera pans left", "nothing moving but the camera", "category: food", "close-up",
        "dark", r'"SALE \"now\"", "半价"',
    ):  # fmt: skip
        assert part in text
    plain = first_request(options=replace(OPTIONS, slow_fast=False), gap_s=0.5).text
    assert "- 5.0 seconds long\n\nDescribe" in plain
    assert "Text recognition" not in plain
    assert "fourth" not in plain


def test_every_field_and_term_has_its_definition():
    for still in (False, True):
        text = structure_prompt.structure_system(still=still)
        assert all(f"\n- {key}: " in text for key in STRUCTURE if key != "camera_motion")
    text = structure_prompt.structure_system(still=False)
    assert all(term in text for term in (*CAMERA_ANGLES, *CAMERA_MOTIONS))
    terms = {*CAMERA_ANGLES, *CAMERA_MOTIONS} - {"unclear"}
    assert set(caption_prompt_zh.CAMERA_TERMS) == terms


def test_captions_are_asked_for_by_length_style_and_language():
    made, model = factory(), ScriptedChatModel()
    unclear = {**STRUCTURE, "camera_angle": "unclear", "camera_motion": ["unclear"]}
    run_steps(made.build(ClipTask(clip(), None, unclear, made.variants(5.0))), model)
    english, chinese = (request.text for request in model.requests)
    assert '- "long-formal-en": long, formal, 110 to 200 words' in english
    assert '- "long-formal-zh": 长、正式，140 到 260 字' in chinese
    assert "unclear" not in english + chinese
    assert "ocr_text" not in english  # it is empty
    run_steps(made.build(ClipTask(clip(), None, STRUCTURE, ("motion-zh",))), model)
    assert "pan left = 镜头向左摇" in model.requests[-1].text


def test_the_keys_change_with_what_changes_the_answers_and_with_nothing_else(monkeypatch):
    first = factory()
    for other in (
        replace(OPTIONS, lengths=("medium",)), replace(OPTIONS, languages=("zh",)),
        replace(OPTIONS, motion=False), replace(OPTIONS, styles=STYLES),
        replace(OPTIONS, retries=0), replace(OPTIONS, fps=3),
    ):  # fmt: skip
        assert factory(other).captions_table == first.captions_table
    for other in (
        factory(replace(OPTIONS, fps=2.0)), factory(replace(OPTIONS, max_frames=64)),
        factory(replace(OPTIONS, max_pixels=100_352)), factory(model="other"),
        factory(replace(OPTIONS, slow_fast=False)),
    ):  # fmt: skip
        assert other.structure_key != first.structure_key
        assert other.key != first.key
    small = factory(text_model="small")
    assert small.structures_table == first.structures_table
    assert small.captions_table != first.captions_table
    assert small.flags_table.removeprefix("caption_flags/") == small.captions_table[9:]

    monkeypatch.setattr(caption_prompt_zh, "SYSTEM", caption_prompt_zh.SYSTEM + "。")
    assert factory().structure_key == first.structure_key
    assert factory().key != first.key
    monkeypatch.undo()
    definitions = {**structure_prompt._DEFINITIONS, "mood": "one word"}
    monkeypatch.setattr(structure_prompt, "_DEFINITIONS", definitions)
    assert factory().structure_key != first.structure_key
    monkeypatch.undo()
    monkeypatch.setitem(versions.CAMERA_PHRASES, "pan left", "swings left")
    assert factory().structure_key != first.structure_key


def test_the_names_of_variants():
    names = variant_names(("long", "short"), STYLES, ("zh",), motion=True)
    assert names[:2] == ("long-formal-zh", "long-informal-zh")
    assert names[-1] == "motion-zh"
    assert [parse_variant(name).name for name in names] == list(names)
    for wrong in ("default", "long-en", "motion-formal-en", "long-formal-de", "long-formal-en-x"):
        with pytest.raises(ValueError, match=wrong):
            parse_variant(wrong)


def test_lengths_count_words_of_english_and_characters_of_chinese():
    assert length_of("A man, in a hat.", "en") == 5
    assert length_of("牌子上写着“SALE 50”。", "zh") == 7
    long = parse_variant("long-formal-en")
    rich = {**STRUCTURE, "scene": "word " * 200}
    assert accepted_length(long, rich) == (55, 300)
    assert accepted_length(long, {"scene": "a grey wall"})[0] < 5
