"""A recipe whose `sample` section differs in some values, as for one line of a file of prompts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from wanctl.recipe import yaml
from wanctl.recipe.explain import explain
from wanctl.recipe.generation.sampling import SampleSection
from wanctl.recipe.load import LoadedRecipe, Place, Problem, RecipeError
from wanctl.recipe.values import value_problems


def with_sample_values(
    loaded: LoadedRecipe, values: Mapping[str, Any], place: Place
) -> LoadedRecipe:
    """The recipe with some keys of `sample` replaced.

    Args:
        loaded: the recipe.
        values: key of the section, dotted where nested -> value.
        place: where the values stand, for messages.

    Raises:
        RecipeError: every value that its key does not take; paths start below `sample`.
    """
    problems = [
        Problem(place, ".".join((key, *keys)), message)
        for key, value in values.items()
        for keys, message in value_problems(value)
    ]
    if problems:
        raise RecipeError(problems)
    section = loaded.recipe.sample.model_dump()
    for key, value in values.items():
        *outer, last = key.split(".")
        into = section
        for name in outer:
            inner = into.get(name)
            into[name] = dict(inner) if isinstance(inner, dict) else {}
            into = into[name]
        into[last] = value
    try:
        sample = SampleSection.model_validate(section)
    except ValidationError as error:
        found = explain(error, SampleSection)
        raise RecipeError([Problem(place, ".".join(keys), text) for keys, text in found]) from None
    places = {("sample", *key.split(".")): place for key in values}
    recipe = loaded.recipe.model_copy(update={"sample": sample})
    return replace(loaded, recipe=recipe, places={**loaded.places, **places})


def parse_cell(cell: str) -> tuple[Any, list[str]]:
    """A CSV cell as YAML, and what is wrong with it."""
    document = yaml.parse(cell)
    return document.data, [mistake.message for mistake in document.mistakes]
