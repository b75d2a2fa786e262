"""The conditions of windows beside their text: computed once, kept on disk, read in every step.

What a task's inputs become (latents of known frames, CLIP's hidden states) depends on the window,
the task, the draw, the encoders and the kind of transformer; the key names them all. Where a window
is not cached, the same code encodes it when it is read.

Shapes: B batch, C channels, T latent frames, Y/X latent rows/columns, I image tokens, E width.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from wanctl.checkpoint.files.finite import is_finite
from wanctl.data.cache import CacheError, LatentCache, cache_key
from wanctl.diffusion.conditions import Conditions
from wanctl.model.shapes import PixelShape
from wanctl.tasks.image_channels import has_image_channels, num_clip_images
from wanctl.tasks.table import get_task
from wanctl.train.accelerator import Processes
from wanctl.train.dit.tasks.api import TrainingTask
from wanctl.train.dit.tasks.encoders import TrainingEncoders
from wanctl.train.inputs.encode import TensorCache, add_missing
from wanctl.train.inputs.windows import ClipWindow, Footage
from wanctl.train.rng import keyed_generator

# Fields of Conditions that the inputs decide, in the order in which they are stored.
FIELDS = ("channels", "image", "control", "known", "known_frames")

DrawnWindow = tuple[TrainingTask, ClipWindow, int]
"""A task, a window and the number of the draw."""


class ConditionStore:
    """Conditions of drawn windows, without the text.

    Args:
        footage: source of the frames.
        encoders: the VAE and CLIP; their memory is freed after `encode`.
        fps: frame rate of the windows.
        folder: `DATASET/conditions`; None: nothing is cached, each read encodes.
    """

    def __init__(
        self, footage: Footage, encoders: TrainingEncoders, fps: float, folder: Path | None
    ) -> None:
        self._footage = footage
        self._encoders = encoders
        self._fps = fps
        self._cache = None if folder is None else LatentCache(folder, encoders.key)
        self._in_memory = TensorCache()

    @property
    def encoders_key(self) -> str:
        """Names the weights of the VAE and of CLIP."""
        return self._encoders.key

    def encode(
        self, drawn: Iterable[DrawnWindow], processes: Processes, run: Path | None = None
    ) -> None:
        """Encode what the cache lacks; each process of the run encodes its share.

        `run`, a folder, is recorded as a user of the conditions.

        Raises:
            CacheError: conditions are not finite.
        """
        if self._cache is None:
            return
        by_key = {self._key(*each): each for each in drawn if each[0].has_inputs}
        add_missing(
            self._cache,
            by_key,
            lambda each: pack(self._compute(*each)),
            processes,
            run,
            "known frames to latents",
            "conditions of windows",
        )
        self._encoders.free()

    def get(self, task: TrainingTask, window: ClipWindow, draw: int) -> Conditions:
        """Conditions (1, ...) of one window with an empty context, on the CPU."""
        if not task.has_inputs:
            return Conditions(self._no_context())
        key = self._key(task, window, draw)
        if self._cache is None or key not in self._cache:
            return self._compute(task, window, draw)
        return unpack(self._in_memory.get(key, self._cache.get), self._no_context())

    def _key(self, task: TrainingTask, window: ClipWindow, draw: int) -> str:
        dit = self._encoders.dit
        reads = has_image_channels(dit), num_clip_images(dit), len(dit.vace_layers) > 0
        return cache_key(window.key, task.window_key(window), draw, self._fps, *reads)

    @torch.no_grad()
    def _compute(self, task: TrainingTask, window: ClipWindow, draw: int) -> Conditions:
        """What sampling would build of the inputs that the task draws.

        Raises:
            CacheError: it is not finite.
        """
        generator = keyed_generator("inputs", task.name, window.key, draw)
        frames = self._footage.read(window)
        inputs = task.window_inputs(window, frames, self._fps, generator, draw)
        # One window at a time and outside autocast: the last bits depend on neither.
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            conditions = get_task(task.name).conditions(
                [self._no_context()[0]], 0, inputs, PixelShape(*window.shape), self._encoders
            )
        tensors = [getattr(conditions, name) for name in FIELDS]
        if not all(is_finite(tensor) for tensor in tensors if tensor is not None):
            raise CacheError(
                f"clip {window.clip}: its known frames become NaN or infinity in the VAE or in "
                "CLIP (`wanctl weights check` reads their weights)"
            )
        return conditions

    def _no_context(self) -> Tensor:
        return torch.zeros(1, 0, self._encoders.dit.text_dim)


def stacked(items: Sequence[Conditions], context: Tensor) -> Conditions:
    """Conditions of several windows of one task and draw, with the text (B, S, E) of each."""
    first = items[0]
    tensors = {
        name: torch.cat([_batched(each, name) for each in items])
        for name in FIELDS
        if getattr(first, name) is not None
    }
    return replace(first, context=context, **tensors)


def pack(conditions: Conditions) -> Tensor:
    """One fp32 vector of what `FIELDS` hold: number of dimensions and sizes, then all values.

    Of `known` only the known frames are kept.
    """
    header: list[int] = []
    values = []
    for name in FIELDS:
        tensor = getattr(conditions, name)
        if tensor is not None and name == "known":
            tensor = tensor[:, :, conditions.known_frames]
        header += [0] if tensor is None else [tensor.ndim, *tensor.shape]
        values += [] if tensor is None else [tensor.float().flatten()]
    return torch.cat([torch.tensor([len(header), *header], dtype=torch.float32), *values])


def unpack(packed: Tensor, context: Tensor) -> Conditions:
    """The conditions of a packed vector."""
    length = int(packed[0])
    header, values = packed[1 : length + 1].int().tolist(), packed[length + 1 :]
    tensors: dict[str, Tensor] = {}
    for name in FIELDS:
        ndim, *header = header
        shape, header = header[:ndim], header[ndim:]
        if ndim:
            count = math.prod(shape)
            tensors[name], values = values[:count].view(shape), values[count:]
    if "known" in tensors:
        places, known = tensors["known_frames"].bool(), tensors["known"]
        full = known.new_zeros(*known.shape[:2], len(places), *known.shape[3:])
        full[:, :, places] = known
        tensors |= {"known": full, "known_frames": places}
    return replace(Conditions(context), **tensors)


def _batched(conditions: Conditions, name: str) -> Tensor:
    tensor = getattr(conditions, name)
    return tensor[None] if name == "known_frames" else tensor
