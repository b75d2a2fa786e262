"""How many processes share what: the recipe's `parallel:` section made into numbers. Torch-free."""

import math
from dataclasses import dataclass
from typing import Literal

from wanctl.errors import ProblemsError

Count = int | Literal["auto"]

PROMPTS = 2  # of guidance


@dataclass(frozen=True)
class Asked:
    """What the recipe says; `auto` leaves it to `choose_layout`."""

    cfg: Count = "auto"
    ring: Count = "auto"
    ulysses: Count = "auto"
    fsdp: bool | Literal["auto"] = "auto"


@dataclass(frozen=True)
class Layout:
    """Processes along each axis; their product is the number of processes.

    Attributes:
        cfg: 2 where each prompt of guidance has processes of its own.
        ring: parts of the tokens that keys and values are passed around between.
        ulysses: parts of the tokens that are exchanged for parts of the heads.
        fsdp: every process keeps a part of the weights only.
    """

    cfg: int = 1
    ring: int = 1
    ulysses: int = 1
    fsdp: bool = False

    @property
    def tokens(self) -> int:
        """Parts the tokens are cut into."""
        return self.ring * self.ulysses

    @property
    def processes(self) -> int:
        """All of them."""
        return self.cfg * self.tokens

    def __str__(self) -> str:
        weights = "in parts (fsdp)" if self.fsdp else "whole"
        return (
            f"{self.processes} processes: cfg {self.cfg} x ring {self.ring} x "
            f"ulysses {self.ulysses}, weights {weights}"
        )


def choose_layout(
    asked: Asked, processes: int, *, heads: int, guided: bool, fsdp_pays: bool = False
) -> Layout:
    """Fill in what is left to the program.

    Guidance comes first, because its two prompts never talk to each other within a step; then
    heads, whose exchange is small; keys and values go round only where heads run out.

    Args:
        asked: by the recipe.
        processes: how many there are.
        heads: of the transformer; Ulysses gives each process as many.
        guided: there are two prompts to work on.
        fsdp_pays: what `fsdp: auto` means.

    Raises:
        ProblemsError: the numbers do not fit together.
    """
    fixed = math.prod(n for n in (asked.cfg, asked.ring, asked.ulysses) if n != "auto")
    if processes % fixed:
        raise _wrong(asked, f"their product {fixed} does not divide", processes)
    rest = processes // fixed
    cfg = asked.cfg
    if cfg == "auto":
        cfg = PROMPTS if guided and rest % PROMPTS == 0 else 1
        rest //= cfg
    elif cfg > PROMPTS or (cfg == PROMPTS and not guided):
        least = "1, as guide_scale 1 has one prompt" if not guided else "1 and 2 (two prompts)"
        raise ProblemsError([("parallel.cfg", f"got {cfg}; allowed: {least}")])
    ulysses = asked.ulysses
    if ulysses == "auto":
        ulysses = math.gcd(rest, heads) if asked.ring == "auto" else rest
        rest //= ulysses
    if heads % ulysses:
        allowed = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
        raise ProblemsError(
            [
                (
                    "parallel.ulysses",
                    f"got {ulysses}, which does not divide the model's {heads} heads (allowed: "
                    f"{allowed}); give the rest to parallel.ring, which takes any number",
                )
            ]
        )
    ring = asked.ring
    if ring == "auto":
        ring, rest = rest, 1
    if rest != 1:
        raise _wrong(asked, f"their product {processes // rest} is not", processes)
    fsdp = fsdp_pays if asked.fsdp == "auto" else asked.fsdp
    return Layout(cfg, ring, ulysses, fsdp and processes > 1)


def _wrong(asked: Asked, what: str, processes: int) -> ProblemsError:
    one = "1 process runs" if processes == 1 else f"{processes} processes run"
    return ProblemsError(
        [
            (
                "parallel",
                f"got cfg {asked.cfg}, ring {asked.ring}, ulysses {asked.ulysses}; {what} the "
                f"number of processes ({one}); leave one of them on auto, or start as many "
                "with `torchrun --nproc-per-node N -m wanctl sample ...`",
            )
        ]
    )
