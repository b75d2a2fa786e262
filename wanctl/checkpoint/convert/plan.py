"""Plan a conversion: which files it writes and which tensors each holds."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from wanctl.checkpoint.configs import CONFIG_KEY
from wanctl.checkpoint.files.folders import STEM
from wanctl.checkpoint.files.lazy_tensors import LazyTensor
from wanctl.checkpoint.files.scaled_fp8 import FP8, MARKER, marker, scale_name, to_fp8
from wanctl.checkpoint.files.tensor_files import shards
from wanctl.checkpoint.key_tables import COMMUNITY_PREFIX, VOCABULARY
from wanctl.checkpoint.networks import (
    IMAGE_ENCODER,
    TEXT_ENCODER,
    TRANSFORMER,
    TRANSFORMER_2,
    VAE,
    StoredNetwork,
    Tensors,
    to_diffusers_tensors,
)
from wanctl.checkpoint.pipeline_config import network_config
from wanctl.checkpoint.vae_configs import vae_shape_from_tensors
from wanctl.log import log
from wanctl.model.dit.precision import keeps_fp32
from wanctl.model.variants import DiTShape

LAYOUTS = ("official", "diffusers", "single")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp8": FP8}
KEY = "wanctl.source"
OFFICIAL_FILES = {
    TEXT_ENCODER: "models_t5_umt5-xxl-enc-bf16.pth",
    IMAGE_ENCODER: "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
}
EXPERT_FOLDERS = {TRANSFORMER: "high_noise_model", TRANSFORMER_2: "low_noise_model"}
# The matrices that community files store in fp8.
IN_FP8 = re.compile(r"(vace_)?blocks\.\d+\.(self_attn|cross_attn|ffn)\.\w+\.weight")


@dataclass(frozen=True)
class ConversionOptions:
    """What a conversion writes.

    Attributes:
        layout: one of LAYOUTS.
        dtype: of matrices, a key of DTYPES; None keeps the stored one.
        shard_bytes: size limit of a file; None never splits.
        networks: names of the networks that are written; empty for all.
        two_experts: whether the model has two transformers.
    """

    layout: str
    dtype: str | None = None
    shard_bytes: int | None = None
    networks: tuple[str, ...] = ()
    two_experts: bool = False

    @property
    def identity(self) -> str:
        """Text that is hashed into the header of every file written.

        Its form never changes: a conversion that was stopped under an earlier version resumes.
        """
        return (
            f"Wish(layout={self.layout!r}, dtype={self.dtype!r}, "
            f"shard_bytes={self.shard_bytes!r}, parts={self.networks!r}, two={self.two_experts!r})"
        )


@dataclass(frozen=True)
class PlannedFile:
    """One file that is to be written.

    Attributes:
        path: where it goes; a `.pth` is written for the official names that have this suffix.
        tensors: under the names they get.
        metadata: of a safetensors header.
    """

    path: Path
    tensors: Tensors
    metadata: Mapping[str, str]

    @property
    def nbytes(self) -> int:
        """Bytes of all its tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def plan_files(
    network: StoredNetwork,
    to: Path,
    options: ConversionOptions,
    metadata: Mapping[str, str],
    dit: DiTShape | None,
) -> Iterator[PlannedFile]:
    """Plan the files of one network, in order; tensors are read only when they are written.

    Args:
        network: to convert.
        to: destination folder, or file of layout `single`.
        options: of the conversion.
        metadata: of every header.
        dit: sizes of the transformer, where they are known from a config.
    """
    header = {"format": "pt", **metadata}
    max_bytes = None if network.name == VAE else options.shard_bytes  # a VAE is one file everywhere
    tensors = _renamed(_formatted(network, options.dtype), network, options.layout)
    if options.layout == "single":
        if network.name in (TRANSFORMER, TRANSFORMER_2):
            header[CONFIG_KEY] = json.dumps(network_config(network, "official", dit, None))
        if network.vocabulary:
            tensors = {**tensors, VOCABULARY: network.vocabulary}
        name = _single_name(network, to, options.two_experts)
        yield from _split(name.parent, name.stem, tensors, max_bytes, header)
        return
    if options.layout == "official" and network.name in (VAE, TEXT_ENCODER, IMAGE_ENCODER):
        yield PlannedFile(to / official_name(network), tensors, header)
        return
    yield from _split(folder_of(network, to, options), _stem(network), tensors, max_bytes, header)


