"""Open the networks of a model in any layout as lazy tensors under their official names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from wanctl.checkpoint import prefixes
from wanctl.checkpoint.diffusers_layout.animate import join_lazy, split_lazy
from wanctl.checkpoint.files.folders import weight_files
from wanctl.checkpoint.files.lazy_tensors import LazyTensor, TensorFileReader
from wanctl.checkpoint.files.scaled_fp8 import dequantize, is_scale_key, read_scales
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import Components
from wanctl.checkpoint.key_tables import (
    IMAGE_KEYS,
    TEXT_KEYS,
    UNUSED_NORM,
    VOCABULARY,
    KeyTable,
    are_foreign,
    dit_key_table_of,
    to_diffusers,
    to_official,
    vae_key_table,
    vae_key_table_of,
)
from wanctl.checkpoint.prefixes import plain_names
from wanctl.checkpoint.vae_configs import vae_shape_from_tensors

TRANSFORMER, TRANSFORMER_2, VAE, TEXT_ENCODER, IMAGE_ENCODER = (
    "transformer", "transformer_2", "vae", "text_encoder", "image_encoder",
)  # fmt: skip
NETWORKS = (TRANSFORMER, TRANSFORMER_2, VAE, TEXT_ENCODER, IMAGE_ENCODER)
KINDS = {
    TRANSFORMER: prefixes.TRANSFORMER,
    TRANSFORMER_2: prefixes.TRANSFORMER,
    VAE: prefixes.VAE,
    TEXT_ENCODER: prefixes.TEXT_ENCODER,
    IMAGE_ENCODER: prefixes.IMAGE_ENCODER,
}
TIED_EMBEDDING = "encoder.embed_tokens.weight"  # of transformers' `shared.weight`
CLIP_PREFIX = "vision_model."
CLASS, POSITIONS = "visual.cls_embedding", "visual.pos_embedding"

Tensors = dict[str, LazyTensor]


@dataclass(frozen=True)
class StoredNetwork:
    """One network in its files.

    Attributes:
        name: one of NETWORKS.
        files: weight files.
        layout: whose tensor names they have: `official`, `diffusers` or `single`.
        tensors: by official name, in the files' order.
        stored: dtype in the files -> number of parameters.
        tied_embedding: second copy of the text encoder's embedding; None where there is none.
        duplicates: names that are in two files.
        vocabulary: bytes of the text encoder's sentencepiece model; None where it is unknown.
    """

    name: str
    files: tuple[Path, ...]
    layout: str
    tensors: Tensors
    stored: Mapping[torch.dtype, int]
    tied_embedding: LazyTensor | None = None
    duplicates: tuple[str, ...] = ()
    vocabulary: LazyTensor | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Official name -> shape."""
        return {name: lazy.shape for name, lazy in self.tensors.items()}

    @property
    def count(self) -> int:
        """Number of parameters."""
        return sum(lazy.count for lazy in self.tensors.values())

    @property
    def nbytes(self) -> int:
        """Size of the files in bytes."""
        return sum(path.stat().st_size for path in self.files)


def open_networks(components: Components) -> list[StoredNetwork]:
    """Open every network of a model; only headers are read.

    Raises:
        WeightsError: a file is truncated.
    """
    files = {
        TRANSFORMER: components.dit,
        TRANSFORMER_2: components.dit_low,
        VAE: components.vae,
        TEXT_ENCODER: _encoder_files(components.text_encoder),
        IMAGE_ENCODER: _encoder_files(components.image_encoder),
    }
    networks = [open_network(name, paths) for name, paths in files.items() if paths]
    pieces = components.tokenizer / "spiece.model" if components.tokenizer else None
    if pieces is None or not pieces.is_file():
        return networks
    vocabulary = _bytes_of(pieces)
    return [replace(p, vocabulary=vocabulary) if p.name == TEXT_ENCODER else p for p in networks]


def open_network(name: str, files: tuple[Path, ...]) -> StoredNetwork:
    """Open one network under its official names; only headers are read."""
    stored: Tensors = {}
    duplicates = []
    for path in files:
        lazy_tensors = TensorFileReader(path).lazy_tensors()
        duplicates += [each for each in lazy_tensors if each in stored]
        stored |= lazy_tensors
    vocabulary = stored.pop(VOCABULARY, None)
    scales = read_scales(files, stored)
    counts: dict[torch.dtype, int] = {}
    plain: Tensors = {}
    for key, lazy in stored.items():
        if is_scale_key(key) or UNUSED_NORM in key:
            continue
        counts[lazy.dtype] = counts.get(lazy.dtype, 0) + lazy.count
        if key in scales:  # scaled fp8 is read as its fp32 value
            read = _unscaling(key, lazy, scales)
            lazy = LazyTensor(lazy.shape, torch.float32, read)
        plain[key] = lazy
    if KINDS[name] == prefixes.TRANSFORMER:
        plain = dict(join_lazy(plain.items()))
    bare = plain_names(plain, KINDS[name], str(files[0]))
    plain = {key: lazy for key, lazy in plain.items() if key in bare}
    prefixed = any(key != short for key, short in bare.items())
    plain = {bare[key]: lazy for key, lazy in plain.items()}
    tied_embedding = plain.pop(TIED_EMBEDDING, None) if "shared.weight" in plain else None
    if TIED_EMBEDDING in plain:
        plain = {("shared.weight" if k == TIED_EMBEDDING else k): v for k, v in plain.items()}
    official, foreign = _official(name, plain)
    layout = "single" if prefixed else "diffusers" if foreign else "official"
    return StoredNetwork(
        name, files, layout, official, counts, tied_embedding, tuple(duplicates), vocabulary
    )


