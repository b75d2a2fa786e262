"""Malformed data sets: the right listing, or one line, or one named row; nothing in silence.

The first tests write every layout of `malformed.py` with the same fault; ROWS and INDEXES hold
faults that one kind of file can have.
"""

import csv
import json
import os
import tarfile

import pytest

from tests.unit.exchange import malformed
from wanctl.exchange.external.archives import HEADER_BYTES
from wanctl.exchange.readers import read_layout

WORDS = {"a.mp4": "A man’s café 猫", "b.mp4": "A dog, “barking”", "c.mp4": "Trees"}
ODD = {
    "a.mp4": "A cat.\u2028It\x85runs\u2029on\x0cand\x0bon\x1c\x1d\x1eand on.",
    "b.mp4": "A\0cat 🐈\u200d⬛ =1+1",
    "c.mp4": "x" * 300_000,
}


@pytest.mark.parametrize("encoding", malformed.TEXTS)
@pytest.mark.parametrize("layout", malformed.LAYOUTS)
def test_a_text_is_the_same_in_every_encoding(tmp_path, layout, encoding):
    malformed.files(tmp_path, WORDS)
    path = malformed.LAYOUTS[layout](tmp_path, WORDS, malformed.TEXTS[encoding])
    clips, _, failed = malformed.listing(path)
    assert (clips, failed) == ({name: [text] for name, text in WORDS.items()}, 0)


@pytest.mark.parametrize("layout", malformed.LAYOUTS)
def test_odd_characters_end_no_line_and_long_captions_are_whole(tmp_path, layout):
    malformed.files(tmp_path, ODD)
    path = malformed.LAYOUTS[layout](tmp_path, ODD, malformed.TEXTS["plain"])
    clips, _, failed = malformed.listing(path)
    assert (clips, failed) == ({name: [text] for name, text in ODD.items()}, 0)


@pytest.mark.parametrize("encoding", malformed.UNREADABLE)
@pytest.mark.parametrize("layout", [name for name in malformed.LAYOUTS if name != "parquet"])
def test_texts_that_cannot_be_read_are_named(tmp_path, layout, encoding):
    malformed.files(tmp_path, WORDS)
    path = malformed.LAYOUTS[layout](tmp_path, WORDS, malformed.UNREADABLE[encoding])
    each_file = ["sidecars", "webdataset", "webdataset with json"]
    if layout in [*each_file, *(["musubi"] if encoding == "cp1252" else [])]:
        clips, notes, failed = malformed.listing(path)
        assert (sorted(clips), failed) == (sorted(WORDS), 0)
        for name, captions in clips.items():
            stem = name.removesuffix(".mp4")
            named = any(f"{stem}.txt: not " in each or f"{stem}.json: not " in each
                        for each in notes)  # fmt: skip
            assert captions == [] if named else captions == [WORDS[name]]
        assert any("not UTF-8" in each for each in notes)
    else:
        assert "not UTF-8" in malformed.one_line(path)


