"""Keys of `train_dit.parallel`."""

from pydantic import Field

from wanctl.recipe.section import Count, Section


class TrainParallelSection(Section):
    """How the processes that a launcher started divide the work of training.

    ulysses x ring processes compute each sample together, for samples that one device cannot hold
    or takes too long for. Each such group has batches of its own.
    """

    ulysses: Count = Field(
        default=1,
        description="processes that exchange shards of a sample's tokens for shards of the heads; "
        "divides the number of heads",
    )
    ring: Count = Field(
        default=1,
        description="processes that pass the keys and values of their tokens around; any number, "
        "sends more data than ulysses",
    )
