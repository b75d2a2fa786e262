"""Prompts to embeddings: read once, kept on disk, the encoder gone before anything else loads."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from wanctl.checkpoint.resolve import ResolvedWeights, text_encoder_files
from wanctl.checkpoint.tensor_files import WeightsError
from wanctl.device import free_device_memory
from wanctl.encoders.text import encoder_key, load_text_encoder
from wanctl.log import progress
from wanctl.model.variants import DiTShape
from wanctl.sample.prompt_cache import PromptCache
from wanctl.tasks.api import trim_text

READ_TOGETHER = 64  # prompts, 8 MB each, for which the text encoder is read from its files once


class PromptReader:
    """Reads prompts for one transformer.

    Args:
        weights: hold the text encoder.
        dit: sizes of the transformer.
        device: where the encoder runs.
        folder: of the embeddings that are kept; unused where a package brings the encoder, which
            is small.
    """

    def __init__(
        self, weights: ResolvedWeights, dit: DiTShape, device: torch.device, folder: Path
    ) -> None:
        self._weights = weights
        self._dit = dit
        self._device = device
        # Official: bf16, however the transformer runs; fp32 where bf16 is slow.
        self._dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self._cache = self._cache_in(folder)

    def embed(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """(tokens, text_dim) of each prompt, on the CPU.

        Raises:
            WeightsError: the encoder cannot be loaded, or is of another model.
        """
        cache = self._cache
        known = {prompt: cache.get(prompt) if cache else None for prompt in prompts}
        texts = {prompt: text for prompt, text in known.items() if text is not None}
        unread = [prompt for prompt in prompts if prompt not in texts]
        if unread:
            read = self._read(unread)
            if cache:
                for prompt, text in read.items():
                    cache.put(prompt, text)
            texts |= read
        return texts

    def _cache_in(self, folder: Path) -> PromptCache | None:
        text, kind = self._weights.text, self._weights.text_kind
        if text is None:
            return None
        name = encoder_key(kind, text_encoder_files(text), self._dit.text_len, self._dtype)
        return PromptCache(folder, f"{name} {self._dit.text_dim}")

    def _read(self, prompts: Sequence[str]) -> dict[str, Tensor]:
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
        parts = [prompts[i : i + READ_TOGETHER] for i in range(0, len(prompts), READ_TOGETHER)]
        with progress(len(parts) * encoder.blocks, "reading prompts") as bar:
            for part in parts:
                rows = encoder.encode(part, on_block=bar.advance)
                for prompt, row in zip(part, rows, strict=True):
                    texts[prompt] = trim_text(row).to("cpu", copy=True)
        del encoder
        free_device_memory(self._device)
        return texts