CSV = "video,prompt,fps\n"
ROWS = {
    # file, its text, the clips with captions, what is noted (parts of it)
    "a quote that is never closed": (
        "metadata.csv", CSV + 'a.mp4,"A cat,25\nb.mp4,A dog,25\n', {"b.mp4": ["A dog"]},
        ["line 2: not CSV: a quote is not closed"],
    ),
    "a quote in the middle": (
        "metadata.csv", CSV + 'a.mp4,"A "big" cat",25\nb.mp4,A dog,25\n', {"b.mp4": ["A dog"]},
        ["line 2: not CSV"],
    ),
    "a quote that the next one closes": (
        "metadata.csv", CSV + 'a.mp4,"A cat,25\nb.mp4,A dog,25\nc.mp4,"Trees, tall",25\n',
        {"b.mp4": ["A dog"], "c.mp4": ["Trees, tall"]}, ["line 2: not CSV"],
    ),
    "rows swallowed by quotes that fit": (
        "metadata.csv", "video,prompt\na.mp4,\"A cat\nb.mp4,A dog\nc.mp4,so it said\"\n",
        {"a.mp4": ["A cat\nb.mp4,A dog\nc.mp4,so it said"]}, ["lines that look like rows"],
    ),
    "a comma without quotes": (
        "metadata.csv", CSV + "a.mp4,A cat, running,25\nb.mp4,A dog,25\n", {"b.mp4": ["A dog"]},
        ["line 2: 4 cells under a header of 3"],
    ),
    "a row that is short": (
        "metadata.csv", CSV + "a.mp4\nb.mp4,A dog,25\n", {"a.mp4": [], "b.mp4": ["A dog"]},
        ["1 cells under a header of 3"],
    ),
    "line ends in quotes": (
        "metadata.csv", CSV + '\n\na.mp4,"A cat\nand\r\na dog",25\n\n',
        {"a.mp4": ["A cat\nand\r\na dog"]}, [],
    ),
    "Excel's first line": (
        "metadata.csv", "sep=;\nvideo;prompt\na.mp4;A cat, running\n",
        {"a.mp4": ["A cat, running"]}, [],
    ),
    "a header in capitals and spaces": (
        "metadata.csv", " Video , Prompt\na.mp4,A cat\n", {"a.mp4": ["A cat"]}, [],
    ),
    "a row without a file": (
        "metadata.csv", CSV + ",A cat,25\n  ,A cat,25\nb.mp4,A dog,25\n", {"b.mp4": ["A dog"]},
        ["line 2: names no file", "line 3: names no file"],
    ),
    "names with spaces and backslashes": (
        "metadata.csv", CSV + " a.mp4 ,A cat,\nsub\\b.mp4,A dog,\n",
        {" a.mp4 ": ["A cat"], "sub\\b.mp4": ["A dog"]}, [],
    ),
    "figures that are none": (
        "metadata.csv", CSV + "a.mp4,A cat,25/1\nb.mp4,A dog,nan\nc.mp4,C,inf\nd.mp4,D,-25\n"
        "e.mp4,E,0\nf.mp4,F,1e999\ng.mp4,G,0x19\n",
        {f"{n}.mp4": [t] for n, t in zip("abcdefg", ["A cat", "A dog", *"CDEFG"], strict=True)},
        [f"fps: got '{each}', need a number above 0; left out"
         for each in ("25/1", "nan", "inf", "-25", "0", "1e999", "0x19")],
    ),
    "figures in JSON": (
        "metadata.json",
        '[{"path": "a.mp4", "cap": "A cat", "fps": Infinity, "height": -1, "width": NaN, '
        f'"num_frames": 1{"0" * 400}}}, {{"path": "b.mp4", "cap": "A dog", "fps": true, '
        '"height": [1], "width": {}, "num_frames": "x"}]',
        {"a.mp4": ["A cat"], "b.mp4": ["A dog"]},
        ["fps: got inf", "height: got -1", "width: got nan", "num_frames: got 1000",
         "fps: got True", "height: got [1]", "width: got {}", "num_frames: got 'x'"],
    ),
    "a list with null": (
        "metadata.json", '[{"video": "a.mp4", "cap": [null, "A cat"]}]', {"a.mp4": ["A cat"]},
        ["cap: item 1 is null, need text"],
    ),
    "captions of every type": (
        "metadata.json",
        json.dumps([{"video": f"{n}.mp4", "caption": each} for n, each in enumerate(
            [5, 0.5, True, None, [], {}, [["A"]], [1, "B"], {"long": "C"}, "", "  ", ["D", "E"]])]),
        {f"{n}.mp4": texts for n, texts in enumerate(
            [[], [], [], [], [], [], [], ["B"], ["C"], [], [], ["D", "E"]])},
        ["caption: got 5", "caption: got 0.5", "caption: got true", "item 1 is a list",
         "item 1 is 1"],
    ),
    "half a character": (
        "metadata.json", '[{"video": "a.mp4", "caption": "A \\ud83d"}, '
        '{"video": "\\ud83d.mp4", "caption": "B"}]', {"a.mp4": [], "\ud83d.mp4": ["B"]},
        ["holds half a character"],
    ),
    "names of every type": (
        "metadata.json",
        json.dumps([{"video": each, "caption": "A"} for each in
                    ["a.mp4", 5, ["b.mp4"], {"bytes": "x"}, {"path": "c.mp4"}, "d\0.mp4", None,
                     "https://host/e.mp4", True]]),
        {"a.mp4": ["A"], "c.mp4": ["A"]},
        ["row 2: video: got 5", "row 3: video: got ['b.mp4']", "row 4: video: the video is stored",
         "row 6: video: the name of the file holds NUL", "row 7: names no file",
         "row 8: video: is a URL", "row 9: video: got True"],
    ),
    "rows that are no objects": (
        "metadata.json", '[{"video": "a.mp4", "caption": "A"}, null, 5, "b.mp4", ["c.mp4"], {}]',
        {"a.mp4": ["A"]},
        ["row 2: got 'NoneType'", "row 3: got '5'", "row 4: got 'b.mp4'", "row 5: got 'list'",
         "row 6: names no file"],
    ),
    "keys that come twice": (
        "metadata.json", '[{"video": "a.mp4", "caption": "A", "caption": "B"}]', {"a.mp4": ["B"]},
        ["caption comes twice, the last one counts"],
    ),
    "a list below another key": (
        "metadata.json", '{"version": 1, "clips": [{"video": "a.mp4", "text": "A"}]}',
        {"a.mp4": ["A"]}, [],
    ),
    "names to captions, and a key that is none": (
        "metadata.json", '{"a.mp4": "A", "b.mp4": {"caption": "B", "fps": 25}, "version": 1}',
        {"a.mp4": ["A"], "b.mp4": ["B"]}, ["key 'version': is no video or image"],
    ),
    "lines that are called .json": (
        "metadata.json", '{"video": "a.mp4", "text": "A"}\n{"video": "b.mp4", "text": "B"}\n',
        {"a.mp4": ["A"], "b.mp4": ["B"]}, [],
    ),
    "a list that is called .jsonl": (
        "metadata.jsonl", '[{"video": "a.mp4", "text": "A"},\n {"video": "b.mp4", "text": "B"}]',
        {"a.mp4": ["A"], "b.mp4": ["B"]}, [],
    ),
    "broken lines": (
        "metadata.jsonl",
        '{"video": "a.mp4", "text": "A"}\n{"video": "b.mp4", \n\n[]\nnull\n'
        + "[" * 100_000 + "\n" + '{"n": ' + "9" * 5000 + '}\n{"video": "z.mp4", "text": "Z"}',
        {"a.mp4": ["A"], "z.mp4": ["Z"]},
        ["line 2: not JSON", "line 4: got 'list'", "line 5: got 'NoneType'",
         "line 6: not readable: JSON nested too deeply", "line 7: not readable"],
    ),
    "a captions.json with texts": (
        "captions.json", '{"a.mp4": "A cat", "b.mp4": ["A", "B"], "gone.mp4": "C", "c.mp4": 5}',
        {"a.mp4": ["A cat"], "b.mp4": ["A", "B"], "c.mp4": []},
        ["1 of its names are no files: gone.mp4", "captions.json: got 5, need text"],
    ),
    "a captions.json with a name twice": (
        "captions.json", '{"a.mp4": "A", "a.mp4": "B", "b.mp4": "C", "c.mp4": "D"}',
        {"a.mp4": ["B"], "b.mp4": ["C"], "c.mp4": ["D"]}, ["a.mp4 come more than once"],
    ),
    "two lists with empty lines": (
        "videos.txt", "a.mp4\n\nb.mp4\n", {"a.mp4": ["A"], "b.mp4": ["B"]}, [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", ROWS)
def test_a_bad_cell_costs_its_row_which_is_named(tmp_path, fault):
    name, text, expected, parts = ROWS[fault]
    malformed.files(tmp_path, ["a.mp4", "b.mp4", "c.mp4"] if name == "captions.json" else [])
    if "backslashes" in fault:
        malformed.files(tmp_path, ["a.mp4", "sub/b.mp4"])
    (tmp_path / "prompts.txt").write_text("A\n\nB\n", encoding="utf-8")
    (tmp_path / name).write_bytes(text.encode())
    clips, notes, _ = malformed.listing(tmp_path / name if name != "captions.json" else tmp_path)
    if "backslashes" in fault:
        assert all(clip.path.exists() for clip in read_layout(tmp_path).clips)
        clips = {"sub\\b.mp4" if "b.mp4" in key else key: value for key, value in clips.items()}
    assert clips == expected
    for part in parts:
        assert sum(part in each for each in notes) == 1, (part, notes)
    if not parts:
        assert [each for each in notes if "not read, there too" not in each] == []


POINTED = "is a git-LFS pointer for 307 MB"
INDEXES = {
    "empty": ("metadata.csv", b"", "none of the columns"),
    "a header alone": ("metadata.csv", b"video,prompt\n", "lists no clip"),
    "no header": ("metadata.csv", b"a.mp4,A cat\n", "none of the columns video"),
    "no column of files": ("metadata.csv", b"film,words\na.mp4,A\n", "it has film, words"),
    "a column twice": ("metadata.csv", b"video,prompt,prompt\na.mp4,A,B\n", "comes twice"),
    "zeros": ("metadata.csv", bytes(1000), "none of the columns"),
    "empty JSON": ("metadata.json", b"", "not JSON"),
    "cut off JSON": ("metadata.json", b'[{"video": "a.mp4"}', "not JSON"),
    "a number": ("metadata.json", b"5", "need a list of objects"),
    "an empty list": ("metadata.json", b"[]", "lists no clip"),
    "an object": ("metadata.json", b'{"version": 1}', "need a list of objects"),
    "nested deeply": ("metadata.json", b"[" * 200_000, "nested too deeply"),
    "a long number": ("metadata.json", b'[{"n": ' + b"1" * 5000 + b"}]", "not readable"),
    "rows without files": ("metadata.jsonl", b'{"text": "A"}\n{"text": "B"}\n', "none of the"),
    "no JSON at all": ("metadata.jsonl", b"A cat\nA dog\n", "line 1: not JSON"),
    "no Parquet": ("metadata.parquet", b"PAR1", "not a readable Parquet file"),
    "empty Parquet": ("metadata.parquet", b"", "not a readable Parquet file"),
    "videos without captions": ("videos.txt", b"\n\n", "lists no clip"),
    "empty TOML": ("a.toml", b"", "neither"),
    "broken TOML": ("a.toml", b"[[datasets]\n", "not readable"),
    "a key twice": ("a.toml", b"[general]\na = 1\na = 2\n[[datasets]]\n", "not readable"),
    "one bracket": ("a.toml", b"[datasets]\nvideo_directory = '.'\n", "two brackets"),
    "no blocks": ("a.toml", b"datasets = []\n", "is empty"),
    "no folder": ("a.toml", b"[[datasets]]\nvideo_directory = 'gone'\n", "no such folder"),
    "a number as folder": ("a.toml", b"[[datasets]]\nvideo_directory = 5\n", "need a path"),
    "no key": ("a.toml", b"[[datasets]]\nbatch_size = 1\n", "none of the keys video_directory"),
    "no path": ("a.toml", b"[[directory]]\nnum_repeats = 1\n", "no key `path`"),
    "an ending that is none": (
        "a.toml", b"[[datasets]]\nvideo_directory = '.'\ncaption_extension = 1\n",
        "caption_extension",
    ),
    "no index": ("a.toml", b"[[datasets]]\nvideo_jsonl_file = 'gone.jsonl'\n", "no such file"),
    "TOML nested deeply": ("a.toml", b"a = " + b"[" * 100_000, "not readable"),
    "broken captions.json": ("captions.json", b'{"a.mp4": ', "not JSON"),
    "captions.json with a list": ("captions.json", b'["a.mp4"]', "need an object"),
    "no tar": ("a.tar", b"not a tar" * 1000, "not a readable tar"),
    "an empty tar": ("a.tar", b"", "not a readable tar"),
    "a tar of nothing": ("a.tar", bytes(10240), "holds no clip"),
    "a compressed tar": ("a.tar", b"\x1f\x8b\x08" + bytes(100), r"compressed (gzip)"),
    "a tar of git-LFS": ("a.tar", malformed.POINTER, POINTED),
    "a Parquet file of git-LFS": ("a.parquet", malformed.POINTER, POINTED),
    "an index of git-LFS": ("metadata.jsonl", malformed.POINTER, POINTED),
    "a table of git-LFS": ("metadata.csv", malformed.POINTER, POINTED),
    "settings of git-LFS": ("a.toml", malformed.POINTER, POINTED),
    "a huge header": ("a.tar", None, f"states {HEADER_BYTES + 1} bytes"),
    "a negative size": ("a.tar", None, "not a readable tar"),
}  # fmt: skip


@pytest.mark.parametrize("fault", INDEXES)
def test_a_file_that_cannot_be_read_as_a_whole_is_one_line(tmp_path, fault):
    name, data, part = INDEXES[fault]
    malformed.files(tmp_path, ["a.mp4"])
    if fault == "a huge header":
        data = malformed.tar_header("a.mp4", HEADER_BYTES + 1, tarfile.XHDTYPE)
    elif fault == "a negative size":
        data = malformed.tar_header("a.mp4", -512, tarfile.REGTYPE) + bytes(1024)
    (tmp_path / name).write_bytes(data)
    message = malformed.one_line(tmp_path if name == "captions.json" else tmp_path / name)
    assert part in message


def test_a_folder_is_read_with_the_folders_below_it(tmp_path):
    for name, text in (("a/c.mp4", "A"), ("b/c.mp4", "B"), ("UP.MP4", "C")):
        malformed.files(tmp_path, [name])
        malformed.sidecars(tmp_path, {name: text}, str.encode)
    (tmp_path / "UP.txt").rename(tmp_path / "UP.TXT")
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "stray.txt").write_text("no video")
    (tmp_path / "notes.docx").touch()
    (tmp_path / "x.mp4.part").touch()
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.txt")
    malformed.files(tmp_path, ["pipe.mp4"])
    read = read_layout(tmp_path)
    assert {clip.name: list(clip.captions) for clip in read.clips} == {
        "a/c.mp4": ["A"], "b/c.mp4": ["B"], "UP.MP4": ["C"], "gone.mp4": [], "pipe.mp4": [],
    }  # fmt: skip
    notes = " | ".join([*read.notes, *(note for clip in read.clips for note in clip.notes)])
    assert "1 caption files are not used" in notes
    assert "stray.txt" in notes
    assert "1 .docx, 1 .part" in notes
    assert "pipe.txt: is a pipe" in notes


def test_trainers_that_read_one_folder_say_what_lies_below(tmp_path):
    malformed.files(tmp_path, ["a.mp4", "sub/b.mp4"])
    path = malformed.musubi(tmp_path, {"a.mp4": "A"}, str.encode)
    clips, notes, _ = malformed.listing(path)
    assert clips == {"a.mp4": ["A"]}
    assert any("1 videos and images in folders below it are not read" in each for each in notes)


def test_two_lists_of_different_length_are_refused(tmp_path):
    (tmp_path / "videos.txt").write_text("a.mp4\nb.mp4\n")
    (tmp_path / "prompts.txt").write_text("A cat\nthat runs\nA dog\n")
    assert "videos.txt has 2 lines, prompts.txt 3" in malformed.one_line(tmp_path)


def test_indexes_that_are_not_read_are_named(tmp_path):
    (tmp_path / "metadata.csv").write_text("video,prompt\na.mp4,A\n")
    (tmp_path / "metadata.jsonl").write_text('{"video": "a.mp4", "text": "B"}\n')
    clips, notes, _ = malformed.listing(tmp_path)
    assert clips == {"a.mp4": ["B"]}
    assert notes == ["not read, there too: metadata.csv"]


def test_many_bad_rows_are_read_in_a_moment(tmp_path):
    rows = ['a.mp4,"A cat'] * 5_000
    (tmp_path / "metadata.csv").write_text("video,prompt\n" + "\n".join([*rows, "z.mp4,Z"]))
    clips, _, failed = malformed.listing(tmp_path)
    assert (clips, failed) == ({"z.mp4": ["Z"]}, 5_000)


def test_csv_limits_of_the_process_are_left_alone(tmp_path):
    before = csv.field_size_limit()
    (tmp_path / "metadata.csv").write_text("video,prompt\na.mp4,A\n")
    read_layout(tmp_path)
    assert csv.field_size_limit() == before


def test_a_captions_json_of_something_else_hides_no_text(tmp_path):
    malformed.files(tmp_path, ["a.mp4"])
    malformed.sidecars(tmp_path, {"a.mp4": "A"}, str.encode)
    (tmp_path / "captions.json").write_text('{"images": [], "annotations": []}')
    clips, notes, _ = malformed.listing(tmp_path)
    assert clips == {"a.mp4": ["A"]}
    assert any("names no video beside it" in each for each in notes)


def test_marks_of_joined_files_belong_to_no_name(tmp_path):
    malformed.files(tmp_path, ["a.mp4", "b.mp4"])
    lines = [json.dumps({"video": f"{name}.mp4", "text": name}) for name in "ab"]
    (tmp_path / "metadata.jsonl").write_text("\ufeff".join(f"{line}\n" for line in lines))
    assert malformed.listing(tmp_path)[0] == {"a.mp4": ["a"], "b.mp4": ["b"]}
    (tmp_path / "metadata.jsonl").unlink()
    (tmp_path / "metadata.csv").write_text("video,prompt\na.mp4,A\n\ufeffb.mp4,B\n")
    assert all(clip.path.exists() for clip in read_layout(tmp_path).clips)
    (tmp_path / "metadata.csv").unlink()
    (tmp_path / "videos.txt").write_text("a.mp4\n\ufeff b.mp4 \n")
    assert all(clip.path.exists() for clip in read_layout(tmp_path).clips)


def test_a_text_beside_a_row_without_a_caption_is_named(tmp_path):
    malformed.files(tmp_path, ["a.mp4", "a.txt"])
    (tmp_path / "metadata.csv").write_text("video,prompt\na.mp4,\n/,A\n.,B\n..,C\n")
    notes = [list(clip.notes) for clip in read_layout(tmp_path).clips]
    assert notes == [["a.txt beside it is not read, metadata.csv counts"], [], [], []]


def test_names_that_no_file_system_takes_cost_their_rows(tmp_path):
    malformed.files(tmp_path, ["a.mp4"])
    index = tmp_path / "videos.jsonl"
    names = ["a.mp4", "x" * 5000, "\ud83d.mp4", "a.mp4/b.mp4", "file:///a%00b.mp4"]
    index.write_text("".join(json.dumps({"video_path": n, "caption": "A"}) + "\n" for n in names))
    (tmp_path / "m.toml").write_text(f"[[datasets]]\nvideo_jsonl_file = {json.dumps(str(index))}\n")
    read = read_layout(tmp_path / "m.toml")
    assert [clip.name for clip in read.clips] == names
    assert read.clips[0].path == tmp_path / "a.mp4"


def test_a_json_beside_a_video_hides_no_text_and_is_read_where_there_is_none(tmp_path):
    texts = {"h": '{"id": "x"}', "k": '["A cat"]', "q": "null", "r": '{"caption": ""}', "s": "{",
             "c": '{"caption": "A cat"}',
             "d": '{"captions": {"long": "A", "short": "B"}}'}  # fmt: skip
    for name, text in texts.items():
        malformed.files(tmp_path, [f"{name}.mp4"])
        (tmp_path / f"{name}.json").write_text(text)
        (tmp_path / f"{name}.txt").write_text("Words")
    clips, notes, _ = malformed.listing(tmp_path)
    assert set(map(tuple, clips.values())) == {("Words",)}
    assert "files that are neither video nor image are passed over: 7 .json" in notes
    for name in texts:
        (tmp_path / f"{name}.txt").unlink()
    clips, notes, _ = malformed.listing(tmp_path)
    assert clips == {**{f"{name}.mp4": [] for name in "hkqrs"}, "c.mp4": ["A cat"],
                     "d.mp4": ["A", "B"]}  # fmt: skip
    assert "caption of c.json, most trainers read .txt alone" in notes
    assert "h.json: holds no caption" in notes
    assert sum("s.json: not JSON" in each for each in notes) == 1
