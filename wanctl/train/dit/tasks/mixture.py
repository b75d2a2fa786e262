"""Draws the task of every micro-batch and assembles its conditions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.tasks.api import pad_texts
from wanctl.train.accelerator import Processes
from wanctl.train.dit.tasks.api import TrainingTask
from wanctl.train.dit.tasks.store import ConditionStore, DrawnWindow, stacked
from wanctl.train.inputs.windows import ClipWindow, Footage
from wanctl.train.rng import MicrobatchIndex, keyed_generator


class TaskMixture:
    """The tasks of a run with their weights.

    Args:
        tasks: task -> weight; of those that serve a micro-batch's number of frames one is drawn.
        store: their conditions.
        text_len: rows of text that the model takes.
        draws_per_window: how many draws of a window's inputs there are.
        dropout: share of samples without inputs.
    """

    def __init__(
        self,
        tasks: Mapping[TrainingTask, float],
        store: ConditionStore,
        *,
        text_len: int,
        draws_per_window: int,
        dropout: float,
    ) -> None:
        # sorted, so that the order in the recipe changes no draw
        self._tasks = dict(sorted(tasks.items(), key=lambda item: item[0].name))
        self._store = store
        self._text_len = text_len
        self._draws_per_window = draws_per_window
        self._dropout = dropout

    @property
    def encoders_key(self) -> str:
        """Names the weights of the VAE and of CLIP that encode the inputs."""
        return self._store.encoders_key

    def serving(self, frames: int) -> list[TrainingTask]:
        """The tasks that are trained on windows of so many frames."""
        return [task for task in self._tasks if task.serves(frames)]

    def encode(self, footage: Footage, processes: Processes, run: Path | None = None) -> None:
        """Encode all draws of the training windows, and the first one of the evaluation windows.

        `run`, a folder, is recorded as a user of them.
        """
        self._store.encode(
            [
                *self._drawn(footage.training_windows(), self._draws_per_window),
                *self._drawn(footage.eval_windows(), 1),
            ],
            processes,
            run,
        )

    def draw(self, microbatch: MicrobatchIndex, frames: int) -> tuple[TrainingTask, int]:
        """The task of a micro-batch and the number of its draw; a pure function of the arguments.

        Args:
            microbatch: its position.
            frames: of its windows.
        """
        tasks = self.serving(frames)
        generator = keyed_generator(microbatch.seed, "task", microbatch.step, microbatch.micro)
        share, number = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        left = share * sum(self._tasks[task] for task in tasks)
        task = tasks[-1]
        for task in tasks:
            left -= self._tasks[task]
            if left < 0:
                break
        return task, int(number * task.num_draws(self._draws_per_window))

    def batch(
        self, microbatch: MicrobatchIndex, windows: Sequence[ClipWindow], texts: Sequence[Tensor]
    ) -> tuple[TrainingTask, Conditions]:
        """The task of a micro-batch and its conditions.

        Args:
            microbatch: its position.
            windows: all of one shape.
            texts: (tokens, E) embedding of each.
        """
        task, draw = self.draw(microbatch, windows[0].shape.frames)
        conditions = self.conditions(task, windows, texts, draw)
        if task.has_inputs and self._dropout:
            generator = keyed_generator(
                microbatch.seed, "condition dropout", microbatch.step, microbatch.micro
            )
            dropped = torch.rand(len(windows), generator=generator) < self._dropout
            conditions = drop(conditions, dropped)
        return task, conditions

    def conditions(
        self,
        task: TrainingTask,
        windows: Sequence[ClipWindow],
        texts: Sequence[Tensor],
        draw: int = 0,
    ) -> Conditions:
        """Conditions (B, ...) of windows of one shape, with the text of each."""
        items = [self._store.get(task, window, draw) for window in windows]
        return stacked(items, self.context(texts))

    def context(self, texts: Sequence[Tensor]) -> Tensor:
        """(B, S, E) of (tokens, E) embeddings, as the model takes them."""
        return pad_texts(texts, self._text_len)

    def _drawn(self, windows: Sequence[ClipWindow], limit: int) -> Iterator[DrawnWindow]:
        for task in self._tasks:
            for window in windows:
                if task.serves(window.shape.frames):
                    for draw in range(task.num_draws(limit)):
                        yield task, window, draw


def drop(conditions: Conditions, dropped: Tensor) -> Conditions:
    """Take the inputs from some items of a batch: zeros as channels and image, no known latents.

    Args:
        conditions: (B, ...).
        dropped: (B,) bool.
    """
    tensors = {}
    for name in ("channels", "image", "known_frames"):
        if (tensor := getattr(conditions, name)) is not None:
            where = dropped.view(-1, *(1,) * (tensor.ndim - 1))
            tensors[name] = tensor.masked_fill(where, 0)
    return replace(conditions, **tensors)
