"""Heads on top of embeddings: linear or with one hidden layer, stored as safetensors."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wanctl.curate.api import FilterUnavailableError

FORMAT = "wanctl-head-1"


@dataclass(frozen=True)
class Inputs:
    """The inputs of a head.

    Attributes:
        embedding: `name@hash` of the embedder, so that other vectors are refused.
        scores: names of earlier filters whose scores are inputs too.
    """

    embedding: str
    scores: tuple[str, ...] = ()


@dataclass(frozen=True)
class Head:
    """features -> (N, K): standardise, then the layers with ReLU in between.

    Attributes:
        inputs: the sources of the features.
        mean: (F,) subtracted from the features.
        scale: (F,) divisor of the features.
        layers: (weight (in, out), bias (out,)) of each layer.
        classes: names of the outputs, where they are classes.
        about: figures of its training, stored in the file.
        limit: standardised scores are clipped to this magnitude.
    """

    inputs: Inputs
    mean: np.ndarray
    scale: np.ndarray
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    classes: tuple[str, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)
    limit: float = math.inf

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(N, K) outputs; a missing score counts as the mean."""
        values = (features - self.mean) / self.scale
        values = np.where(np.isnan(values), 0.0, values)
        width = values.shape[1] - len(self.inputs.scores)
        values[:, width:] = np.clip(values[:, width:], -self.limit, self.limit)
        for index, (weight, bias) in enumerate(self.layers):
            if index:
                values = np.maximum(values, 0.0)
            values = values @ weight + bias
        return values

    def predict(self, vectors: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """(N, K) outputs of (N, D) vectors and (N, F) scores, which are not joined in one array.

        The embedding is standardised in the weights of the first layer: of millions of clips, its
        copies would take longer than the product.
        """
        (weight, bias), *rest = self.layers
        width = vectors.shape[1]
        folded = weight[:width] / self.scale[:width, None]
        known = (scores - self.mean[width:]) / self.scale[width:]
        known = np.clip(np.where(np.isnan(known), 0.0, known), -self.limit, self.limit)
        values = vectors @ folded.astype(vectors.dtype) + known @ weight[width:]
        values = values + (bias - self.mean[:width] @ folded)
        for weight, bias in rest:
            values = np.maximum(values, 0.0) @ weight + bias
        return values

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """(N, K) class probabilities; a single output is the log-odds of the second class."""
        outputs = self(features).astype(np.float64)
        if outputs.shape[1] == 1:
            outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
        weights = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def tensors(self) -> dict[str, np.ndarray]:
        """The tensors of the file."""
        named = {"mean": self.mean, "scale": self.scale}
        for index, (weight, bias) in enumerate(self.layers):
            named |= {f"layers.{index}.weight": weight, f"layers.{index}.bias": bias}
        return {
            name: np.ascontiguousarray(value, dtype=np.float32) for name, value in named.items()
        }

    def metadata(self) -> dict[str, str]:
        """The metadata of the file."""
        return {
            "format": FORMAT,
            "embedding": self.inputs.embedding,
            "scores": json.dumps(self.inputs.scores),
            "classes": json.dumps(self.classes),
            "about": json.dumps(self.about),
            "limit": str(self.limit),
        }


def read_head(path: str, filter_name: str) -> Head:
    """Read a head from its file.

    Raises:
        FilterUnavailableError: the file does not exist or is no head.
    """
    from safetensors import SafetensorError, safe_open

    file = Path(path).expanduser()
    try:
        with safe_open(file, framework="np") as stored:
            metadata = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FilterUnavailableError(
            f"filter {filter_name}: head {file}: {line}; "
            f"`wanctl filters fit {filter_name}` makes one"
        ) from error
    if metadata.get("format") != FORMAT:
        raise FilterUnavailableError(
            f"filter {filter_name}: {file} is no head that `wanctl filters fit` made"
        )
    count = sum(name.endswith(".weight") for name in tensors)
    return Head(
        inputs=Inputs(metadata["embedding"], tuple(json.loads(metadata["scores"]))),
        mean=tensors["mean"],
        scale=tensors["scale"],
        layers=tuple(
            (tensors[f"layers.{index}.weight"], tensors[f"layers.{index}.bias"])
            for index in range(count)
        ),
        classes=tuple(json.loads(metadata["classes"])),
        about=json.loads(metadata["about"]),
        limit=float(metadata.get("limit", "inf")),  # files of earlier versions have none
    )


def standardiser(vectors: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of features [vectors, scores].

    All dimensions of the embedding share one scale and together weigh as much as sixteen scores:
    with a penalty on weights, a thousand dimensions would otherwise outweigh five scores.
    """
    mean = np.concatenate([vectors.mean(axis=0), _nanmean(scores)])
    spread = float(vectors.std(axis=0).mean()) or 1.0
    wide = spread * np.sqrt(vectors.shape[1] / 16)
    centre = _nanmean(scores)
    deviation = np.sqrt(_nanmean((scores - centre) ** 2))
    # a constant column deviates by rounding, which the 32 bits of the file would magnify
    varies = deviation > 1e-5 * (1 + np.abs(centre))
    scale = np.concatenate([np.full(vectors.shape[1], wide), np.where(varies, deviation, 1.0)])
    return mean, scale


def check_inputs(head: Head, embedding: str, names: Sequence[str], filter_name: str) -> None:
    """Verify that a head gets the inputs that it was trained on.

    Raises:
        FilterUnavailableError: another embedding, or a filter whose scores it needs is missing.
    """
    if head.inputs.embedding != embedding:
        raise FilterUnavailableError(
            f"filter {filter_name}: its head was trained on embedding {head.inputs.embedding}, "
            f"the recipe makes {embedding}; set `embedding` and its keys alike, or fit it again"
        )
    missing = [name for name in head.inputs.scores if name not in names]
    if missing:
        raise FilterUnavailableError(
            f"filter {filter_name}: its head wants the scores of {', '.join(missing)}; put them "
            f"before {filter_name} in the recipe, or fit it again"
        )


def _nanmean(values: np.ndarray) -> np.ndarray:
    present = ~np.isnan(values)
    counts = np.maximum(present.sum(axis=0), 1)
    return np.where(present, values, 0.0).sum(axis=0) / counts
