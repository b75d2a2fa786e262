"""Classifies clips, for example as animals or vehicles: by CLIP, by captions, or by your labels."""

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import numpy as np

from wanctl.curate.api import (
    ClipBatch,
    Embedder,
    Field,
    FilterUnavailableError,
    Trained,
    UserError,
    Verdicts,
    threshold,
)
from wanctl_filters.category.caption_vectors import CaptionEmbedder
from wanctl_filters.shared.embedders import ClipEmbedder, CnnEmbedder
from wanctl_filters.shared.embedding_keys import ClipKeys, mean_vectors
from wanctl_filters.shared.head_training import LEAST, fit_classes, fold_of
from wanctl_filters.shared.heads import Head, Inputs, check_inputs, read_head

CLASSES = {
    "technology": "computers, phones, robots and electronic devices",
    "animals": "animals, birds, fish and insects",
    "arts": "paintings, music, dance and theatre",
    "people": "people, faces and portraits",
    "vehicles": "cars, trains, ships, planes and bicycles",
    "nature": "landscapes, mountains, forests, the sea and the sky",
    "architecture": "buildings, bridges, streets and cities",
    "food": "food, drinks and cooking",
    "sports": "sports, athletes and games with a ball",
    "home": "rooms, furniture and daily life at home",
    "objects": "products and small things on a table",
    "animation": "cartoons, animation and video games",
}
TEMPLATES = ("a photo of {}.", "a frame of a video of {}.")
# MiniLM has no temperature; with this one its most confident quarter is near probability 1.
CAPTION_SCALE = 20.0


class Category(ClipKeys):
    """The most probable of `classes`, from their descriptions alone or from a trained head.

    `embedding: clip` compares frames with the descriptions of the classes (zero-shot, needs CLIP's
    weights), `caption` the text file next to each source (packaged MiniLM, which depends on single
    words: it takes a sports car for sports). `cnn` needs a head. `wanctl filters fit category`
    stores the text vectors of the classes as a head, so that deciding loads no model; with a sheet
    of labels it trains one instead.
    """

    embedding: Literal["clip", "caption", "cnn"] = Field(
        default="clip", description="what is compared: frames, or the text next to the source"
    )
    classes: dict[str, str] = threshold(
        default=CLASSES,
        min_length=2,
        description="class -> description that completes `a photo of`",
    )
    head: str | None = threshold(
        default=None, description="file that `wanctl filters fit category` made"
    )
    min_probability: float = threshold(
        default=0.0, quantile=1, ge=0, le=1, description="below it a clip has no class"
    )
    drop: tuple[str, ...] = threshold(default=(), description="classes that are dropped")

    def choices(self) -> Mapping[str, str]:
        """The classes and their descriptions."""
        return self.classes

    def embedder(self) -> Embedder:
        """The embedder that `embedding` names."""
        if self.embedding == "caption":
            return CaptionEmbedder(device=self.device)
        if self.embedding == "cnn":
            return CnnEmbedder(samples=self.samples, device=self.device)
        return self.clip_embedder()

    def check(self) -> None:
        """Verify the requirements of the embedding, and the head."""
        self.embedder().check()
        if self.head is not None:
            read_head(self.head, "category")

    def bounds(self) -> tuple[float, ...]:
        """The score below which a clip has no class."""
        return (self.min_probability,) if self.min_probability else ()

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """The score is the probability of the class."""
        best = np.full(len(batch), -1)
        probability = np.full(len(batch), np.nan)
        names = self._head.classes
        for rows, units in mean_vectors(batch):
            if units.shape[1] == 1:
                continue  # no caption in this chunk
            chances = self._head.probabilities(units)
            present = units.any(axis=1)
            best[rows] = np.where(present, chances.argmax(axis=1), -1)
            probability[rows] = np.where(present, chances.max(axis=1), np.nan)
        best[probability < self.min_probability] = -1
        label = np.array([*names, None], dtype=object)[best]
        return Verdicts.judge(
            probability,
            (
                np.isin(best, [index for index, name in enumerate(names) if name in self.drop]),
                lambda row: f"{label[row]}, with probability {probability[row]:.2f}, is not wanted",
            ),
            label=label,
        )

    def train(self, batch: ClipBatch, marks: list[str] | None) -> Trained:
        """Train a head on labels; without any, make one of the text vectors of the classes."""
        if marks is None:
            head = self._text_head()
        elif len(marks) < LEAST or len(set(marks)) < 2:
            raise UserError(f"category: give {LEAST} labels or more, of two classes or more")
        else:
            names = tuple(name for name in self.classes if name in set(marks))
            head = fit_classes(
                Inputs(self._key),
                np.concatenate([units for _, units in mean_vectors(batch)]),
                np.array([names.index(mark) for mark in marks]),
                names,
                fold_of(batch.clip("source").tolist(), batch.clip("id").tolist()),
            )
        return Trained(head.tensors(), head.metadata(), head.about)

    @property
    def _key(self) -> str:
        embedder = self.embedder()
        return f"{embedder.name}@{embedder.config_hash()}"

    @cached_property
    def _head(self) -> Head:
        if self.head is None:
            return self._text_head()
        head = read_head(self.head, "category")
        check_inputs(head, self._key, (), "category")
        return head

    def _text_head(self) -> Head:
        """A linear head of text vectors: its outputs are scaled cosines."""
        embedder = self.embedder()
        if isinstance(embedder, CaptionEmbedder):
            vectors = embedder.embed(list(self.classes.values()))
            scale = CAPTION_SCALE
        elif self.embedding == "clip":
            vectors, scale = _clip_text_vectors(self.clip_embedder(), list(self.classes.values()))
        else:
            raise FilterUnavailableError(
                "filter category: `embedding: cnn` has no text encoder; label some clips (`wanctl "
                "filters label category`), fit a head, and name it in `head`"
            )
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        size = vectors.shape[1]
        layer = (scale * vectors.T, np.zeros(len(vectors)))
        about = {"model": "text vectors", "classes": len(vectors)}
        ones = (np.zeros(size), np.ones(size))
        return Head(Inputs(self._key), *ones, (layer,), tuple(self.classes), about)


def _clip_text_vectors(embedder: ClipEmbedder, descriptions: list[str]) -> tuple[np.ndarray, float]:
    """(K, D) text vectors, each the mean over the templates, and CLIP's learnt logit scale."""
    import open_clip
    import torch

    from wanctl_filters.shared.open_clip_files import find_clip

    model, _ = embedder.loaded
    path, _ = find_clip(embedder.weights)
    assert path is not None
    name = f"local-dir:{path}" if path.is_dir() else embedder.architecture
    tokenizer, device = open_clip.get_tokenizer(name), next(model.parameters()).device
    text_vectors = []
    with torch.inference_mode():
        for description in descriptions:
            texts = tokenizer([template.format(description) for template in TEMPLATES])
            vectors = model.encode_text(texts.to(device), normalize=True)
            text_vectors.append(vectors.float().mean(dim=0).cpu().numpy())
        return np.stack(text_vectors), float(model.logit_scale.exp())
