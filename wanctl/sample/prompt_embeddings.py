"""Text embeddings of prompts: cached on disk, since the encoder takes 11 GB to load.

Shapes: S tokens, E width.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from wanctl.atomic import make_folder, replacing
from wanctl.checkpoint.files.finite import is_finite
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.files.write import save_tensors
from wanctl.checkpoint.resolve import ResolvedWeights, text_encoder_files
from wanctl.device import free_device_memory
from wanctl.encoders.text import encoder_key, load_text_encoder, warn_of_cut
from wanctl.log import progress
from wanctl.model.variants import DiTShape
from wanctl.sample.finite import check_texts
from wanctl.tasks.api import trim_text

KEY = "embedding"
TOKENS = "tokens"
ENCODER_BATCH = 64  # prompts, 8 MB each, for which the encoder streams its blocks from disk once


class EmbeddingCache:
    """Stores one file per prompt and encoder.

    Args:
        folder: where the files are; need not exist.
        encoder: a name that changes with the encoder's weights, length and number format.
    """

    def __init__(self, folder: Path, encoder: str) -> None:
        self._folder = folder
        self._encoder = encoder

    def get(self, prompt: str) -> Tensor | None:
        """(S, E); None where the prompt was never encoded, or the file is damaged or not finite."""
        path = self._path(prompt)
        if not path.is_file():
            return None
        try:
            embedding = load_file(path)[KEY]
        except (OSError, SafetensorError, KeyError):
            return None
        return embedding if is_finite(embedding) else None

    def tokens_of_cut(self, prompt: str) -> int:
        """The number of tokens of a stored prompt that was cut; 0 where it was not."""
        with safe_open(self._path(prompt), framework="pt") as file:
            return int((file.metadata() or {}).get(TOKENS, "0"))

    def put(self, prompt: str, embedding: Tensor, tokens_of_cut: int = 0) -> None:
        """Store (S, E), and the prompt's number of tokens where it was cut."""
        make_folder(self._folder)
        metadata = {"prompt": prompt, TOKENS: str(tokens_of_cut)}
        with replacing(self._path(prompt)) as temp:
            save_tensors(temp, {KEY: embedding}, metadata)

    def _path(self, prompt: str) -> Path:
        name = hashlib.sha256(f"{self._encoder}\n{prompt}".encode()).hexdigest()[:24]
        return self._folder / f"{name}.safetensors"


class PromptEncoder:
    """Encodes prompts for one transformer; the text encoder is loaded only for uncached ones.

    Args:
        weights: with the text encoder.
        dit: sizes of the transformer.
        device: where the encoder runs.
        folder: of the cached embeddings; unused for an encoder that a package carries, which is
            small.
    """

    def __init__(
        self, weights: ResolvedWeights, dit: DiTShape, device: torch.device, folder: Path
    ) -> None:
        self._weights = weights
        self._dit = dit
        self._device = device
        # Official: bf16, however the transformer runs; fp32 where bf16 is slow.
        self._dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self._cache = self._open_cache(folder)

    def embed(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """(S, E) of each prompt, on the CPU.

        Raises:
            WeightsError: the encoder cannot be loaded, or belongs to another model.
        """
        cache = self._cache
        cached = {prompt: cache.get(prompt) if cache else None for prompt in prompts}
        texts = {prompt: text for prompt, text in cached.items() if text is not None}
        missing = [prompt for prompt in prompts if prompt not in texts]
        if cache:
            counts = {prompt: cache.tokens_of_cut(prompt) for prompt in texts}
            cut = [(prompt, count) for prompt, count in counts.items() if count]
            for number, (prompt, count) in enumerate(cut, 1):
                warn_of_cut(prompt, count, self._dit.text_len, number)
        if missing:
            encoded, num_tokens = self._encode(missing)
            check_texts(encoded, self._weights.text)
            if cache:
                for prompt, text in encoded.items():
                    cache.put(prompt, text, num_tokens.get(prompt, 0))
            texts |= encoded
        return texts

    def _open_cache(self, folder: Path) -> EmbeddingCache | None:
        text, kind = self._weights.text, self._weights.text_kind
        if text is None:
            return None
        name = encoder_key(kind, text_encoder_files(text), self._dit.text_len, self._dtype)
        return EmbeddingCache(folder, f"{name} {self._dit.text_dim}")

    def _encode(self, prompts: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Embeddings, and the tokens of the prompts that were cut."""
        weights, dit = self._weights, self._dit
        encoder = load_text_encoder(
            weights.text_kind,
            weights.text,
            text_len=dit.text_len,
            device=self._device,
            dtype=self._dtype,
            keep=False,
        )
        if encoder.dim != dit.text_dim:
            raise WeightsError(
                f"the transformer ({weights.dit.root}) takes text of width {dit.text_dim} and the "
                f"text encoder ({weights.text_kind}) makes {encoder.dim}; set model.text_weights "
                "to the one it was trained with"
            )
        texts = {}
        groups = [prompts[i : i + ENCODER_BATCH] for i in range(0, len(prompts), ENCODER_BATCH)]
        with progress(len(groups) * encoder.blocks, "encoding prompts") as bar:
            for group in groups:
                rows = encoder.encode(group, on_block=bar.advance)
                for prompt, row in zip(group, rows, strict=True):
                    texts[prompt] = trim_text(row).to("cpu", copy=True)
        cut = encoder.cut
        del encoder
        free_device_memory(self._device)
        return texts, cut
