"""Runs an image classifier in the transformers layout: a folder, or a hub id in the hub cache."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wanctl.curate.api import FilterUnavailableError, pick_device
from wanctl_filters.shared.batched_inference import run_over_clips


class ImageClassifier:
    """Class probabilities of single frames. Nothing is downloaded.

    Args:
        name: the folder or hub id.
        device: auto, cpu, cuda or cuda:N.
    """

    def __init__(self, name: str, device: str) -> None:
        self._name = name
        self._device_name = device

    @staticmethod
    def find(name: str) -> tuple[Path | None, str]:
        """Return the folder, or None and the place that was searched."""
        path = Path(name).expanduser()
        if (path / "config.json").is_file():
            return path, ""
        place = str(path.absolute() / "config.json")
        if name.count("/") == 1 and not name.startswith((".", "~", "/")):
            from huggingface_hub import constants, try_to_load_from_cache

            cached = try_to_load_from_cache(name, "config.json")
            if isinstance(cached, str):
                return Path(cached).parent, ""
            place = f"config.json of {name} in {constants.HF_HUB_CACHE}"
        return None, place

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of the probabilities."""
        names = self._model.config.id2label
        return [str(names[index]) for index in sorted(names)]

    def probabilities(self, clips: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
        """(N, K) for each clip's (H, W, 3) uint8 frames."""
        inputs = [
            self._processor(images=list(frames), return_tensors="pt")["pixel_values"]
            for frames in clips
        ]
        return run_over_clips(
            lambda x: self._model(pixel_values=x).logits.float().softmax(dim=1),
            inputs,
            self._device,
        )

    @cached_property
    def _folder(self) -> Path:
        path, place = self.find(self._name)
        if path is None:
            raise FilterUnavailableError(f"no image classifier {self._name}; looked for {place}")
        return path

    @cached_property
    def _model(self) -> Any:
        from transformers import AutoModelForImageClassification

        model = AutoModelForImageClassification.from_pretrained(
            str(self._folder), local_files_only=True
        )
        return model.eval().to(self._device)

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoImageProcessor

        return AutoImageProcessor.from_pretrained(str(self._folder), local_files_only=True)

    @cached_property
    def _device(self) -> Any:
        return pick_device(self._device_name)
