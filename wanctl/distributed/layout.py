"""The number of processes along each axis, from the recipe's `parallel:` section. Torch-free."""

import math
from dataclasses import dataclass
from typing import Literal

from wanctl.errors import ProblemsError

Count = int | Literal["auto"]


@dataclass(frozen=True)
class ParallelOptions:
    """Values of the recipe's `parallel:` section; `choose_layout` sets those that are `auto`."""

    cfg: Count = "auto"
    ring: Count = "auto"
    ulysses: Count = "auto"
    fsdp: bool | Literal["auto"] = "auto"


@dataclass(frozen=True)
class Layout:
    """Processes along each axis; their product is the number of processes.

    Attributes:
        data: groups of processes with samples of their own (training).
        cfg: 2 or 3 where each pass of guidance has its own processes.
        ring: shards of the tokens that exchange keys and values by ring attention.
        ulysses: shards of the tokens that are exchanged for shards of the heads.
        fsdp: every process holds only a shard of the weights.
    """

    cfg: int = 1
    ring: int = 1
    ulysses: int = 1
    fsdp: bool = False
    data: int = 1

    @property
    def tokens(self) -> int:
        """Number of shards of the tokens."""
        return self.ring * self.ulysses

    @property
    def processes(self) -> int:
        """Number of all processes."""
        return self.data * self.cfg * self.tokens

    def __str__(self) -> str:
        weights = "in parts (fsdp)" if self.fsdp else "whole"
        first = f"data {self.data}" if self.data > 1 else f"cfg {self.cfg}"
        return (
            f"{self.processes} processes: {first} x ring {self.ring} x "
            f"ulysses {self.ulysses}, weights {weights}"
        )


def choose_layout(
    options: ParallelOptions,
    processes: int,
    *,
    heads: int,
    passes: int,
    fsdp_by_default: bool = False,
) -> Layout:
    """Choose the axes that the recipe leaves on `auto`.

    Guidance comes first, because its passes need no communication within a step; then
    Ulysses, whose exchange is small; the ring takes the processes that the heads cannot use.

    Args:
        options: from the recipe.
        processes: how many there are.
        heads: of the transformer; Ulysses gives each process the same number of them.
        passes: of guidance per step: 1 without it, 3 with guidance by references.
        fsdp_by_default: the value of `fsdp: auto`.

    Raises:
        ProblemsError: the numbers do not multiply to the number of processes, or do not divide
            the heads.
    """
    fixed = math.prod(n for n in (options.cfg, options.ring, options.ulysses) if n != "auto")
    if processes % fixed:
        raise _layout_error(options, f"their product {fixed} does not divide", processes)
    rest = processes // fixed
    cfg = options.cfg
    if cfg == "auto":
        cfg = passes if rest % passes == 0 else 1
        rest //= cfg
    elif cfg not in (1, passes):
        allowed = {1: "1, as guide_scale 1 has one prompt", 2: "1 and 2 (two prompts)"}
        least = allowed.get(passes, f"1 and {passes} (passes of guidance by references)")
        raise ProblemsError([("parallel.cfg", f"got {cfg}; allowed: {least}")])
    ulysses = options.ulysses
    if ulysses == "auto":
        ulysses = math.gcd(rest, heads) if options.ring == "auto" else rest
        rest //= ulysses
    check_heads("parallel.ulysses", ulysses, heads, "parallel.ring")
    ring = options.ring
    if ring == "auto":
        ring, rest = rest, 1
    if rest != 1:
        raise _layout_error(options, f"their product {processes // rest} is not", processes)
    fsdp = fsdp_by_default if options.fsdp == "auto" else options.fsdp
    return Layout(cfg, ring, ulysses, fsdp and processes > 1)


def check_heads(key: str, ulysses: int, heads: int, other: str) -> None:
    """Check that Ulysses gives each process the same number of heads.

    Args:
        key: recipe path of the number.
        ulysses: number of processes.
        heads: of the transformer.
        other: recipe path of the ring, which takes any number.

    Raises:
        ProblemsError: it does not.
    """
    if heads % ulysses:
        allowed = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
        message = (
            f"got {ulysses}, which does not divide the model's {heads} heads (allowed: {allowed}); "
            f"give the rest to {other}, which takes any number"
        )
        raise ProblemsError([(key, message)])


def _layout_error(options: ParallelOptions, what: str, processes: int) -> ProblemsError:
    one = "1 process runs" if processes == 1 else f"{processes} processes run"
    return ProblemsError(
        [
            (
                "parallel",
                f"got cfg {options.cfg}, ring {options.ring}, ulysses {options.ulysses}; "
                f"{what} the number of processes ({one}); leave one of them on auto, or start as "
                "many with `torchrun --nproc-per-node N -m wanctl sample ...`",
            )
        ]
    )
