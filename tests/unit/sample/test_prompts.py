"""Prompts, files of them, and the names of files made from them."""

import json

import pytest
import torch

from wanctl.recipe.load import RecipeError, load_recipe
from wanctl.recipe.schema import SampleSection
from wanctl.sample import prompts as prompt_files
from wanctl.sample.inputs import SINGLE_FILES
from wanctl.sample.prompts import PromptError, slug
from wanctl.sample.run import parse_cell, recipe_for_line, sample


def read_prompts(prompt):
    return prompt_files.read_prompts(prompt, SampleSection.model_fields, parse_cell)


def prompts(path):
    return [line.prompt for line in read_prompts(str(path))]


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_text_is_one_prompt():
    [line] = read_prompts("  a fox, running  ")
    assert (line.prompt, dict(line.values), line.file) == ("a fox, running", {}, None)


def test_a_file_gives_its_lines_without_blanks_comments_and_repeats(tmp_path):
    path = written(tmp_path, "many.txt", "\ufeffa fox\n\n  # later: a bear\n一只猫\r\na fox\n")
    assert prompts(path) == ["a fox", "一只猫"]


@pytest.mark.parametrize("content", ["", "\n \n", "# only a remark\n"])
def test_a_file_without_prompts_is_an_error(tmp_path, content):
    with pytest.raises(PromptError, match="holds no prompt"):
        read_prompts(str(written(tmp_path, "none.txt", content)))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("", "empty text"), (" \n", "empty text"), ("nowhere.txt", "no such file of prompts; put")],
)
def test_nothing_to_show_is_an_error(prompt, message):
    with pytest.raises(PromptError, match=message):
        read_prompts(prompt)


@pytest.mark.parametrize(
    "prompt",
    ["a monk who reads notes.txt", "an icon of readme.csv", "words " * 100 + "the end.txt"],
)
def test_a_sentence_with_the_suffix_of_a_file_is_a_prompt(prompt):
    [line] = read_prompts(prompt)
    assert (line.prompt, line.file) == (prompt, None)


@pytest.mark.parametrize("prompt", ["my prompts/many.txt", "many.txt", "./a b.jsonl"])
def test_what_looks_like_a_path_is_a_file(prompt):
    with pytest.raises(PromptError, match=r"no such file of prompts"):
        read_prompts(prompt)


def test_a_file_with_spaces_in_its_name_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "my prompts.txt", "a fox\n")
    assert prompts("my prompts.txt") == ["a fox"]


def test_a_folder_and_a_binary_are_no_prompt_files(tmp_path):
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfa\x00\x01")
    with pytest.raises(PromptError, match="is a folder; need a text file"):
        read_prompts(str(tmp_path / "folder.txt"))
    with pytest.raises(PromptError, match="not UTF-8"):
        read_prompts(str(tmp_path / "binary.jsonl"))


def test_objects_say_more_than_prompts(tmp_path):
    path = written(
        tmp_path,
        "many.jsonl",
        '{"prompt": "a fox", "seed": 3, "size": "96x64", "guide_scale": [3, 4]}\n'
        "\n"
        '{"prompt": "a bear", "vace": {"control": "grey", "extend": [0, 4]}, "image": "b.png"}\n'
        '{"prompt": "a fox", "size": "96x64", "guide_scale": [3, 4], "seed": 3}\n',
    )
    fox, bear = read_prompts(str(path))
    assert fox.values == {"seed": 3, "width": 96, "height": 64, "guide_scale": [3, 4]}
    assert (fox.file, fox.line) == (str(path), 1)
    assert bear.values == {
        "vace.control": "grey", "vace.extend": [0, 4], "image": str(tmp_path / "b.png")
    }  # fmt: skip
    assert bear.line == 3


def test_every_file_of_a_line_is_looked_for_beside_the_prompts(tmp_path):
    files = {key: f"{key}.file" for key in SINGLE_FILES}
    line = {"prompt": "a", **files, "camera": {"path": "poses.txt"}, "speech": {"start_s": 1}}
    [read] = read_prompts(str(written(tmp_path, "a.jsonl", json.dumps(line))))
    beside = {key: str(tmp_path / name) for key, name in files.items()}
    assert read.values == beside | {
        "camera.path": str(tmp_path / "poses.txt"),
        "speech.start_s": 1,
    }


def test_addresses_are_left_as_they_are(tmp_path):
    line = {"prompt": "a", "video": "https://host/a.mp4", "known_frames": {"0": "/b.png"}}
    [read] = read_prompts(str(written(tmp_path, "a.jsonl", json.dumps(line))))
    assert read.values == {"video": "https://host/a.mp4", "known_frames": {"0": "/b.png"}}


