"""Embeddings of prompts on disk: an encoder of 11 GB need not be loaded for words it has read.

Shapes: S tokens, E width.
"""

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wanctl.atomic import replacing

KEY = "embedding"


class PromptCache:
    """One file per prompt and encoder.

    Args:
        folder: where the files are; need not exist.
        encoder: a name that changes with the encoder's weights, length and number format.
    """

    def __init__(self, folder: Path, encoder: str) -> None:
        self._folder = folder
        self._encoder = encoder

    def get(self, prompt: str) -> Tensor | None:
        """(S, E), or None where it was never read or the file is not whole."""
        path = self._path(prompt)
        if not path.is_file():
            return None
        try:
            return load_file(path)[KEY]
        except (OSError, SafetensorError, KeyError):
            return None

    def put(self, prompt: str, embedding: Tensor) -> None:
        """Keep (S, E)."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._path(prompt)) as temp:
            save_file({KEY: embedding.contiguous()}, temp, metadata={"prompt": prompt})

    def _path(self, prompt: str) -> Path:
        name = hashlib.sha256(f"{self._encoder}\n{prompt}".encode()).hexdigest()[:24]
        return self._folder / f"{name}.safetensors"
