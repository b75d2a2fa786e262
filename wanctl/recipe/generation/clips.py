"""Keys of `sample.clips`: how a long video is divided into clips, for tasks that make one so."""

from pydantic import Field

from wanctl.recipe.section import Count, FrameCount, Section


class ClipsSection(Section):
    """A long video is a sequence of clips, each sampled given the last frames of the one before."""

    frames: FrameCount | None = Field(
        default=None, description="frames of a clip, 4n+1; null: as the model was trained"
    )
    overlap: Count | None = Field(
        default=None,
        description="last frames of a clip that the next one begins with; null: the task's",
    )
    match_colors: bool = Field(
        default=False,
        description="give each clip the mean and deviation of colours that the clip before has in "
        "their common frames, which removes a drift of colours over long videos",
    )
