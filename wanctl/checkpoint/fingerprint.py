"""Hash models by their tensors, so that equal weights name samples alike whatever file holds them.

Names are the official ones, so that another layout, other shards, another container or header
change nothing. Of large tensors a few probes are read: training changes all values, so that some
probe differs, and a 14B model takes a second instead of minutes.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from wanctl.checkpoint.diffusers_layout.animate import join_tensors
from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.files.folders import weight_files
from wanctl.checkpoint.files.scaled_fp8 import is_scale_key, weight_of
from wanctl.checkpoint.files.tensor_files import iterate_stored
from wanctl.checkpoint.find import Components
from wanctl.checkpoint.key_tables import VOCABULARY
from wanctl.checkpoint.load import official_names, read_dit_shape
from wanctl.checkpoint.lora.apply import Lora
from wanctl.checkpoint.lora.files import read_lora
from wanctl.checkpoint.prefixes import IMAGE_ENCODER, TEXT_ENCODER, TRANSFORMER, VAE
from wanctl.checkpoint.tiny_decoder import read_output_vae_shape
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import DiTShape, VAEShape

# transformers stores the embedding of umT5 twice, or under either name.
EMBEDDING, EMBEDDING_COPY = "token_embedding.weight", "encoder.embed_tokens.weight"
WHOLE_BYTES = 65536  # larger tensors are hashed by probes
PROBES = 3
PROBE_BYTES = 4096
# Settings of PEFT that change what a LoRA does.
LORA_SETTINGS = ("r", "alpha", "rank_pattern", "alpha_pattern", "use_rslora", "peft_type")


def weights_fingerprint(
    dit: Components,
    vae: Components,
    text: Components | None,
    image: Components | None,
    loras: Sequence[Lora],
    audio: Components | None = None,
) -> str:
    """16 hex digits over all tensors, sizes and LoRAs that sampling uses.

    Raises:
        WeightsError: a file cannot be read.
    """
    digest = hashlib.sha256()
    experts = [dit, dit.low_expert] if dit.dit_low else [dit]
    for expert in experts:
        digest.update(_sizes(read_dit_shape, expert).encode())
        _add_tensors(digest, expert.dit or (), TRANSFORMER)
    digest.update(_sizes(read_output_vae_shape, vae).encode())
    _add_tensors(digest, vae.vae or (), VAE)
    if text and text.text_encoder:
        _add_tensors(digest, _files(text.text_encoder), TEXT_ENCODER)
        for path in _tokenizer_files(text.tokenizer):
            digest.update(f"{path.name} ".encode())
            digest.update(path.read_bytes())
    if image and image.image_encoder:
        _add_tensors(digest, _files(image.image_encoder), IMAGE_ENCODER)
    if audio and audio.audio_encoder:
        files = _files(audio.audio_encoder)
        _add(digest, (stored for path in files for stored in iterate_stored(path)))
    for lora in loras:
        _add_lora(digest, lora)
    return digest.hexdigest()[:16]


def dit_fingerprint(dit: Components) -> str:
    """16 hex digits over the sizes and tensors of a transformer, the one for high noise of two.

    Raises:
        WeightsError: a file cannot be read.
    """
    digest = hashlib.sha256(_sizes(read_dit_shape, dit).encode())
    _add_tensors(digest, dit.dit or (), TRANSFORMER)
    return digest.hexdigest()[:16]


def vae_hash(vae: WanVAE) -> str:
    """12 hex digits of a hash over sizes, statistics and weights, whatever file they come from."""
    total = hashlib.sha256(repr(vae.shape).encode())
    for name, tensor in sorted(vae.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()[:12]


def image_encoder_hash(image: Components) -> str:
    """12 hex digits of a hash over the tensors of CLIP's vision tower.

    Raises:
        WeightsError: a file cannot be read.
    """
    digest = hashlib.sha256()
    if image.image_encoder:
        _add_tensors(digest, _files(image.image_encoder), IMAGE_ENCODER)
    return digest.hexdigest()[:12]


def _sizes(read: Callable[[Components], DiTShape | VAEShape], components: Components) -> str:
    """Sizes as JSON; they hold what no tensor shows, such as heads and latent statistics."""
    try:
        shape = read(components)
        sizes = shape.sizes if isinstance(shape, DiTShape) else asdict(shape)
        return json.dumps(sizes, sort_keys=True)
    except WeightsError:  # loading says it again, when nothing is missing besides
        return ""


def _add_tensors(digest: "hashlib._Hash", files: Sequence[Path], network: str) -> None:
    """Add one network's tensors, and the scales of those in fp8; files may hold other networks."""
    names, _ = official_names(files, network)
    stored = ((name, tensor) for path in files for name, tensor in iterate_stored(path))
    stored = join_tensors(stored) if network == TRANSFORMER else stored
    used = ((_name(name, names), tensor) for name, tensor in stored)
    _add(digest, ((name, tensor) for name, tensor in used if name))


def _name(stored: str, names: Mapping[str, str]) -> str:
    """Official name of a tensor or of a scale; empty where it is not this network's."""
    if is_scale_key(stored):
        weight = names.get(weight_of(stored))
        return f"{weight} scale" if weight else ""
    name = names.get(stored, "")
    return "" if name == VOCABULARY else EMBEDDING if name == EMBEDDING_COPY else name


def _add_lora(digest: "hashlib._Hash", lora: Lora) -> None:
    stored = read_lora(lora.path)
    settings = {
        key: value
        for key, value in stored.settings.items()
        if key.rpartition(".")[2] in (*LORA_SETTINGS, "lora_alpha")
    }
    about = f"{lora.strength} {lora.expert} {json.dumps(settings, sort_keys=True)}"
    digest.update(about.encode())
    _add(digest, stored.tensors.items())


def _add(digest: "hashlib._Hash", tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Add tensors in the order of their names, holding none of them."""
    lines = {name: f"{name} {tuple(t.shape)} {t.dtype} {_probe(t)}" for name, t in tensors}
    for name in sorted(lines):
        digest.update(lines[name].encode())


def _probe(tensor: Tensor) -> str:
    """Hex digits of a tensor's values, or of some of them."""
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    values = plain.view(torch.uint8) if plain.numel() else plain.to(torch.uint8)
    digest = hashlib.sha256()
    for start, stop in _ranges(values.numel()):
        digest.update(values[start:stop].numpy().data)
    return digest.hexdigest()


def _ranges(count: int) -> Iterator[tuple[int, int]]:
    if count <= WHOLE_BYTES:
        yield 0, count
        return
    for probe in range(PROBES):
        start = probe * (count - PROBE_BYTES) // (PROBES - 1)
        yield start, start + PROBE_BYTES


def _files(path: Path) -> Sequence[Path]:
    return (path,) if path.is_file() else weight_files(path, "model") or ()


def _tokenizer_files(path: Path | None) -> list[Path]:
    """The files that tokenizing uses, of a folder or alone."""
    if path is None or path.is_file():
        return [path] if path else []
    stored = path / "tokenizer.json"
    return [stored] if stored.is_file() else sorted(path.glob("*.model"))
