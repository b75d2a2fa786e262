import pytest

from wanctl.caption.checks.text import (
    MAX_CHARACTERS,
    DuplicateCaptions,
    caption_problem,
    normalise,
    unquoted,
    with_quotes,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The video shows a dog.", "A dog."),
        ("This clip depicts two men talking.", "Two men talking."),
        ("In this video, we see a red car.", "A red car."),
        ("In this short video clip, a boat sails.", "A boat sails."),
        ("This footage captures that a door opens.", "A door opens."),
        ("The video camera on the table is red.", "The video camera on the table is red."),
        ("A scene of war.", "A scene of war."),
        ("In this scene of war, men run.", "In this scene of war, men run."),
        ("The shot putter turns.", "The shot putter turns."),
        ("The scene shows", "The scene shows"),
    ],
)
def test_openers_are_stripped_and_nothing_else(text, expected):
    assert normalise(text, strip_opener=True) == expected


def test_white_space_is_collapsed_and_openers_of_people_are_kept():
    assert normalise("  The video\n shows\ta dog. ") == "The video shows a dog."


@pytest.mark.parametrize("text", ["", " ", "...", "—"])
def test_text_without_letters_is_refused(text):
    assert caption_problem(normalise(text), "person") == "is empty"


@pytest.mark.parametrize(
    "text", ["I'm sorry, but I cannot help.", "As an AI, I ...", "I cannot see.", "抱歉，我无法"]
)
def test_refusals_of_models_are_refused(text):
    assert "refusal" in caption_problem(text, "model")
    assert caption_problem(text, "person") == ""


def test_overlong_captions_of_models_are_refused():
    assert "characters" in caption_problem("a" * (MAX_CHARACTERS + 1), "model")
    assert caption_problem("a" * (MAX_CHARACTERS + 1), "person") == ""


def test_a_caption_that_many_sources_share_is_reported():
    captions = DuplicateCaptions()
    for shot in range(5):
        captions.add("A dog.", f"one.mp4 {shot}".split()[0])
    assert captions.repeated() == []
    for source in ("two.mp4", "three.mp4"):
        captions.add("a DOG.", source)
    assert captions.repeated() == [("a dog.", 3)]


def test_text_in_the_picture_has_to_be_quoted():
    texts = ["EXIT", "Café 24", "出口", "x", "口"]
    assert unquoted("A door under 'Exit' and “ＣＡＦÉ-24”, 出 口", texts) == []
    assert unquoted("A door.", texts) == ["EXIT", "Café 24", "出口", "口"]
    missing = unquoted("A door with exit on it.", ["EXIT", "Way  Out"])
    assert with_quotes("A door.", missing) == 'A door. The text in the picture reads "Way  Out".'
    assert with_quotes("一扇门。", ["出口"]) == "一扇门。画面中的文字写着“出口”。"


def test_half_a_character_is_no_caption():
    assert "lone surrogate" in caption_problem("A cat \ud83d", "model")


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("视频中，一只狗在跑。", "一只狗在跑。"),
        ("画面中我们可以看到一只狗。", "画面中我们可以看到一只狗。"),
        ("在画面中，我们可以看到一只狗。", "一只狗。"),
        ("这段视频展示了一只狗。", "一只狗。"),
        ("画面中央有一只狗。", "画面中央有一只狗。"),
        ("镜头上摇，露出天空。", "镜头上摇，露出天空。"),
        ("镜头中一只狗在跑。", "一只狗在跑。"),
    ],
)
def test_openers_of_chinese_captions_are_removed(text, rest):
    assert normalise(text, strip_opener=True) == rest
