"""Each check with captions that have to fail and captions that have to pass."""

from dataclasses import replace

import pytest

from wanctl.caption.checks.check import check_answer, check_caption, check_structure
from wanctl.caption.checks.facts import MeasuredFacts
from wanctl.vlm.chat import ChatAnswer

NOTHING = MeasuredFacts(5.0, None, None, {}, None, None, None, ())
STRUCTURE = {
    "subjects": ["a man in a red coat"],
    "action": ["the man feeds two dogs"],
    "event": [],
    "camera_motion": ["pan left"],
    "object_category": ["man", "dog"],
    "object_color": [{"object": "coat", "color": "red"}, {"object": "bow tie", "color": "blue"}],
    "object_counting": [{"object": "man", "count": 1}, {"object": "dog", "count": 2}],
    "ocr_text": [],
    "scene": "a park",
}


def checks(text, variant="default", structure=None, **facts):
    found = check_caption(text, variant, structure, replace(NOTHING, **facts))
    assert all("\n" not in str(each) for each in found)
    return [each.check for each in found]


FAIL = [
    ("language", "一名男子在雨中走路。", "short-formal-en", {}),
    ("language", "A man walks in the rain past a shop.", "short-formal-zh", {}),
    ("language", "A man walks past. 一名男子在雨中走路。 He waves.", "short-formal-en", {}),
    ("language", "Un homme marche sous la pluie et des voitures passent très vite devant lui, "
     "sans que personne ne le voie.", "short-formal-en", {}),
    ("language", "男の人が雨の中をあるいている。とてもしずかだ。", "short-formal-zh", {}),
    ("length", "A man walks.", "long-formal-en", {}),
    ("length", "一名男子走路。", "long-formal-zh", {}),
    ("length", "A man walks and a dog runs. " * 9, "short-formal-en", {}),
    ("truncation", "A man walks along a road. He turns to the", "default", {}),
    ("truncation", "A man walks along a road and", "default", {}),
    ("truncation", "一名男子在路上行走。他转过身，", "default", {}),
    ("refusal", "I'm sorry, but I can't determine what happens.", "default", {}),
    ("refusal", "A dog. As an AI model, I cannot see videos.", "default", {}),
    ("refusal", "No video was provided, please upload one.", "default", {}),
    ("refusal", "抱歉，我无法查看视频。", "default", {}),
    ("opener", "The video shows a dog.", "default", {}),
    ("opener", "In this clip, a dog runs.", "default", {}),
    ("opener", "We can see a dog in a park.", "default", {}),
    ("opener", "这个视频展示了一只狗。", "default", {}),
    ("opener", "视频中，一只狗在跑。", "default", {}),
    ("opener", "画面中展示一只狗。", "default", {}),
    ("echo", "Here is the caption: a dog runs.", "default", {}),
    ("echo", "A dog runs, its object_color brown.", "default", {}),
    ("echo", "根据提供的结构，一只狗在跑。", "default", {}),
    ("echo", "Following your instructions, a dog runs.", "default", {}),
    ("echo", "Caption (formal, long): a dog runs.", "default", {}),
    ("echo", "以下是描述：一只狗在跑。", "default", {}),
    ("refusal", "My apologies, but I cannot see the frames.", "default", {}),
    ("refusal", "The content is not accessible to me.", "default", {}),
    ("refusal", "对不起，我看不到任何画面。", "default", {}),
    ("opener", "In the provided footage, a dog runs.", "default", {}),
    ("opener", "Shown in the video is a dog.", "default", {}),
    ("opener", "我们可以看到一只狗。", "default", {}),
    ("speculation", "A dog runs. It's hard to tell what it carries.", "default", {}),
    ("speculation", "一只狗在跑，难以判断是什么季节。", "default", {}),
    ("camera", "Panning right, the camera follows a dog.", "default", {"camera": ("pan left",)}),
    ("camera", "The camera descends along a wall.", "default", {"camera": ("tilt up",)}),
    ("camera", "A slow dolly-in to a dog.", "default", {"camera": ("still",)}),
    ("camera", "画面逐渐放大。", "default", {"camera": ("zoom out",)}),
    ("markup", '{"caption": "a dog runs"}', "default", {}),
    ("markup", "```\nA dog runs.\n```", "default", {}),
    ("markup", "A **dog** runs.", "default", {}),
    ("markup", "A dog runs.<|im_end|>", "default", {}),
    ("repetition", "A dog runs over grass. A man sits. A dog runs over grass.", "default", {}),
    ("repetition", "A dog runs and runs and runs and runs and runs.", "default", {}),
    ("repetition", "狗跑来跑去，跑来跑去，跑来跑去，跑来跑去。", "default", {}),
    ("speculation", "A dog runs. It is unclear where this happens.", "default", {}),
    ("speculation", "A dog, possibly a terrier, runs in a park, likely in summer.", "default", {}),
    ("speculation", "一只狗在跑，具体地点无法确定。", "default", {}),
    ("camera", "The camera slowly pans to the left.", "default", {"camera": ("still",)}),
    ("camera", "The camera pans from left to right.", "default", {"camera": ("pan left",)}),
    ("camera", "A slow zoom out from a dog.", "default", {"camera": ("zoom in",)}),
    ("camera", "A static shot of a dog.", "default", {"camera": ("pan left", "tilt up")}),
    ("camera", "镜头缓缓向右移动。", "default", {"camera": ("pan left",)}),
    ("camera", "一只狗在跑，镜头固定不动。", "default", {"camera": ("zoom in",)}),
    ("ocr", 'A sign reads "OPEN DAILY".', "default", {"texts": ()}),
    ("ocr", "牌子上写着“停车场”。", "default", {"texts": ("EXIT",)}),
    ("count", "Three people talk.", "default", {"counts": {"person": 1}}),
    ("count", "Two men and three women talk.", "default", {"counts": {"person": 4}}),
    ("count", "三个人在说话。", "default", {"counts": {"person": 1}}),
    ("motion", "A man sprints down a road.", "default", {"motion": "static"}),
    ("motion", "A man in a red coat with grey hair.", "motion-en", {}),
    ("motion", "一位穿红色外套的男子。", "motion-zh", {}),
    ("empty", "...", "default", {}),
    ("empty", "A dog \ud83d", "default", {}),
]  # fmt: skip

