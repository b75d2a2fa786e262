"""Latents of finished clips, kept beside the output until it is written."""

import shutil
from pathlib import Path

import torch
from torch import Tensor

from wanctl.atomic import make_folder, replacing
from wanctl.checkpoint.files.tensor_files import WeightsError, read_tensors
from wanctl.checkpoint.files.write import save_tensors

KEY = "latents"


class FinishedClips:
    """The clips of one output; a run that was stopped takes up where it ended.

    Args:
        output: the video file, whose name holds a hash of all settings.
        header: entries of the files.
    """

    def __init__(self, output: Path, header: dict[str, str]) -> None:
        self._folder = output.with_name(f"{output.stem}.clips")
        self._header = header

    def read(self, clip: int) -> Tensor | None:
        """(1, C, T, Y, X) latents of a finished clip; None where it is not finished."""
        path = self._path(clip)
        if not path.is_file():
            return None
        try:
            return dict(read_tensors([path], {KEY}))[KEY].clone()
        except (WeightsError, KeyError):
            return None  # damaged since: sampled again

    def write(self, clip: int, latents: Tensor) -> None:
        """Keep the latents of a clip."""
        make_folder(self._folder)
        with replacing(self._path(clip)) as temp:
            save_tensors(temp, {KEY: latents.cpu()}, self._header)

    def all_latents(self, count: int) -> Tensor:
        """(clips, C, T, Y, X) latents of all clips."""
        return torch.cat([each for n in range(count) if (each := self.read(n)) is not None])

    def remove(self) -> None:
        """Delete the clips of an output that is written."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, clip: int) -> Path:
        return self._folder / f"clip-{clip:03}.safetensors"
