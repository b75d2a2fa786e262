"""`wanctl weights check`: test that no tensor is missing or misshapen and every value is finite."""

from dataclasses import dataclass, replace

import torch

from wanctl.checkpoint.expected import check_network, without_lacking
from wanctl.checkpoint.files.lazy_tensors import LazyTensor
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.networks import StoredNetwork, open_networks
from wanctl.log import Bar, progress

COLUMNS = ("part", "tensors", "whole", "finite", "all zero", "all one number")
NAMES_SHOWN = 3


@dataclass(frozen=True)
class NetworkCheck:
    """What reading one network showed.

    Attributes:
        network: its name.
        count: number of tensors.
        fits: whether names and shapes are those of the model.
        nonfinite: tensors with infinities or NaNs.
        zero: tensors that hold only zeros.
        constant: tensors that hold one other value throughout; norms are initialised like that.
        problems: one line each.
    """

    network: str
    count: int
    fits: bool
    nonfinite: tuple[str, ...]
    zero: tuple[str, ...]
    constant: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def row(self) -> tuple[str, ...]:
        """Cells of COLUMNS."""
        return (
            self.network, str(self.count), _word(self.fits), _word(not self.nonfinite),
            _named(self.zero), _named(self.constant),
        )  # fmt: skip


def check(source: str) -> list[NetworkCheck]:
    """Read all weights of a folder, file or hub id.

    Raises:
        WeightsError: there are none, or a file is truncated.
    """
    components = find_components(source)
    networks = [without_lacking(network, components) for network in open_networks(components)]
    if not networks:
        raise WeightsError(f"{components.root}: holds no weights")
    with progress(sum(network.count for network in networks), "reading") as bar:
        results = []
        for network in networks:
            where = str(network.files[0])
            problems = [f"{where}: {name} is in two files" for name in network.duplicates]
            try:
                check_network(network, components)
                fits = True
            except WeightsError as error:
                problems.append(str(error))
                fits = False
            result = _values(network, bar)
            problems += [f"{where}: {_named(result.nonfinite)} not finite"] * bool(result.nonfinite)
            problems += _embedding(network, result, where)
            fits = fits and not network.duplicates
            results.append(replace(result, fits=fits, problems=tuple(problems)))
    return results


def _values(network: StoredNetwork, bar: Bar) -> NetworkCheck:
    nonfinite, zero, constant = [], [], []
    for name, lazy in network.tensors.items():
        tensor = lazy.read().float()
        if tensor.numel():
            low, high = (float(each) for each in torch.aminmax(tensor))
            if not (abs(low) < float("inf") and abs(high) < float("inf")):  # NaN fails both
                nonfinite.append(name)
            elif low == high == 0:
                zero.append(name)
            elif low == high and tensor.numel() > 1:
                constant.append(name)
        bar.advance(lazy.count)
    return NetworkCheck(
        network.name, len(network.tensors), False, tuple(nonfinite), tuple(zero),
        tuple(constant), (),
    )  # fmt: skip


def _embedding(network: StoredNetwork, result: NetworkCheck, where: str) -> list[str]:
    """Problems of the text encoder's embedding: some files hold it twice, some hold zeros."""
    name = "token_embedding.weight"
    if name in result.zero:
        return [f"{where}: the token embedding is all zero"]
    if (
        network.tied_embedding
        and name in network.tensors
        and not _equal(network.tensors[name], network.tied_embedding)
    ):
        return [
            f"{where}: shared.weight and encoder.embed_tokens.weight differ; transformers would "
            "read prompts with the second"
        ]
    return []


def _equal(one: LazyTensor, other: LazyTensor) -> bool:
    return one.shape == other.shape and torch.equal(one.read(), other.read())


def _word(good: bool) -> str:
    return "yes" if good else "no"


def _named(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{len(names)}: {shown}{', ...' * (len(names) > NAMES_SHOWN)}" if names else "-"
