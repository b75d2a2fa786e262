"""Keys of `train_dit.vace`: what a VACE model is trained on."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from wanctl.recipe.section import ContradictionError, Section

Weight = Annotated[float, Field(ge=0, le=1e9)]
Area = Annotated[float, Field(gt=0, lt=1)]


class WeightsSection(Section):
    """Relative probabilities, of which one at least is above 0."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        names = list(type(self).model_fields)
        if not any(getattr(self, name) for name in names):
            message = "all weights are 0; give at least one a weight above 0"
            raise ContradictionError(names[0], message)
        return self


class VaceKindsSection(WeightsSection):
    """Relative probabilities of the kinds of control; 0 leaves one out."""

    text: Weight = Field(default=0.5, description="nothing but text, and references where drawn")
    inpaint: Weight = Field(default=1.0, description="a moving region is generated anew")
    outpaint: Weight = Field(default=0.5, description="borders are added around the video")
    extension: Weight = Field(
        default=1.0,
        description="first, last, both or random frames or clips are kept (5 frames or more)",
    )
    grey: Weight = Field(default=0.5, description="colour is added to the grey video")
    scribble: Weight = Field(default=1.0, description="outlines on white are the control")
    flow: Weight = Field(
        default=0.5, description="colour-coded optical flow is the control (5 frames or more)"
    )
    layout: Weight = Field(
        default=0.5, description="moving boxes are the control: the subject's, and of other parts"
    )
    control_video: Weight = Field(
        default=0.0, description="a file of `control_videos` is the control, of clips that have one"
    )


class MaskShapesSection(WeightsSection):
    """Relative probabilities of the shapes of in-painting's masks; 0 leaves one out."""

    subject: Weight = Field(
        default=1.0,
        description="outline of the main subject, found by colour, motion and place and followed "
        "by optical flow; a blob, box, ellipse or strokes where nothing stands out",
    )
    box: Weight = Field(default=0.5, description="a rectangle")
    ellipse: Weight = Field(default=0.5, description="an ellipse")
    blob: Weight = Field(default=1.0, description="a closed wavy outline")
    strokes: Weight = Field(default=0.5, description="a thick wandering line")


class VaceTrainingSection(Section):
    """Training of VACE variants: controls, masks and references are drawn from each window."""

    kinds: VaceKindsSection = VaceKindsSection()
    composite: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="probability that a second kind is drawn with the first: a control inside a "
        "mask or in the frames that are added, in-painting with out-painting or extension",
    )
    references: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="share of the draws (`conditions.draws_per_window`) with reference images of "
        "the window: its subject, cut out or with what is around it, then parts and whole frames",
    )
    max_references: int = Field(
        default=3, ge=1, le=16, description="most reference images of one draw"
    )
    mask_shapes: MaskShapesSection = MaskShapesSection()
    mask_area: tuple[Area, Area] = Field(
        default=(0.03, 0.4),
        description="least and most area of a mask's shape as a share of the frame, before it is "
        "made a hull or a box or grows, as every second one does by 3 to 25 % of its longer side",
    )

    control_videos: tuple[str, ...] = Field(
        default=(),
        description="files of a clip's control videos, e.g. of depth or pose, with {clip} for its "
        "id: `depth/{clip}.mp4`; each has the frames of the clip as `wanctl data export` writes "
        "it, in any size; of several one is drawn",
    )

    @model_validator(mode="after")
    def _control_videos(self) -> Self:
        if self.kinds.control_video and not self.control_videos:
            message = "got none, and kinds.control_video is above 0; name files: [depth/{clip}.mp4]"
            raise ContradictionError("control_videos", message)
        if self.control_videos and not self.kinds.control_video:
            message = "got 0, and control_videos are named; give it a weight, or leave them out"
            raise ContradictionError("kinds.control_video", message)
        for number, pattern in enumerate(self.control_videos):
            if "{clip}" not in pattern:
                message = f"got {pattern!r}; must hold {{clip}}, which stands for a clip's id"
                raise ContradictionError(f"control_videos.{number}", message)
        return self

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        least, most = self.mask_area
        if least > most:
            message = f"got [{least:g}, {most:g}]; the first number must not be the larger one"
            raise ContradictionError("mask_area", message)
        return self