def test_a_table_has_a_column_per_key_and_empty_cells_say_nothing(tmp_path):
    path = written(
        tmp_path,
        "many.csv",
        "seed,prompt,size,negative_prompt,guide_scale,vace.scale\n"
        '3,"a fox, running",96x64,no,,0.5\n'
        ",a bear,,,4.5,\n"
        ",,,,,\n",
    )
    fox, bear = read_prompts(str(path))
    assert fox.prompt == "a fox, running"
    assert fox.values == {
        "seed": 3, "width": 96, "height": 64, "negative_prompt": "no", "vace.scale": 0.5
    }  # fmt: skip
    assert (bear.prompt, bear.values) == ("a bear", {"guide_scale": 4.5})
    assert (fox.line, bear.line) == (2, 3)


def test_the_same_in_all_three_kinds(tmp_path):
    kinds = {
        "a.txt": "a fox\na bear\n",
        "a.jsonl": '{"prompt": "a fox"}\n{"prompt": "a bear"}\n',
        "a.csv": "prompt\na fox\na bear\n",
    }
    for name, text in kinds.items():
        assert prompts(written(tmp_path, name, text)) == ["a fox", "a bear"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.jsonl",
            '{"prompt": "a", "sead": 3}',
            r"a\.jsonl:1: sead: no key named 'sead'; .*'seed'",
        ),
        ("a.jsonl", '{"prompt": "a", "grid": true}', "1: grid: holds for the whole run"),
        (
            "a.jsonl",
            '{"prompt": "a"}\n{"seed": 3}',
            "a.jsonl:2: got None; every line needs a prompt",
        ),
        ("a.jsonl", '{"prompt": "a"}\n{"seed": 3', "a.jsonl:2: not JSON"),
        ("a.jsonl", '["a"]', "a.jsonl:1: got .*; need an object"),
        ("a.jsonl", '{"prompt": "a", "size": "big"}', "a.jsonl:1: size: got 'big'; need width x"),
        ("a.csv", "seed,text\n3,a", "a.csv:1: the header has no column `prompt`"),
        ("a.csv", "prompt,seed\na,3,4", "a.csv:2: 3 cells under a header of 2"),
        ("a.csv", "prompt,sead\na,3", "a.csv:2: sead: no key named 'sead'"),
        ("a.csv", 'prompt\n"a', "a.csv:2: not CSV"),
        (
            "a.csv",
            'prompt,known_frames\nb,{0: a.png}\na,"{0: a.png, 0: b.png}"',
            r"a\.csv:3: known_frames: got \{0: a\.png, 0: b\.png\}; .*",
        ),
        ("a.csv", "prompt,guide_scale\na,[3", r"a\.csv:2: guide_scale: got \[3; "),
        ("a.csv", "prompt,seed\na,!secret 3", r"a\.csv:2: seed: got !secret 3; tag"),
    ],
)
def test_mistakes_name_file_and_line(tmp_path, name, text, message):
    with pytest.raises(PromptError, match=message):
        read_prompts(str(written(tmp_path, name, text)))


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path):
    lines = ['{"prompt": "a", "sead": 3}', '{"prompt": "b"}', '{"prompt": "c", "stps": 3}']
    with pytest.raises(PromptError) as caught:
        read_prompts(str(written(tmp_path, "a.jsonl", "\n".join(lines))))
    first, second = str(caught.value).splitlines()
    assert ":1: sead" in first
    assert ":3: stps" in second