PASS = [
    ('A door under a sign "出口" opens.', "short-formal-en", {}),
    ("一名男子走过写着“OPEN ALL DAY FOR YOU”的牌子，推门进去。", "short-formal-zh", {}),
    ("A man walks along a road", "default", {}),
    ("Following the fields, a tractor turns left.", "default", {}),
    ("The image sensor of a camera lies on a table.", "default", {}),
    ("The video game console stands on a shelf.", "default", {}),
    ("桥的下面是一条河，他按照说明组装小船。", "short-formal-zh", {}),
    ('A man says "I\'m sorry, I cannot help" and shrugs.', "default", {}),
    ("Unable to reach the shelf, a boy jumps.", "default", {}),
    ("The video camera on the table is red.", "default", {}),
    ("画面中央，一只猫向左转身，面对镜头。", "short-formal-zh", {"camera": ("still",)}),
    ("A dog runs, jumps, turns, and runs again to the man, to the gate and to the road.",
     "default", {}),
    ("A man tilts his head to the left and pans for gold.", "default", {"camera": ("still",)}),
    ("A frying pan left of the camera smokes.", "default", {"camera": ("still",)}),
    ("The camera does not pan left.", "default", {"camera": ("pan right",)}),
    ("The camera trucks left along a wall.", "default", {"camera": ("pan left",)}),
    ("The camera tilts up.", "default", {"camera": ("pan left",)}),
    ("The camera orbits a car to the right.", "default", {"camera": ("pan left",)}),
    ("The camera pans right.", "default", {"camera": None}),
    ('A sign reads "Welcome to Paris".', "default", {"texts": ("WELC0ME T0", "PAR1S")}),
    ('A sign reads "OPEN DAILY".', "default", {"texts": None}),
    ('A sign reads "OPEN DAILY".', "default", {"texts": (), "has_unread_text": True}),
    ("The dog's owner isn't the man's friend.", "default", {"texts": ()}),
    ("Three people talk.", "default", {"counts": {"person": 3, "dog": 1}}),
    ("Two people talk while others listen.", "default", {"counts": {"person": 5}}),
    ("One of the people waves.", "default", {"counts": {"person": 4}}),
    ("A man sprints down a road.", "default", {"motion": "optimal"}),
    ("A man talks and nods.", "default", {"motion": "static"}),
    ("The man turns his head, then the camera pans left.", "motion-en", {}),
    ("男子转过头，镜头向左摇。", "motion-zh", {}),
]  # fmt: skip


@pytest.mark.parametrize(("check", "text", "variant", "facts"), FAIL)
def test_a_faulty_caption_fails_its_check(check, text, variant, facts):
    assert check in checks(text, variant, **facts)


@pytest.mark.parametrize(("text", "variant", "facts"), PASS)
def test_a_right_caption_passes_all_checks(text, variant, facts):
    assert checks(text, variant, **facts) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A man feeds two dogs. The camera pans left.", []),
        ("A man feeds two dogs, and both dogs jump.", []),
        ("A man feeds five dogs.", ["count"]),
        ("一名男子在喂五只狗。", ["count"]),
        ("A man feeds dogs in a crimson coat.", []),
        ("A man in a green coat feeds dogs.", ["color"]),
        ("一名穿着绿色外套的男子在喂狗。", ["color"]),
        ("A man feeds dogs. The camera pans right.", ["camera"]),
    ],
)
def test_a_caption_is_held_against_its_structure(text, expected):
    assert checks(text, structure=STRUCTURE) == expected


def test_a_structure_is_held_against_what_was_measured():
    def found(**facts):
        return [each.check for each in check_structure(STRUCTURE, replace(NOTHING, **facts))]

    assert found() == []
    assert found(camera=("pan left",), texts=(), counts={"person": 1, "dog": 2}) == []
    assert found(camera=("still",)) == ["camera"]
    assert found(counts={"dog": 1}) == ["count"]
    signs = {**STRUCTURE, "ocr_text": ["EXIT"]}
    assert [each.check for each in check_structure(signs, replace(NOTHING, texts=()))] == ["ocr"]
    assert check_structure(signs, replace(NOTHING, texts=("EX1T",))) == []
    both = {**STRUCTURE, "camera_motion": ["still", "pan left"]}
    assert [each.check for each in check_structure(both, NOTHING)] == ["camera"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ChatAnswer("a", "A dog.", "stop"), []),
        (ChatAnswer("a", "A dog", "length"), ["truncation"]),
        (ChatAnswer("a", "", "refused"), ["refusal"]),
        (ChatAnswer("a", "", "failed", error="HTTP 500"), ["failure"]),
        (ChatAnswer("a", "  ", "stop"), ["empty"]),
    ],
)
def test_an_answer_that_did_not_end_by_itself_fails(answer, expected):
    assert [each.check for each in check_answer(answer)] == expected
