"""Pydantic's errors as messages: what was got, what is allowed, the nearest name."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wanctl.recipe.section import ContradictionError

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text (put quotes around it)",
    "path_type": "a path",
    "model_type": "a section: keys with values",
    "dict_type": "a section: keys with values",
    "tuple_type": "a list",
    "list_type": "a list",
}


def explain(
    error: ValidationError, model: type[BaseModel]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield one (path of keys, message) per problem.

    Args:
        error: raised by validating `model`.
        model: the model at the top, whose fields give the allowed names.
    """
    details = error.errors()
    parents = {each["loc"][:n] for each in details for n in range(len(each["loc"]))}
    for detail in details:
        # pydantic reports a list with a bad item as too short too
        if detail["type"] == "too_short" and detail["loc"] in parents:
            continue
        where = detail["loc"]
        if detail["type"] == "missing" and where and isinstance(where[-1], int):
            # of a list that is too short, pydantic reports every item that is not there
            length = 1 + max(
                int(each["loc"][-1]) for each in details if each["loc"][:-1] == where[:-1]
            )
            if where[-1] == length - 1:
                yield _names(where[:-1]), f"got {_short(detail['input'])}; must hold {length} items"
            continue
        keys = _names(where)
        raised = detail.get("ctx", {}).get("error")
        if isinstance(raised, ContradictionError):
            keys += raised.keys
        yield keys, _message(detail, keys, model)


def _names(location: tuple[int | str, ...]) -> tuple[str, ...]:
    """The path of a value; pydantic adds `[key]` where the key itself is wrong."""
    return tuple(str(key) for key in location if key != "[key]")


def _message(detail: ErrorDetails, keys: tuple[str, ...], model: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(keys[-1], _section(model, keys[:-1]))
    if kind == "missing":
        return "this key is missing and has no default"
    if kind == "value_error":
        return str(context["error"])
    got = f"got {_short(detail['input'])}"
    if kind == "literal_error":
        return f"{got}; allowed are {context['expected']}" + _near(detail["input"], context)
    if kind == "too_short":
        return f"{got}; must hold {context['min_length']} or more"
    if kind == "tuple_type" and isinstance(detail["input"], str | int | float):
        return f"{got}; must be a list, e.g. [{detail['input']}]"
    if kind in _EXPECTED:
        return f"{got}; must be {_EXPECTED[kind]}"
    message = detail["msg"].replace("Input should be", "must be")
    return f"{got}; {message[:1].lower()}{message[1:]}"


def _section(model: type[BaseModel], keys: tuple[str, ...]) -> type[BaseModel] | None:
    """The model at a path of keys; list positions are skipped."""
    at: type[BaseModel] | None = model
    for key in keys:
        if at is None or key.isdecimal():
            continue
        info = at.model_fields.get(key)
        at = _model_in(info.annotation) if info else None
    return at


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation names: `X`, `X | None`, `tuple[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)


def _unknown_key(key: str, section: type[BaseModel] | None) -> str:
    if section is None:
        return "unknown key"
    names = sorted(section.model_fields)
    near = get_close_matches(key, names, n=1)
    return "unknown key; " + (
        f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    )


def _near(got: Any, context: Mapping[str, Any]) -> str:
    words = [word for word in str(context["expected"]).split("'") if word.strip(" ,or")]
    near = get_close_matches(str(got), words, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _short(value: Any) -> str:
    shown = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    shown = "nothing" if value is None else shown
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