def test_a_line_changes_the_recipe_for_itself_alone(tmp_path):
    loaded = load_recipe("tiny", ["sample.steps=9", "sample.vace.scale=0.5"])
    values = {"prompt": "a fox", "seed": 4, "vace": {"control": "grey"}, "references": ["x.png"]}
    path = written(tmp_path, "a.jsonl", json.dumps(values) + '\n{"prompt": "a bear"}\n')
    fox, bear = (recipe_for_line(loaded, line) for line in read_prompts(str(path)))
    section = fox.recipe.sample
    assert (section.seed, section.steps) == (4, 9)
    assert (section.vace.control, section.vace.scale) == ("grey", 0.5)
    assert section.references == (str(tmp_path / "x.png"),)
    assert str(fox.places["sample", "seed"]) == f"{path}:1"
    assert bear is loaded


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": "three"}, r"a\.jsonl:1: seed: got 'three'; must be a whole number"),
        ({"steps": -1}, r"a\.jsonl:1: steps: got -1; must be greater than 0"),
        ({"vace": {"contrl": "grey"}}, r"a\.jsonl:1: vace\.contrl: unknown key; .* 'control'"),
    ],
)
def test_a_value_that_its_key_does_not_take_names_file_and_line(tmp_path, values, message):
    path = written(tmp_path, "a.jsonl", json.dumps({"prompt": "a", **values}))
    [line] = read_prompts(str(path))
    with pytest.raises(PromptError, match=message):
        recipe_for_line(load_recipe("tiny"), line)


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


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c"])
def test_only_line_feed_and_carriage_return_end_a_line(tmp_path, separator):
    text = f"a fox{separator}in snow"
    kinds = {
        "a.txt": f"{text}\r\na bear\ra cat\n",
        "a.jsonl": json.dumps({"prompt": text}, ensure_ascii=False) + "\n"
        '{"prompt": "a bear"}\r\n{"prompt": "a cat"}\n',
        "a.csv": f'prompt\n"{text}"\na bear\r\na cat\n',
    }
    for name, content in kinds.items():
        path = tmp_path / name
        path.write_bytes(content.encode())
        assert prompts(path) == [text, "a bear", "a cat"], name


@pytest.mark.parametrize("name", ["UP.TXT", "Up.Jsonl", "UP.CSV"])
def test_endings_in_capitals_are_files_too(tmp_path, name):
    text = {"T": "a fox\n", "l": '{"prompt": "a fox"}\n', "V": "prompt\na fox\n"}[name[-1]]
    assert prompts(written(tmp_path, name, text)) == ["a fox"]


def test_a_blank_at_the_end_makes_a_prompt_of_the_name_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "many.txt", "a fox\n")
    for text in ("many.txt ", "a cat / reads notes.txt ", "nowhere.txt "):
        [line] = read_prompts(text)
        assert (line.prompt, line.file) == (text.strip(), None)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_files_of_other_unicode_encodings_are_read(tmp_path, encoding):
    path = tmp_path / "many.txt"
    text = "a fox\n一只猫\n" if encoding != "utf-16-le" else "a fox\na plain cat\n"
    path.write_bytes(text.encode(encoding))
    assert prompts(path) == text.splitlines()


@pytest.mark.parametrize("prompt", ["a\tcat\non a roof", "1+1=2", "?!", "🐈", "日本", "a\u202ecat"])
def test_texts_that_are_unusual_and_fine(prompt):
    [line] = read_prompts(prompt)
    assert line.prompt == prompt


def test_a_file_that_is_not_utf8_says_which_byte_and_what_to_do(tmp_path):
    (tmp_path / "many.txt").write_bytes("un café\n".encode("cp1252"))
    with pytest.raises(PromptError, match=r"many\.txt: not UTF-8 \(byte 0xe9 at 6\); .*iconv"):
        read_prompts(str(tmp_path / "many.txt"))


@pytest.mark.parametrize(
    ("seed", "repeat", "first", "last"),
    [(2**64 - 1, 1, 2**64 - 1, 2**64 - 1), (2**64 - 3, 3, 2**64 - 3, 2**64 - 1), (0, 2, 0, 1)],
)
def test_the_largest_seeds_are_used(tmp_path, seed, repeat, first, last, caplog):
    loaded = load_recipe("tiny", [f"sample.seed={seed}"])
    with caplog.at_level("INFO", "wanctl"):
        assert sample(loaded, "a fox", tmp_path, repeat, plan_only=True) == []
    for number in (first, last):
        torch.Generator().manual_seed(number)
        assert repeat == 1 or str(number) in caplog.text


@pytest.mark.parametrize("seed", [2**64 - 1, 2**64 - 2])
def test_repeats_past_the_largest_seed_are_refused_before_any_work(tmp_path, seed):
    loaded = load_recipe("tiny", [f"sample.seed={seed}"])
    with pytest.raises(
        PromptError, match=r"^--set: sample\.seed: got \d+; with --repeat 3 it"
    ) as e:
        sample(loaded, "a fox", tmp_path / "out", 3)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", ["18446744073709551616", "-9223372036854775809", "1.5", "1e30"])
def test_seeds_that_no_generator_takes(seed):
    with pytest.raises(RecipeError, match=r"^--set: sample\.seed: got "):
        load_recipe("tiny", [f"sample.seed={seed}"])


def test_a_negative_seed_is_random_and_fits_a_generator(tmp_path):
    for seed in (-1, -(2**63)):
        assert sample(load_recipe("tiny", [f"sample.seed={seed}"]), "a", tmp_path, 3,
                      plan_only=True) == []  # fmt: skip
