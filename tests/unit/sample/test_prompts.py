"""Prompts and the names of files made from them."""

import pytest

from wanctl.sample.prompts import PromptError, read_prompts, slug


def test_text_is_one_prompt():
    assert read_prompts("  a fox, running  ") == ["a fox, running"]


def test_a_file_gives_its_lines_without_blanks_comments_and_repeats(tmp_path):
    path = tmp_path / "many.txt"
    path.write_text("\ufeffa fox\n\n  # later: a bear\n一只猫\r\na fox\n", encoding="utf-8")
    assert read_prompts(str(path)) == ["a fox", "一只猫"]


@pytest.mark.parametrize("content", ["", "\n \n", "# only a remark\n"])
def test_a_file_without_prompts_is_an_error(tmp_path, content):
    path = tmp_path / "none.txt"
    path.write_text(content)
    with pytest.raises(PromptError, match="holds no prompt"):
        read_prompts(str(path))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("", "empty text"), (" \n", "empty text"), ("nowhere.txt", "No such file")],
)
def test_nothing_to_show_is_an_error(prompt, message):
    with pytest.raises(PromptError, match=message):
        read_prompts(prompt)


def test_a_folder_and_a_binary_are_no_prompt_files(tmp_path):
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(PromptError, match="Is a directory"):
        read_prompts(str(tmp_path / "folder.txt"))
    with pytest.raises(PromptError, match="not UTF-8"):
        read_prompts(str(tmp_path / "binary.txt"))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A red fox, running!", "a-red-fox-running"),
        ("../../etc/passwd", "etc-passwd"),
        ("一只猫 在雪地里", "一只猫-在雪地里"),
        ("?!", "prompt"),
        ("x" * 300, "x" * 40),
    ],
)
def test_slugs_are_safe_and_short_file_names(prompt, expected):
    assert slug(prompt) == expected
