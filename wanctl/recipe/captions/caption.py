"""Keys of `caption`: who writes captions, what a model sees, which variants there are."""

from typing import Literal

from pydantic import Field

from wanctl.recipe.captions.chat_model import ChatModelSection
from wanctl.recipe.captions.checks import CaptionChecksSection
from wanctl.recipe.section import Count, FrameRate, LocalPath, RaySection, Section


class CaptionSection(Section):
    """Captioning backends and what they read."""

    backends: tuple[str, ...] = Field(
        default=("vlm", "sidecar", "template"),
        description="tried in this order for each clip: `vlm` (passed over where `model.model` is "
        "null), `sidecar`, `template`, an installed plug-in",
    )
    sidecar_dir: LocalPath | None = Field(
        default=None,
        description="folder with a/NAME.txt or a/NAME.json for a/NAME.mp4, flat where names are "
        "unique; null: beside the footage",
    )
    quote_text: Literal["append", "drop", "ignore"] = Field(
        default="append",
        description="if a plug-in's caption omits text that OCR read: append the quoted text, drop "
        "the caption, or ignore it",
    )
    model: ChatModelSection = ChatModelSection()
    text_model: ChatModelSection | None = Field(
        default=None,
        description="model that writes the variants from the structure alone; null: `model`",
    )
    fps: FrameRate = Field(default=3.0, description="frames a second that the model sees")
    max_frames: Count = Field(default=129, description="of a clip at most, spread evenly beyond")
    slow_fast: bool = Field(
        default=True,
        description="show every fourth frame in full and the others at a quarter of the pixels, "
        "where the backend takes frames of two sizes",
    )
    lengths: tuple[Literal["long", "medium", "short"], ...] = Field(
        default=("long", "medium", "short"), min_length=1
    )
    styles: tuple[Literal["formal", "informal", "poetic"], ...] = Field(
        default=("formal", "informal", "poetic"), min_length=1
    )
    languages: tuple[Literal["en", "zh"], ...] = Field(
        default=("en", "zh"),
        min_length=1,
        description="variants are called LENGTH-STYLE-LANGUAGE, e.g. `long-formal-en`",
    )
    motion: bool = Field(
        default=True,
        description="also `motion-LANGUAGE`: what moves and how, for image-to-video training",
    )
    retries: int = Field(
        default=2, ge=0, le=10, description="how often a caption that fails a check is asked again"
    )
    checks: CaptionChecksSection = CaptionChecksSection()
    memory_gb: float = Field(
        default=4.0,
        ge=0.1,
        le=100_000,
        description="frames that wait for the model or are being looked at, in this process; a "
        "clip of 129 frames has up to 0.08",
    )
    engine: str = Field(default="local", description="`local` or `ray`; both write the same tables")
    ray: RaySection = RaySection()
