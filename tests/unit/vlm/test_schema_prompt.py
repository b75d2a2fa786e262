import json

import pytest

from wanctl.vlm.schema_prompt import json_object, with_schema

SCHEMA = {"type": "object", "properties": {"scene": {"type": "string", "enum": ["海"]}}}


def test_the_prompt_keeps_the_question_and_holds_the_whole_schema():
    prompt = with_schema("What is shown?\n", SCHEMA)
    assert prompt.startswith("What is shown?\n\n")
    assert json_object(prompt.partition("JSON schema:")[2]) == SCHEMA
    assert "海" in prompt


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": 1}}',
        '```json\n{"a": {"b": 1}}\n```',
        'Sure, {name}! Here it is:\n{ "a": {"b": 1} }\nAnything else?',
        '<think>maybe {"a": 2}?</think>{"a": {"b": 1}}',
        '{"a": {"b": 1}}\n{"a": {"b": 1}}',
        json.dumps({"a": {"b": 1}}, indent=2),
    ],
)
def test_an_object_is_found_in_what_stands_around_it(text):
    assert json_object(text) == {"a": {"b": 1}}


def test_a_line_break_inside_a_string_is_kept():
    assert json_object('{"a": "x\ny"}') == {"a": "x\ny"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  ", "empty"),
        ("I cannot {help} with that.", "no JSON object"),
        ('{"a": {"b": 1}, "c": ', "cut off"),
        ('{"a": {"b": 1}, "c": "tw', "cut off"),
        ('{"a": {"b": 1}', "cut off"),
        ('{"a": {"b": 1},, "c": 1}', "broken at character 15"),
        ('{"a": 1} or {"a": 2}', "2 JSON objects that differ"),
        ('{"a": 1, "a": 2}', "'a' twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": ' * 100_000, "nested too deeply|cut off"),
    ],
)
def test_what_is_no_single_whole_object_is_refused_with_the_reason(text, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        json_object(text)
    assert "\n" not in str(caught.value)