def _formatted(network: StoredNetwork, dtype: str | None) -> StoredNetwork:
    """The network with its tensors in another dtype."""
    if dtype is None or network.name == VAE:
        return network
    if dtype == "fp8" and network.name not in (TRANSFORMER, TRANSFORMER_2):
        return network
    out: Tensors = {}
    for name, lazy in network.tensors.items():
        if not lazy.dtype.is_floating_point:
            out[name] = lazy
        elif dtype == "fp8":
            out |= _in_fp8(name, lazy)
        else:
            fp32 = network.name in (TRANSFORMER, TRANSFORMER_2) and keeps_fp32(name)
            out[name] = lazy.to(torch.float32 if fp32 else DTYPES[dtype])
    if dtype == "fp8":
        out[MARKER] = LazyTensor((0,), FP8, marker)
    return replace(network, tensors=out)


def _in_fp8(name: str, lazy: LazyTensor) -> Tensors:
    if not IN_FP8.fullmatch(name) or "norm" in name:
        return {name: lazy.to(torch.float32 if keeps_fp32(name) else torch.bfloat16)}
    return {
        name: LazyTensor(lazy.shape, FP8, lambda: to_fp8(lazy.read())[0]),
        scale_name(name): LazyTensor((), torch.float32, lambda: to_fp8(lazy.read())[1]),
    }


def _renamed(network: StoredNetwork, source: StoredNetwork, layout: str) -> Tensors:
    """Tensors under the layout's names; single files hold encoders under those of transformers."""
    if layout == "official" or (layout == "single" and network.name == VAE):
        return network.tensors
    if layout == "single" and network.name in (TRANSFORMER, TRANSFORMER_2):
        return {COMMUNITY_PREFIX + name: lazy for name, lazy in network.tensors.items()}
    tensors, left = to_diffusers_tensors(network)
    if left:
        log.info(
            "%s: %d tensors have no place in this layout (%s, ...)",
            source.files[0],
            len(left),
            left[0],
        )
    return tensors


def folder_of(network: StoredNetwork, to: Path, options: ConversionOptions) -> Path:
    """Folder of a network's files and its config."""
    if options.layout == "diffusers":
        return to / network.name
    return (
        to / EXPERT_FOLDERS[network.name]
        if options.two_experts and network.name in EXPERT_FOLDERS
        else to
    )


def _stem(network: StoredNetwork) -> str:
    return "model" if network.name in (TEXT_ENCODER, IMAGE_ENCODER) else STEM


def _single_name(network: StoredNetwork, to: Path, two_experts: bool) -> Path:
    if to.suffix == ".safetensors":
        return to
    experts = {TRANSFORMER: "transformer_high_noise", TRANSFORMER_2: "transformer_low_noise"}
    name = experts.get(network.name, network.name) if two_experts else network.name
    return to / f"{name}.safetensors"


def official_name(network: StoredNetwork) -> str:
    """Name of the file in the published repositories."""
    if network.name == VAE:
        shape = vae_shape_from_tensors(network.shapes, str(network.files[0]))
        return "Wan2.2_VAE.pth" if shape.residual else "Wan2.1_VAE.pth"
    return OFFICIAL_FILES[network.name]


def _split(
    folder: Path, stem: str, tensors: Tensors, max_bytes: int | None, header: Mapping[str, str]
) -> Iterator[PlannedFile]:
    sizes = {name: lazy.nbytes for name, lazy in tensors.items()}
    groups = shards(sizes, max_bytes or max(sum(sizes.values()), 1))
    for number, group in enumerate(groups, 1):
        name = f"{stem}-{number:05}-of-{len(groups):05}" if len(groups) > 1 else stem
        path = folder / f"{name}.safetensors"
        yield PlannedFile(path, {key: tensors[key] for key in group}, header)
