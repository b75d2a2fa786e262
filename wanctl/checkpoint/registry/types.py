"""What a row of CHECKPOINTS holds. Torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from wanctl.model.variants import RunDefaults

Kind = Literal["model", "lora", "vae", "text encoder", "image encoder", "side file"]

# Keys of `sample` that a row may fix, in the order in which they are reported.
FIXABLE = ("levels", "steps", "shift", "guide_scale", "solver", "boundary", "negative_prompt")


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the tensors of a published file.

    Attributes:
        md5: of `name:d0_d1_...` and `name` of every tensor, sorted and joined with commas, after
            prefixes are taken off; None: not known.
        tensors: their number.
        parameters: their elements.
        prefix: what stands before every name in the published file.
        stored_md5: the same digest with that prefix.
        verified: whether the digest is known to be that of the published file; else it is inferred
            from the base that it was made from.
    """

    md5: str | None = None
    tensors: int | None = None
    parameters: int | None = None
    prefix: str = ""
    stored_md5: str | None = None
    verified: bool = False


@dataclass(frozen=True)
class Structure:
    """What tells one transformer from another at any size.

    Attributes:
        copies: how often the latent channels enter: noise, known frames, control.
        mask_channels: input channels besides them.
        latent_channels: of the output.
        parts: names of PARTS (structures.py) whose tensors it has.
        optional: names of PARTS that some of its files have.
    """

    copies: int = 1
    mask_channels: int = 0
    latent_channels: int = 16
    parts: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Checkpoint:
    """A family of files: what it is, how it is run, and on what terms.

    Attributes:
        name: what `model.checkpoint` takes.
        title: its published name.
        variant: the row of VARIANTS with its network; of a LoRA the one that it is made for. None
            where no row has its network.
        kind: what the file is.
        defaults: the run rule: what sampling uses where the recipe says nothing. None where it is
            not run by sampling.
        layout: of the published file.
        structure: of a transformer; None for other files.
        tasks: rows of TASKS, the default first; empty: the variant's.
        fixed: key of `sample` -> why another value than that of `defaults` is known to fail.
        marks: words of the names of files, folders and hub ids that tell it from other checkpoints
            of the same layout: each entry is words that all occur.
        licence: of the weights.
        commercial: whether the licence allows commercial use.
        hub: hub ids with these weights.
        unsupported: why it is not run; None where it is.
        note: what to know besides.
    """

    name: str
    title: str
    variant: str | None = None
    kind: Kind = "model"
    defaults: RunDefaults | None = None
    layout: Layout = Layout()
    structure: Structure | None = None
    tasks: tuple[str, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    licence: str = "unknown"
    commercial: bool = True
    hub: tuple[str, ...] = ()
    unsupported: str | None = None
    note: str | None = None

    @property
    def experts(self) -> int:
        """Number of transformers that share the steps."""
        return 2 if self.defaults and self.defaults.boundary is not None else 1

    @property
    def official(self) -> bool:
        """Whether it is the model that its variant is named after."""
        return self.name == self.variant
