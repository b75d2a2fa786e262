"""Keys of `sample.camera`: the path of the camera, for models that read one."""

from pydantic import Field

from wanctl.recipe.section import Section, Source


class MoveSection(Section):
    """One move of the camera over the whole video."""

    move: str = Field(
        description="a row of MOVES: pan-left, tilt-up, roll-right, left, up, in, zoom-in, "
        "orbit-left, arc-right, crane-up, dolly-zoom-in, and their opposites"
    )
    speed: float = Field(default=1.0, ge=-100, le=100, description="factor of the move's amount")


class CameraSection(Section):
    """The camera's path: a file of poses, or moves."""

    path: Source | None = Field(
        default=None,
        description="a file of poses: lines of RealEstate10K, or `transforms.json` of Blender or "
        "COLMAP; its first pose is the start image's, its last one the last frame's",
    )
    moves: tuple[MoveSection, ...] = Field(
        default=(), description="moves that add up, instead of a file"
    )
