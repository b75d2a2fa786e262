import pytest

from wanctl.caption.checks import (
    MAX_CHARACTERS,
    DuplicateWatch,
    problem,
    tidy,
    unquoted,
    with_quotes,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
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
def test_openers_go_and_nothing_else(text, wanted):
    assert tidy(text, strip_opener=True) == wanted


def test_white_space_is_single_and_people_keep_their_openers():
    assert tidy("  The video\n shows\ta dog. ") == "The video shows a dog."


@pytest.mark.parametrize("text", ["", " ", "...", "—"])
def test_nothing_is_no_caption(text):
    assert problem(tidy(text), "person") == "is empty"


@pytest.mark.parametrize(
    "text", ["I'm sorry, but I cannot help.", "As an AI, I ...", "I cannot see.", "抱歉，我无法"]
)
def test_models_may_not_refuse(text):
    assert "refusal" in problem(text, "model")
    assert problem(text, "person") == ""


def test_models_may_not_ramble():
    assert "characters" in problem("a" * (MAX_CHARACTERS + 1), "model")
    assert problem("a" * (MAX_CHARACTERS + 1), "person") == ""


def test_one_caption_on_many_sources_is_noticed():
    watch = DuplicateWatch()
    for shot in range(5):
        watch.add("A dog.", f"one.mp4 {shot}".split()[0])
    assert watch.repeated() == []
    for source in ("two.mp4", "three.mp4"):
        watch.add("a DOG.", source)
    assert watch.repeated() == [("a dog.", 3)]


def test_text_in_the_picture_has_to_be_quoted():
    texts = ["EXIT", "Café 24", "出口", "x", "口"]
    assert unquoted("A door under 'Exit' and “ＣＡＦÉ-24”, 出 口", texts) == []
    assert unquoted("A door.", texts) == ["EXIT", "Café 24", "出口", "口"]
    missing = unquoted("A door with exit on it.", ["EXIT", "Way  Out"])
    assert with_quotes("A door.", missing) == 'A door. The text in the picture reads "Way  Out".'
    assert with_quotes("一扇门。", ["出口"]) == "一扇门。画面中的文字写着“出口”。"
