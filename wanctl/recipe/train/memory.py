"""Keys of `train_dit.memory`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wanctl.recipe.section import ContradictionError, Count, Section


class MemorySection(Section):
    """What is recomputed or kept in host memory; no setting changes what is learned."""

    checkpointing: Literal["none", "pointwise", "selective", "full"] = Field(
        default="pointwise",
        description="what the backward pass computes again instead of keeping it: `pointwise`, "
        "norms, rotations and GELU, a few percent of a step for half of the activations; "
        "`selective`, the blocks but for their attentions; `full`, the blocks, a third more time "
        "for a tenth of the activations",
    )
    checkpoint_every: Count = Field(
        default=1,
        description="`selective` and `full` apply to one of so many blocks, the others are as "
        "`pointwise`",
    )
    offload_activations: bool = Field(
        default=False,
        description="keep what the backward pass needs in pinned host memory; with "
        "checkpointing: full these are the inputs of the blocks",
    )
    offload_optimizer: bool = Field(
        default=False,
        description="keep the optimizer's state in pinned host memory, 8 bytes per trained weight "
        "for adamw, and fetch it for some weights at a time",
    )
    stream_blocks: bool = Field(
        default=False,
        description="keep frozen blocks in pinned host memory and copy them to the GPU as they "
        "are needed; needs checkpointing: full or selective",
    )

    @model_validator(mode="after")
    def _what_is_copied_is_kept(self) -> Self:
        if self.offload_activations and self.checkpointing == "pointwise":
            raise ContradictionError(
                "offload_activations", "got true, but `checkpointing: pointwise` frees what would "
                "be copied; set checkpointing: full, selective or none",
            )  # fmt: skip
        return self

    @model_validator(mode="after")
    def _streamed_blocks_are_checkpointed(self) -> Self:
        whole = self.checkpointing in ("selective", "full") and self.checkpoint_every == 1
        if self.stream_blocks and not whole:
            raise ContradictionError(
                "stream_blocks", "got true, which needs each block checkpointed; set "
                "checkpointing: full and checkpoint_every: 1",
            )  # fmt: skip
        return self
