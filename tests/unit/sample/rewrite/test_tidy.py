import pytest

from wanctl.sample.rewrite.tidy import tidy


@pytest.mark.parametrize(
    ("typed", "tidied"),
    [
        ("  a  fox ,, runs\n\nfast ..  ", "a fox, runs fast."),
        ('"a fox"', "a fox"),
        ("“一只狐狸，，跑过雪地。。”", "一只狐狸，跑过雪地。"),
        ('a sign "NO  ENTRY,, PLEASE" ,blinks', 'a sign "NO  ENTRY,, PLEASE",blinks'),
        ('"Yes" and "No"', '"Yes" and "No"'),
        ("wait... what?! at 3.5 m", "wait... what?! at 3.5 m"),
        ("the dogs' and cats' bowls", "the dogs' and cats' bowls"),
        ("a fox, running", "a fox, running"),
    ],
)
def test_a_prompt_is_tidied_and_nothing_is_added(typed, tidied):
    assert tidy(typed) == tidied
    assert tidy(tidied) == tidied
