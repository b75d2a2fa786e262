"""Similarity of a caption and frames by CLIP: finds captions that belong to another clip."""

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wanctl.caption.checks.facts import Finding
from wanctl.caption.checks.language import is_chinese, sentences
from wanctl.caption.frame_checks.models import load
from wanctl.device import pick_device

_MAX_FRAMES = 8


class CaptionSimilarity:
    """Cosine of the mean vector of frames and the mean vector of a caption's sentences.

    CLIP reads 77 tokens, a sentence or two: each sentence is embedded by itself. Chinese captions
    are not compared, because the published CLIP models know English only.

    Args:
        model: folder of transformers (`config.json`) or of open_clip (`open_clip_config.json`), or
            a hub id of open_clip.
        min_similarity: cosine below which a caption is flagged.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
    """

    def __init__(self, model: str, *, min_similarity: float, device: str) -> None:
        self._name, self._min_similarity = model, min_similarity
        self._device = pick_device(device)

    @torch.inference_mode()
    def embed_frames(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """(D,) unit vector of (H, W, 3) uint8 RGB frames, from 8 of them spread over the clip."""
        return _mean(self._encoder.images(_spread(images, _MAX_FRAMES)))

    @torch.inference_mode()
    def similarity(self, frames: torch.Tensor, caption: str) -> float:
        """Cosine of a vector of `embed_frames` and a caption, -1 to 1."""
        return float(frames @ _mean(self._encoder.texts(sentences(caption) or [caption])))

    def check(self, frames: torch.Tensor, caption: str) -> list[Finding]:
        """A finding where an English caption is less similar to the frames than it has to be."""
        if is_chinese(caption):
            return []
        value = self.similarity(frames, caption)
        if value >= self._min_similarity:
            return []
        reason = (
            f"the caption does not fit the frames (similarity {value:.2f}, at least "
            f"{self._min_similarity:g} wanted); describe what this clip shows"
        )
        return [Finding("similarity", reason)]

    @cached_property
    def _encoder(self) -> "_TransformersClip | _OpenClip":
        folder = Path(self._name).expanduser()
        kind = _TransformersClip if _is_transformers(folder) else _OpenClip
        return load("similarity", self._name, partial(kind, device=self._device))


class _TransformersClip:
    def __init__(self, name: str, device: torch.device) -> None:
        from transformers import AutoModel, AutoProcessor  # noqa: PLC0415  (a second to import)

        self._model: Any = AutoModel.from_pretrained(name).eval().to(device)
        self._processor: Any = AutoProcessor.from_pretrained(name)
        if not hasattr(self._model, "get_image_features"):
            raise ValueError(f"{type(self._model).__name__} has no vectors of pictures and texts")
        self._device = device

    def images(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        inputs = self._processor(images=list(images), return_tensors="pt").to(self._device)
        return _tensor(self._model.get_image_features(**inputs))

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        inputs = self._processor(
            text=list(texts), return_tensors="pt", padding="max_length", truncation=True
        )
        return _tensor(self._model.get_text_features(**inputs.to(self._device)))


class _OpenClip:
    def __init__(self, name: str, device: torch.device) -> None:
        import open_clip  # noqa: PLC0415  (a second to import)

        address = f"{'local-dir' if Path(name).is_dir() else 'hf-hub'}:{name}"
        self._model, _, self._preprocess = open_clip.create_model_and_transforms(
            address, device=device
        )
        self._model.eval()
        self._tokenizer = open_clip.get_tokenizer(address)
        self._device = device

    def images(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        from PIL import Image  # noqa: PLC0415

        preprocess: Any = self._preprocess
        pictures = torch.stack([preprocess(Image.fromarray(image)) for image in images])
        encode: Any = self._model.encode_image
        return encode(pictures.to(self._device)).float()

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        encode: Any = self._model.encode_text
        return encode(self._tokenizer(list(texts)).to(self._device)).float()


def _is_transformers(folder: Path) -> bool:
    return (folder / "config.json").is_file() and not (folder / "open_clip_config.json").is_file()


def _tensor(features: Any) -> torch.Tensor:
    """(N, D) float features; newer versions of transformers wrap them."""
    tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    return tensor.float()


def _mean(vectors: torch.Tensor) -> torch.Tensor:
    """(D,) unit vector in the direction of the mean of (N, D) unit vectors."""
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    return torch.nn.functional.normalize(unit.mean(dim=0), dim=-1)


def _spread(images: Sequence[np.ndarray], most: int) -> list[np.ndarray]:
    """At most `most` of the images, evenly over all of them."""
    step = max(1.0, len(images) / most)
    return [images[int(index * step)] for index in range(min(most, len(images)))]
