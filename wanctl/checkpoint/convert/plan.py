"""Which files a conversion writes, and what each holds."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from wanctl.checkpoint.configs import vae_shape_from_tensors
from wanctl.checkpoint.find import STEM
from wanctl.checkpoint.key_tables import COMMUNITY_PREFIX, VOCABULARY
from wanctl.checkpoint.lazy_tensors import Lazy
from wanctl.checkpoint.load import CONFIG_KEY
from wanctl.checkpoint.parts import (
    IMAGE,
    LOW,
    TEXT,
    TRANSFORMER,
    VAE,
    Part,
    Tensors,
    diffusers_tensors,
)
from wanctl.checkpoint.pipeline_config import part_config
from wanctl.checkpoint.scaled_fp8 import FP8, MARKER, marker, scale_name, to_fp8
from wanctl.checkpoint.tensor_files import shards
from wanctl.log import log
from wanctl.model.dit.transformer import keeps_fp32
from wanctl.model.variants import DiTShape

LAYOUTS = ("official", "diffusers", "single")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp8": FP8}
KEY = "wanctl.source"
OFFICIAL_FILES = {
    TEXT: "models_t5_umt5-xxl-enc-bf16.pth",
    IMAGE: "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
}
EXPERT_FOLDERS = {TRANSFORMER: "high_noise_model", LOW: "low_noise_model"}
# The matrices that community files put into fp8.
IN_FP8 = re.compile(r"(vace_)?blocks\.\d+\.(self_attn|cross_attn|ffn)\.\w+\.weight")


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        layout: one of LAYOUTS.
        dtype: of matrices; None: as they are.
        shard_bytes: largest file; None never splits.
        parts: which networks; empty: all.
        two: whether the model has two transformers.
    """

    layout: str
    dtype: str | None = None
    shard_bytes: int | None = None
    parts: tuple[str, ...] = ()
    two: bool = False


@dataclass(frozen=True)
class File:
    """One file that is to be written."""

    path: Path
    tensors: Tensors
    metadata: Mapping[str, str]


def planned(
    part: Part, to: Path, wish: Wish, metadata: Mapping[str, str], dit: DiTShape | None
) -> Iterator[File]:
    """The files of one part, in order; nothing is read before one is written."""
    said = {"format": "pt", **metadata}
    most = None if part.name == VAE else wish.shard_bytes  # a VAE is one file everywhere
    tensors = _renamed(_formatted(part, wish.dtype), part, wish.layout)
    if wish.layout == "single":
        if part.name in (TRANSFORMER, LOW):
            said[CONFIG_KEY] = json.dumps(part_config(part, "official", dit, None))
        if part.vocabulary:
            tensors = {**tensors, VOCABULARY: part.vocabulary}
        name = _single_name(part, to, wish.two)
        yield from _split(name.parent, name.stem, tensors, most, said)
        return
    if wish.layout == "official" and part.name in (VAE, TEXT, IMAGE):
        yield File(to / official_name(part), tensors, said)
        return
    yield from _split(folder_of(part, to, wish), _stem(part), tensors, most, said)


def _formatted(part: Part, dtype: str | None) -> Part:
    """The part with its numbers in the wished format."""
    if dtype is None or part.name == VAE:
        return part
    if dtype == "fp8" and part.name not in (TRANSFORMER, LOW):
        return part
    out: Tensors = {}
    for name, lazy in part.tensors.items():
        if not lazy.dtype.is_floating_point:
            out[name] = lazy
        elif dtype == "fp8":
            out |= _in_fp8(name, lazy)
        else:
            fp32 = part.name in (TRANSFORMER, LOW) and keeps_fp32(name)
            out[name] = lazy.to(torch.float32 if fp32 else DTYPES[dtype])
    if dtype == "fp8":
        out[MARKER] = Lazy((0,), FP8, marker)
    return replace(part, tensors=out)


def _in_fp8(name: str, lazy: Lazy) -> Tensors:
    if not IN_FP8.fullmatch(name) or "norm" in name:
        return {name: lazy.to(torch.float32 if keeps_fp32(name) else torch.bfloat16)}
    return {
        name: Lazy(lazy.shape, FP8, lambda: to_fp8(lazy.read())[0]),
        scale_name(name): Lazy((), torch.float32, lambda: to_fp8(lazy.read())[1]),
    }


def _renamed(part: Part, source: Part, layout: str) -> Tensors:
    """Names of the layout; single files hold encoders as transformers names them."""
    if layout == "official" or (layout == "single" and part.name == VAE):
        return part.tensors
    if layout == "single" and part.name in (TRANSFORMER, LOW):
        return {COMMUNITY_PREFIX + name: lazy for name, lazy in part.tensors.items()}
    tensors, left = diffusers_tensors(part)
    if left:
        log.info(
            "%s: %d tensors have no place there (%s, ...)", source.files[0], len(left), left[0]
        )
    return tensors


def folder_of(part: Part, to: Path, wish: Wish) -> Path:
    """Where a part's files and its config go."""
    if wish.layout == "diffusers":
        return to / part.name
    return to / EXPERT_FOLDERS[part.name] if wish.two and part.name in EXPERT_FOLDERS else to


def _stem(part: Part) -> str:
    return "model" if part.name in (TEXT, IMAGE) else STEM


def _single_name(part: Part, to: Path, two: bool) -> Path:
    if to.suffix == ".safetensors":
        return to
    experts = {TRANSFORMER: "transformer_high_noise", LOW: "transformer_low_noise"}
    return to / f"{experts[part.name] if two and part.name in experts else part.name}.safetensors"


def official_name(part: Part) -> str:
    """What the published repositories call the file."""
    if part.name == VAE:
        shape = vae_shape_from_tensors(part.shapes, str(part.files[0]))
        return "Wan2.2_VAE.pth" if shape.residual else "Wan2.1_VAE.pth"
    return OFFICIAL_FILES[part.name]


def _split(
    folder: Path, stem: str, tensors: Tensors, most: int | None, said: Mapping[str, str]
) -> Iterator[File]:
    sizes = {name: lazy.nbytes for name, lazy in tensors.items()}
    groups = shards(sizes, most or max(sum(sizes.values()), 1))
    for number, group in enumerate(groups, 1):
        name = f"{stem}-{number:05}-of-{len(groups):05}" if len(groups) > 1 else stem
        path = folder / f"{name}.safetensors"
        yield File(path, {key: tensors[key] for key in group}, said)
