"""Counts people and objects on frames with an object detector, where it is sure of the number."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from wanctl.caption.frame_checks.models import load
from wanctl.device import pick_device

_MAX_FRAMES = 8
_BATCH = 4
# A frame is clear on a kind of object where no box of it has a score in between.
_SCORE, _DOUBT = 0.8, 0.4
_SURE_SHARE = 0.7
"""Share of the frames that are clear and have the same number."""
_MAX_COUNT = 8
"""Detectors lose count in crowds."""


class ObjectCounter:
    """Numbers of objects that a detector is sure of.

    Args:
        model: folder or hub id of an object detector of transformers (DETR, RT-DETR, YOLOS, ...).
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
    """

    def __init__(self, model: str, *, device: str) -> None:
        self._name = model
        self._device = pick_device(device)

    def counts(self, images: Sequence[np.ndarray]) -> dict[str, int]:
        """Object -> its number, of (H, W, 3) uint8 RGB frames of one clip, 8 of them at most.

        An object that is not there is not listed: a detector knows few kinds.
        """
        step = max(1.0, len(images) / _MAX_FRAMES)
        chosen = [images[int(index * step)] for index in range(min(_MAX_FRAMES, len(images)))]
        return sure_counts([each for part in _parts(chosen) for each in self._detect(part)])

    @torch.inference_mode()
    def _detect(self, images: Sequence[np.ndarray]) -> list[list[tuple[str, float]]]:
        """(label, score) of the boxes of each frame, down to the score of doubt."""
        processor, model = self._loaded
        inputs = processor(images=list(images), return_tensors="pt").to(self._device)
        sizes = torch.tensor([image.shape[:2] for image in images])
        found = processor.post_process_object_detection(
            model(**inputs), threshold=_DOUBT, target_sizes=sizes
        )
        names = model.config.id2label
        return [
            [
                (names[int(label)].lower(), float(score))
                for label, score in zip(each["labels"], each["scores"], strict=True)
            ]
            for each in found
        ]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        return load("detector", self._name, self._read)

    def _read(self, name: str) -> tuple[Any, Any]:
        from transformers import (  # noqa: PLC0415  (a second to import)
            AutoImageProcessor,
            AutoModelForObjectDetection,
        )

        model = AutoModelForObjectDetection.from_pretrained(name).eval().to(self._device)
        return AutoImageProcessor.from_pretrained(name), model


def sure_counts(frames: Sequence[Sequence[tuple[str, float]]]) -> dict[str, int]:
    """Object -> the number that a clear majority of frames agrees on without doubtful boxes.

    Args:
        frames: (label, score) of the boxes of each frame, those of little score included.
    """
    votes: dict[str, Counter[int]] = {}
    for boxes in frames:
        certain = Counter(label for label, score in boxes if score >= _SCORE)
        possible = Counter(label for label, score in boxes if score >= _DOUBT)
        for label in possible:
            if certain[label] == possible[label]:
                votes.setdefault(label, Counter())[certain[label]] += 1
    sure = {}
    for label, numbers in votes.items():
        number, frequency = numbers.most_common(1)[0]
        if frequency >= _SURE_SHARE * len(frames) and number <= _MAX_COUNT:
            sure[label] = number
    return sure


def _parts(images: Sequence[np.ndarray]) -> list[Sequence[np.ndarray]]:
    """Batches of images of one size, as slow-fast sampling gives two sizes."""
    by_size: dict[tuple[int, ...], list[np.ndarray]] = {}
    for image in images:
        by_size.setdefault(image.shape, []).append(image)
    return [
        same[start : start + _BATCH]
        for same in by_size.values()
        for start in range(0, len(same), _BATCH)
    ]
