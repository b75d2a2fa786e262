"""The base of every section of a recipe, and the types that several sections use."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt

from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape, latent_shape
from wanctl.path_names import path_problem, plain_name, source_problem


class Section(BaseModel):
    """A frozen model in which a key that is not a field is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )


class ContradictionError(ValueError):
    """Keys of one section that are valid alone and not together; raised by model validators.

    Args:
        path: dotted, from the section on, of the key that is to be changed.
        message: what was got and what is allowed.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.keys = tuple(path.split("."))


def _size_rule(key: str) -> Callable[[int], int]:
    """The rule of `wanctl.model.shapes` for one side of a video, for VAEs of stride 8."""

    def check(value: int) -> int:
        try:
            latent_shape(PixelShape(1, 16, 16)._replace(**{key: value}))
        except UserError as error:
            raise ValueError(str(error).removeprefix(f"{key}: ")) from None
        return value

    return check


def _checked(problem: Callable[[str], str]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if isinstance(value, str) and (message := problem(value)):
            raise ValueError(message)
        return value

    return check


FrameCount = Annotated[PositiveInt, AfterValidator(_size_rule("frames"))]
"""4n+1 frames."""
Height = Annotated[PositiveInt, AfterValidator(_size_rule("height"))]
"""Pixels, a multiple of 16."""
Width = Annotated[PositiveInt, AfterValidator(_size_rule("width"))]
"""Pixels, a multiple of 16."""
PlainName = Annotated[str, AfterValidator(plain_name)]
"""A name that becomes part of a path."""
LocalPath = Annotated[Path, BeforeValidator(_checked(path_problem))]
"""A file or folder on a disk."""
Source = Annotated[str, AfterValidator(_checked(source_problem))]
"""A path, a URL or a hub id."""
FrameRate = Annotated[float, Field(ge=0.1, le=1000)]
"""Frames per second. Outside these bounds a clip has no frames, or more than a disk holds."""
