"""Ask for an answer by JSON schema in words, and find the object in what comes back.

For models whose server or library cannot constrain the answer to a schema.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

_THOUGHTS = re.compile(r"^.*</think>", re.DOTALL)
# a brace that begins an object, other than a brace in prose such as "{name}"
_OBJECT = re.compile(r'\{\s*["}]')


def with_schema(text: str, schema: Mapping[str, Any]) -> str:
    """A prompt that also asks for one JSON object that matches the schema."""
    return (
        f"{text.rstrip()}\n\nAnswer with one JSON object and nothing else: no code fence, no words "
        "before or after it. It must match this JSON schema:\n"
        f"{json.dumps(schema, ensure_ascii=False, separators=(',', ':'))}"
    )


def without_thoughts(text: str) -> str:
    """An answer without what a reasoning model writes before `</think>`, and blanks around it."""
    return _THOUGHTS.sub("", text).strip()


def json_object(text: str) -> dict[str, Any]:
    """The JSON object in an answer, which may have a code fence or prose around it.

    Objects inside a broken object are not taken for the answer. What a reasoning model writes
    before `</think>` is left out.

    Raises:
        ValueError: no object, a broken one, or several that differ; says which, in a few words.
    """
    text = without_thoughts(text)
    if not text:
        raise ValueError("the answer is empty")
    objects: list[dict[str, Any]] = []
    end = 0
    while match := _OBJECT.search(text, end):
        try:
            found, end = _DECODER.raw_decode(text, match.start())
        except json.JSONDecodeError as error:
            if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
                raise ValueError("the JSON object is cut off") from None
            raise ValueError(
                f"the JSON object is broken at character {error.pos - match.start()}: {error.msg}"
            ) from None
        except RecursionError:
            raise ValueError("the JSON object is nested too deeply") from None
        if found not in objects:
            objects.append(found)
    if not objects:
        raise ValueError("the answer has no JSON object")
    if len(objects) > 1:
        raise ValueError(f"the answer has {len(objects)} JSON objects that differ")
    return objects[0]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, whose keys must differ: the json module keeps the last in silence."""
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the JSON object has the key {twice!r} twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"the JSON object has {name}, which is not JSON")


# control characters in strings are let through: models write line breaks as they are
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, strict=False)
