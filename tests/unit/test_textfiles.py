import os

import pytest

from wanctl.textfiles import (
    TextError,
    decode_text,
    parse_json,
    printable,
    read_text,
    split_lines,
)

WORDS = "A cat’s café.\nIt runs\u2028on 猫 🐈\r\nend"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"]
)
def test_texts_in_utf8_and_utf16_are_read_with_and_without_a_mark(tmp_path, encoding):
    path = tmp_path / "a.txt"
    for text in (WORDS, "A", "A cat", "line\nline\n"):
        path.write_bytes(text.encode(encoding))
        assert read_text(path) == text
    path.write_bytes("\ufeff\ufeffA".encode())
    assert read_text(path) == "\ufeffA", "one mark belongs to the encoding"
    for mark, name in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        path.write_bytes(mark + WORDS.encode(name))
        assert read_text(path) == WORDS


def test_utf8_with_a_few_nul_is_not_taken_for_utf16():
    for text in ("a\0b", "A cat\0", "\0", "ab\0cd\0ef", "猫\0猫"):
        assert decode_text(text.encode(), "a.txt") == text
    for encoding in ("utf-16-le", "utf-16-be"):
        assert decode_text("猫走る\n猫".encode(encoding), "a.txt") == "猫走る\n猫"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("A man’s café".encode("cp1252"), r"a.txt: not UTF-8 \(byte 0x92 at 5\); in Windows-1252"),
        ("猫が走る".encode("shift-jis"), r"not UTF-8 \(byte 0x94 at 0\)"),
        ("Кот бежит".encode("cp1251"), "not UTF-8"),
        (b"\x81\x8d\x8f\x90", "save it as UTF-8"),
        (b"\xff\xfeA\0c", "begins as UTF-16 and is damaged at byte 4"),
        (b"\xef\xbb\xbf\x92", "begins as UTF-8 and is damaged at byte 3"),
        (bytes(range(256)), "and no text"),
        (
            b"version https://git-lfs.github.com/spec/v1\r\nsize 34\r\n",
            "is a git-LFS pointer for 1 MB",
        ),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a git-LFS pointer, not the file"),
    ],
)
def test_other_encodings_are_named_in_one_line(tmp_path, data, why):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(TextError, match=why) as caught:
        read_text(path)
    assert len(split_lines(str(caught.value))) == 1


def test_what_is_no_plain_file_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(TextError, match=r"pipe.txt: is a pipe"):
        read_text(tmp_path / "pipe.txt")
    with pytest.raises(TextError, match=r"folder.txt: is a folder"):
        read_text(tmp_path / "folder.txt")
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TextError, match=r"has 1,099,512 MB, at most 67 MB"):
        read_text(tmp_path / "huge.txt")
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "gone.txt")
    with pytest.raises(TextError, match="embedded null"):
        read_text("a\0b.txt")


def test_only_line_feeds_and_carriage_returns_end_lines():
    assert split_lines("a\nb\r\nc\rd\n") == ["a", "b", "c", "d"]
    odd = "a\u2028b\u2029c\x85d\x0ce\x0bf\x1cg\x1dh\x1ei"
    assert split_lines(odd) == [odd]
    assert split_lines("") == []
    assert split_lines("\n\na") == ["", "", "a"]


def test_names_are_printable_in_one_line():
    assert printable("a\tb\nc\u2028") == "a\\tb\\nc\\u2028"
    assert printable(os.fsdecode(b"caf\xe9.mp4")) == "caf\\udce9.mp4"
    assert printable("猫 é 🐈") == "猫 é 🐈"


def test_a_number_of_thousands_of_digits_is_one_line():
    with pytest.raises(TextError, match=r"^a.json: not readable: a number of thousands of digits$"):
        parse_json(f"[{'9' * 5000}]", "a.json")
