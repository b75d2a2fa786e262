import itertools
import math
import time

import pytest

from wanctl.recipe.yaml import dump, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16:9", "16:9"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("FALSE", False),
        ("1e-4", 1e-4),
        ("1.5E3", 1500.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("010", 10),
        ("0x1f", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("2026-01-31", "2026-01-31"),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("!!str 5", "5"),
        ("1.2.3", "1.2.3"),
        ("<<", "<<"),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    document = parse(f"key: {text}")
    assert document.mistakes == []
    assert document.data == {"key": value}
    assert type(document.data["key"]) is type(value)


def test_every_key_and_item_has_its_line():
    document = parse("a:\n  b: 1\n  c:\n  - x\n  - {y: 2}\nd: 3\n")
    assert document.lines[("a", "b")] == 2
    assert document.lines[("a", "c", "0")] == 4
    assert document.lines[("a", "c", "1", "y")] == 5
    assert document.lines[("d",)] == 6


def test_duplicate_keys_are_mistakes_and_the_first_counts():
    document = parse("a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert document.data == {"a": 1, "b": {"c": 1}}
    assert [(m.line, ".".join(m.path)) for m in document.mistakes] == [(2, "b.c"), (3, "a")]
    assert "first in line 1" in document.mistakes[1].message


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a:\n\t- b", 2, "indent with spaces"),
        ("a: b: c", 1, "quotes"),
        ("a: [1,", 1, "not YAML"),
        ("a: *b", 1, "undefined alias"),
        ("- 1\n---\n- 2", 2, "single document"),
        ("x: 1\ny: \x07", 2, "unacceptable character"),
        ("a: !!python/object:os.system {}", 1, "not allowed"),
        ("a: !mine b", 1, "not allowed"),
        ("1: x\n~: y", 2, "must be a name"),
        ("[" * 3000, 1, "nested too deeply"),
        ("&a [*a]", 1, "nested too deeply"),
        ("a: !!int x", 1, "not a int"),
    ],
)
def test_mistakes_have_a_line(text, line, part):
    mistakes = parse(text).mistakes
    assert [mistake.line for mistake in mistakes] == [line]
    assert part in mistakes[0].message


def test_nested_aliases_do_not_unfold_without_end():
    rings = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9))
    document = parse(f"a0: &a0 [x]\n{rings}")
    assert "more than" in document.mistakes[0].message


def test_dump_reads_back_equal():
    words = [
        "no",
        "1e-4",
        "16:9",
        "010",
        "~",
        "",
        ".5",
        "0o7",
        "=",
        "<<",
        "x: y",
        "# a",
        " a",
        "中",
    ]
    data = {
        "words": [*words, "two\nlines"],
        "numbers": [1, -2, 1e-5, 1e22, 0.1, math.inf],
        "rest": {"none": None, "yes": True, "empty": {}, "list": []},
    }
    assert parse(dump(data)).data == data


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in itertools.pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (LAUGHS, "more than 20000 values"),
        ("".join(f"k{n}: 1\n" for n in range(300_000)), "more than 20000 values"),
        ("".join(f"k{n}: 1\n" for n in range(1_000_000)), "a recipe has at most"),
        ("{" + ",".join(f"k{n}: 1" for n in range(100_000)) + "}", "more than 20000 values"),
        ("-\n" * 300_000, "more than 20000 values"),
        ("[" * 100_000, "nested too deeply"),
        ("{" * 100_000, "nested too deeply"),
        ("- " * 100_000, "nested too deeply"),
        ("? " * 100_000, "nested too deeply"),
        ("".join("  " * n + f"k{n}:\n" for n in range(500)), "nested too deeply"),
        ("a: &a {b: *a}", "nested too deeply"),
        ("a: " + "9" * 5000, "has too many digits"),
    ],
)
def test_texts_that_no_person_wrote_are_one_short_mistake_at_once(text, part):
    started = time.process_time()
    (mistake,) = parse(text).mistakes
    assert part in mistake.message
    assert len(mistake.message) < 200
    # a million keys took half a minute while they were counted afterwards
    assert time.process_time() - started < 8


def test_fifty_levels_and_twenty_thousand_values_are_read():
    assert parse("[" * 40 + "]" * 40).mistakes == []
    document = parse("".join(f"k{n}: 1\n" for n in range(9_000)))
    assert document.mistakes == []
    assert len(document.data) == 9_000
