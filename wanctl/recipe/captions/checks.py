"""Keys of `caption.checks`: what a model's caption is held against."""

from pydantic import Field

from wanctl.recipe.section import Section, Source


class CaptionChecksSection(Section):
    """Optional checks; those that cost nothing always run."""

    similarity: Source | None = Field(
        default=None,
        description="CLIP model (folder of transformers or open_clip, or hub id of open_clip) for "
        "the similarity of English captions and frames; null: not computed",
    )
    min_similarity: float = Field(
        default=0.15, ge=-1, le=1, description="cosine below which a caption is flagged"
    )
    detector: Source | None = Field(
        default=None,
        description="object detector (folder or hub id, transformers) that counts people and "
        "objects; null: counts are not checked",
    )