def to_diffusers_tensors(network: StoredNetwork) -> tuple[Tensors, list[str]]:
    """Tensors under the names of diffusers and transformers, and names that have none there."""
    if network.name == IMAGE_ENCODER:
        return _image_to_transformers(network.tensors)
    names = to_diffusers(network.tensors, key_table(network))
    tensors = {names[key]: lazy for key, lazy in network.tensors.items()}
    if KINDS[network.name] == prefixes.TRANSFORMER:
        tensors = dict(split_lazy(tensors.items()))
    if network.name == TEXT_ENCODER:  # some versions of transformers do not tie the two
        tensors[TIED_EMBEDDING] = tensors["shared.weight"]
    return tensors, []


def key_table(network: StoredNetwork) -> KeyTable:
    """The key table of a network under its official names."""
    if network.name == VAE:
        return vae_key_table(vae_shape_from_tensors(network.shapes, str(network.files[0])))
    return TEXT_KEYS if network.name == TEXT_ENCODER else dit_key_table_of(network.tensors)


def _official(name: str, plain: Tensors) -> tuple[Tensors, bool]:
    """Tensors under official names, and whether they had other names."""
    if name == IMAGE_ENCODER:
        if any(key.startswith("visual.") for key in plain):
            return plain, False
        return _image_to_official(plain), True
    if not are_foreign(plain):
        return plain, False
    tables = {VAE: lambda: vae_key_table_of(plain), TEXT_ENCODER: lambda: TEXT_KEYS}
    table = tables.get(name, lambda: dit_key_table_of(plain))()
    names = to_official(plain, table)
    return {names[key]: lazy for key, lazy in plain.items()}, True


def _image_to_transformers(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """CLIP's vision tower for transformers, which has no names for the text half and projection."""
    out: Tensors = {}
    left = []
    for key, lazy in tensors.items():
        name = CLIP_PREFIX + to_diffusers([key], IMAGE_KEYS)[key]
        if name == CLIP_PREFIX + key:
            left.append(key)
        elif key == CLASS:
            out[name] = lazy.map(lazy.shape[-1:], lambda t: t.flatten())
        elif key == POSITIONS:
            out[name] = lazy.map(lazy.shape[1:], lambda t: t[0])
        elif ".to_qkv." in name:
            shape = (lazy.shape[0] // 3, *lazy.shape[1:])
            for number, each in enumerate("qkv"):
                piece = lazy.map(shape, lambda t, number=number: t.chunk(3)[number])
                out[name.replace("to_qkv", f"{each}_proj")] = piece
        else:
            out[name] = lazy
    return out, left


def _image_to_official(tensors: Tensors) -> Tensors:
    """CLIP's vision tower from transformers: joins q, k and v; unsqueezes the embeddings."""
    plain = {
        key.removeprefix(CLIP_PREFIX): lazy
        for key, lazy in tensors.items()
        if not key.endswith("position_ids")
    }
    joined: Tensors = {}
    for key, lazy in plain.items():
        if ".q_proj." in key:
            three = [plain.get(key.replace("q_proj", f"{each}_proj")) for each in "qkv"]
            if any(each is None for each in three):
                raise WeightsError(f"{key}: its keys or values are missing")
            pieces = [each for each in three if each is not None]
            shape = (3 * lazy.shape[0], *lazy.shape[1:])
            joined[key.replace("q_proj", "to_qkv")] = LazyTensor(
                shape, lazy.dtype, _joining(pieces)
            )
        elif ".k_proj." not in key and ".v_proj." not in key:
            joined[key] = lazy
    names = to_official(joined, IMAGE_KEYS)
    out = {names[key]: lazy for key, lazy in joined.items()}
    if CLASS in out:
        out[CLASS] = out[CLASS].map((1, 1, *out[CLASS].shape), lambda t: t[None, None])
    if POSITIONS in out:
        out[POSITIONS] = out[POSITIONS].map((1, *out[POSITIONS].shape), lambda t: t[None])
    return out


def _joining(pieces: list[LazyTensor]) -> Callable[[], torch.Tensor]:
    return lambda: torch.cat([piece.read() for piece in pieces])


def _unscaling(
    key: str, lazy: LazyTensor, scales: Mapping[str, torch.Tensor]
) -> Callable[[], torch.Tensor]:
    return lambda: dequantize(key, lazy.read(), scales)


def _bytes_of(path: Path) -> LazyTensor:
    def read() -> torch.Tensor:
        return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)

    return LazyTensor((path.stat().st_size,), torch.uint8, read)


def _encoder_files(path: Path | None) -> tuple[Path, ...] | None:
    if path is None:
        return None
    return (path,) if path.is_file() else weight_files(path, "model")
