"""`wanctl weights check`: every tensor there and of its shape, every number finite."""

from dataclasses import dataclass, replace

import torch

from wanctl.checkpoint.expected import check_part
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.lazy_tensors import Lazy
from wanctl.checkpoint.parts import Part, open_parts
from wanctl.checkpoint.tensor_files import WeightsError
from wanctl.log import Bar, progress

COLUMNS = ("part", "tensors", "whole", "finite", "all zero", "all one number")
NAMES_SHOWN = 3


@dataclass(frozen=True)
class Result:
    """What was found of one part.

    Attributes:
        problems: one line each.
        zero: tensors that hold nothing but zeros.
        constant: tensors that hold one other number; norms begin like that.
    """

    part: str
    count: int
    fits: bool
    broken: tuple[str, ...]
    zero: tuple[str, ...]
    constant: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def row(self) -> tuple[str, ...]:
        """Cells of COLUMNS."""
        return (
            self.part, str(self.count), _word(self.fits), _word(not self.broken),
            _named(self.zero), _named(self.constant),
        )  # fmt: skip


def check(source: str) -> list[Result]:
    """Read all weights of a folder, file or hub id.

    Raises:
        WeightsError: there are none, or a file is not whole.
    """
    found = find_components(source)
    parts = open_parts(found)
    if not parts:
        raise WeightsError(f"{found.root}: holds no weights")
    with progress(sum(part.count for part in parts), "reading") as bar:
        results = []
        for part in parts:
            where = str(part.files[0])
            problems = [f"{where}: {name} lies in two files" for name in part.clashes]
            try:
                check_part(part, found)
                fits = True
            except WeightsError as error:
                problems.append(str(error))
                fits = False
            result = _values(part, bar)
            problems += [f"{where}: {_named(result.broken)} not finite"] * bool(result.broken)
            problems += _embedding(part, result, where)
            fits = fits and not part.clashes
            results.append(replace(result, fits=fits, problems=tuple(problems)))
    return results


def _values(part: Part, bar: Bar) -> Result:
    broken, zero, constant = [], [], []
    for name, lazy in part.tensors.items():
        tensor = lazy.read().float()
        if tensor.numel():
            low, high = (float(each) for each in torch.aminmax(tensor))
            if not (abs(low) < float("inf") and abs(high) < float("inf")):  # not a number neither
                broken.append(name)
            elif low == high == 0:
                zero.append(name)
            elif low == high and tensor.numel() > 1:
                constant.append(name)
        bar.advance(lazy.count)
    return Result(
        part.name, len(part.tensors), False, tuple(broken), tuple(zero), tuple(constant), ()
    )  # fmt: skip


def _embedding(part: Part, result: Result, where: str) -> list[str]:
    """The text encoder's embedding, which some files hold twice and one version left empty."""
    name = "token_embedding.weight"
    if name in result.zero:
        return [f"{where}: the embedding of words is all zero"]
    if part.twin and name in part.tensors and not _equal(part.tensors[name], part.twin):
        return [
            f"{where}: shared.weight and encoder.embed_tokens.weight differ; transformers would "
            "read prompts with the second"
        ]
    return []


def _equal(one: Lazy, other: Lazy) -> bool:
    return one.shape == other.shape and torch.equal(one.read(), other.read())


def _word(good: bool) -> str:
    return "yes" if good else "no"


def _named(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{len(names)}: {shown}{', ...' * (len(names) > NAMES_SHOWN)}" if names else "-"
