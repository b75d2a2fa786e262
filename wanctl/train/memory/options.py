"""Settings of memory; the fields are those of `train_dit.memory`."""

from dataclasses import dataclass

CHECKPOINTING = ("none", "pointwise", "selective", "full")


@dataclass(frozen=True)
class MemoryOptions:
    """What is recomputed and what is kept in host memory.

    Attributes:
        checkpointing: a row of CHECKPOINTING.
        checkpoint_every: of so many blocks one is checkpointed; the others are as `pointwise`.
        offload_activations: keep what the backward pass needs in host memory.
        offload_optimizer: keep the optimizer's state in host memory.
        stream_blocks: keep frozen blocks in host memory.
    """

    checkpointing: str
    checkpoint_every: int
    offload_activations: bool
    offload_optimizer: bool
    stream_blocks: bool
