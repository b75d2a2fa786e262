"""The base of every section of a recipe, and the types that several sections use."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape, latent_shape
from wanctl.path_names import path_problem, plain_name, source_problem


class Section(BaseModel):
    """A frozen model in which a key that is not a field is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `steps: true`, which Python takes for one step."""
        annotation = str(cls.model_fields[info.field_name or ""].annotation)
        each = value if isinstance(value, list | tuple) else [value]
        if "bool" not in annotation and re.search(r"\b(int|float)\b", annotation):
            for item in each:
                if isinstance(item, bool):
                    raise ValueError(f"got {str(item).lower()}; must be a number")
        return value


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


# Bounds of figures, beyond which FFmpeg, torch, the kernel or the memory fail in the middle of a
# run: a rate of 1e-9 has no time base, a timeout of 1e300 s no clock, a billion workers no memory.
Count = Annotated[int, Field(gt=0, le=2**31 - 1)]
"""How many: a whole number from 1."""
Steps = Annotated[int, Field(gt=0, le=10_000)]
"""Solver steps."""
Seconds = Annotated[float, Field(ge=0.01, le=1e7)]
"""A duration: a hundredth of a second to 115 days."""
Side = Annotated[int, Field(gt=0, le=16_384)]
"""Pixels; H.264 has no larger frame."""
FrameCount = Annotated[int, Field(gt=0, le=1_000_001), AfterValidator(_size_rule("frames"))]
"""4n+1 frames."""
Height = Annotated[Side, AfterValidator(_size_rule("height"))]
"""Pixels, a multiple of 16."""
Width = Annotated[Side, AfterValidator(_size_rule("width"))]
"""Pixels, a multiple of 16."""
PlainName = Annotated[str, AfterValidator(plain_name)]
"""A name that becomes part of a path."""
LocalPath = Annotated[Path, BeforeValidator(_checked(path_problem))]
"""A file or folder on a disk."""
Source = Annotated[str, AfterValidator(_checked(source_problem))]
"""A path, a URL or a hub id."""
FrameRate = Annotated[float, Field(ge=0.1, le=1000)]
"""Frames per second. Outside these bounds a clip has no frames, or more than a disk holds."""

Finding = tuple[str, str]
"""Dotted recipe path and message, of a check that needs a table."""


def default_of(section: type[BaseModel], key: str) -> Any:
    """The default of a key."""
    return section.model_fields[key].default


class RaySection(Section):
    """Resources that `engine: ray` requests of the cluster."""

    address: str | None = Field(
        default=None,
        description="of a running cluster (`auto`, `ray://HOST:10001`); null: this machine only",
    )
    cpus: Count = Field(
        default=2, description="cores of one actor, which runs as many decoding processes"
    )
    gpus: float = Field(
        default=0.0,
        ge=0,
        le=1024,
        description="share of a GPU per actor; 0.25 puts four on one GPU",
    )
    actors: Count | None = Field(
        default=None, description="number of actors; null: as many as the cluster has resources for"
    )
    retries: int = Field(
        default=3,
        ge=0,
        le=1000,
        description="how often a part is repeated after its actor was lost",
    )
