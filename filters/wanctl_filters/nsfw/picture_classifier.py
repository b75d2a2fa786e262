"""An image classifier in the layout of transformers: a folder, or a hub id in the hub's cache."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wanctl.curate.api import FilterUnavailableError
from wanctl_filters.shared.batches import run_over_clips


class PictureClassifier:
    """Probabilities of classes for single pictures. Nothing is downloaded.

    Args:
        name: the folder or hub id.
        device: auto, cpu, cuda or cuda:N.
    """

    def __init__(self, name: str, device: str) -> None:
        self._name = name
        self._device_name = device

    @staticmethod
    def find(name: str) -> tuple[Path | None, str]:
        """The folder, and where it was looked for."""
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
        """Its classes, in the order of the probabilities."""
        names = self._model.config.id2label
        return [str(names[index]) for index in sorted(names)]

    def probabilities(self, clips: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
        """(N, K) for each clip's (H, W, 3) uint8 frames."""
        pictures = [
            self._processor(images=list(frames), return_tensors="pt")["pixel_values"]
            for frames in clips
        ]
        return run_over_clips(
            lambda x: self._model(pixel_values=x).logits.float().softmax(dim=1),
            pictures,
            self._device,
        )

    @cached_property
    def _folder(self) -> Path:
        found, place = self.find(self._name)
        if found is None:
            raise FilterUnavailableError(f"no image classifier {self._name}; looked for {place}")
        return found

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
        from wanctl.device import pick_device

        return pick_device(self._device_name)
