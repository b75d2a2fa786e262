"""The interface between the training loop and what it trains."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from wanctl.train.optimizers.options import OptimizerOptions
from wanctl.train.rng import MicrobatchIndex

BatchT = TypeVar("BatchT")


class Work(NamedTuple):
    """What a micro-batch, or several, is as work of one process.

    Attributes:
        tokens: that the network takes in; 0: it has no tokens.
        flops: of forward and backward pass; 0: not known.
    """

    tokens: int = 0
    flops: float = 0.0

    def plus(self, other: "Work") -> "Work":
        """Both together."""
        return Work(self.tokens + other.tokens, self.flops + other.flops)


@dataclass(frozen=True)
class Losses:
    """Losses of one micro-batch, or of one chunk of it.

    Attributes:
        per_sample: (B,) fp32, with gradient; the loop takes the mean.
        parts: name -> detached scalar or (B,) tensor, for the log. The names in a micro-batch may
            depend on the step alone, because processes average them in the same order.
        ratios: name -> detached numerators and denominators, scalars or (B,) tensors, for the log:
            the mean of the ones over that of the others in the whole step, e.g. a loss of the
            samples of one kind; left out of the log where the denominators are 0. Names as above.
        work: of this chunk, for the measure of speed.
        share: weight of this chunk in the losses and the parts of its micro-batch, e.g. its share
            of the frames; those of a micro-batch add up to 1.
        last: whether no other chunk of the micro-batch follows.
    """

    per_sample: Tensor
    parts: Mapping[str, Tensor]
    ratios: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict, kw_only=True)
    work: Work = field(default=Work(), kw_only=True)
    share: float = 1.0
    last: bool = True


@dataclass(frozen=True)
class Network:
    """A network that an objective trains.

    Attributes:
        module: of its parameters those that require a gradient are trained. `losses` calls only its
            `forward` while it learns, because DDP hooks into that.
        optimizer: settings of its optimizer; None: those of the run.
        averaged: whether a moving average of its weights is kept.
        skips_parameters: whether some batches leave parameters without a gradient.
        saves_frozen: whether checkpoints hold parameters that are not trained; where they do not,
            the run's identity has to name the weights.
        alternates: whether it is one of several of which one learns in each step, such as two
            experts: its figures always have its name in front, its loss is that of the run in its
            steps, and while another learns it waits in host memory with its optimizer's state.
        offloads_optimizer: whether the optimizer's state is in host memory between its steps.
        observe: called with the number of each step in which it learned, from 1, and the figures of
            that step (the parts of its losses, their mean and the gradient's norm), when they are
            read; None: nothing is.
    """

    module: nn.Module
    optimizer: OptimizerOptions | None = None
    averaged: bool = True
    skips_parameters: bool = False
    saves_frozen: bool = True
    alternates: bool = False
    offloads_optimizer: bool = False
    observe: Callable[[int, Mapping[str, float]], None] | None = None


@dataclass(frozen=True)
class Preview:
    """One video for people to look at.

    Attributes:
        video: (T, H, W, 3) uint8; all previews of an objective have one frame size.
        caption: what it shows, e.g. the prompt.
        fps: frame rate of its file.
    """

    video: np.ndarray
    caption: str
    fps: float


class Objective(Protocol, Generic[BatchT]):
    """Networks, the source of their batches and their losses; the loop knows nothing else of them.

    A network learns in its turns: the loop computes its gradients of all micro-batches of a step
    and updates it, then the next network's turn begins with the same micro-batches.
    """

    @property
    def name(self) -> str:
        """The command, e.g. `train-vae`; starts every line that is logged."""
        ...

    @property
    def networks(self) -> Mapping[str, Network]:
        """The networks by name; the first is the main one, whose figures have no prefix.

        Read once, when the run starts.
        """
        ...

    @property
    def saves_with_checkpoints(self) -> bool:
        """Whether `save` is called at each checkpoint too, because what it writes is small."""
        ...

    @property
    def eval_split(self) -> str:
        """Clips that `eval_items` are of: `held-out`, or `training` where none are held out."""
        ...

    @property
    def judged(self) -> str:
        """The figure of an evaluation, lower is better, that says whether the networks learn."""
        ...

    def turns(self, step: int) -> Sequence[str]:
        """Names of the networks that learn in optimizer step `step` (from 0), in order; not none.

        A pure function of `step`.
        """
        ...

    def batch(self, microbatch: MicrobatchIndex) -> BatchT:
        """Samples of one micro-batch; a pure function of `microbatch`, called in a thread.

        All turns of a step get the same object: one turn may leave detached tensors in it for the
        next one, such as a reconstruction for the discriminator.
        """
        ...

    def losses(
        self,
        turn: str,
        models: Mapping[str, nn.Module],
        batch: BatchT,
        microbatch: MicrobatchIndex,
        device: torch.device,
    ) -> Iterator[Losses]:
        """Losses of network `turn`; an iterator of one, or of several chunks.

        The loop calls backward for each before it asks for the next, so that only one chunk's
        activations are in memory at a time.

        Args:
            turn: name of the network that learns.
            models: all networks. `models[turn]` is its module, wrapped by accelerate; the others
                are the modules themselves, whose parameters are constants during this turn:
                gradients flow through them to their inputs.
            batch: what `batch` returned.
            microbatch: position of the micro-batch, which keys all random numbers.
            device: where the networks are.
        """
        ...

    def eval_items(self) -> Sequence[Any]:
        """What is measured at an evaluation, e.g. windows; the same list in every process.

        The loop deals them out to the processes.
        """
        ...

    def measure(self, item: Any, device: torch.device) -> Mapping[str, float]:
        """Figures of one of `eval_items`, with noise that is keyed by the item.

        The averaged weights are in the modules. An evaluation is the mean of each figure over the
        items that have it.
        """
        ...

    def preview_items(self) -> Sequence[Any]:
        """What previews are made of, e.g. prompts; the same list in every process."""
        ...

    def preview(self, item: Any, device: torch.device) -> Preview:
        """The preview of one of `preview_items`; the averaged weights are in the modules."""
        ...

    def save(self, folder: Path, step: int, device: torch.device) -> None:
        """Write the finished model; the averaged weights are in the modules.

        Called in the main process; the others wait for it at the end of the run.
        """
        ...

    def saved_step(self, folder: Path) -> int | None:
        """Step of the finished model in `folder`; None where there is none."""
        ...


@runtime_checkable
class KnowsLargestBatch(Protocol):
    """An objective whose batches have several sizes."""

    @property
    def memory_advice(self) -> str:
        """What to change in the recipe where memory does not suffice."""
        ...

    def largest_batch(self, seed: int) -> tuple[str, Any, MicrobatchIndex]:
        """Name of the bucket that takes most memory, a batch of it, and a position for `losses`."""
        ...


def per_sample_mean(values: Tensor) -> Tensor:
    """(B, ...) -> (B,) fp32, or fp64 where the values are."""
    return values.to(torch.promote_types(values.dtype, torch.float32)).flatten(1).mean(dim=1)
