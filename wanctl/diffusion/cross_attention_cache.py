"""Keys and values that no step changes, kept between them: those of the prompts and of a face."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from wanctl.diffusion.conditions import Conditions, DrivingVideo, Model, stacked

# Condition -> the model's method that makes tokens of it, which no step changes.
READ_ONCE = {"performer": "read_performer", "speech": "read_speech"}


class CrossAttentionCache:
    """Computes the keys and values of each prompt once, if the model can.

    A model can if its `can_precompute_cross_attention` is true (see `WanModel`). A cache belongs
    to one sample and holds entries for the model of the last call only: where two experts take
    turns in time, those of one.
    """

    def __init__(self) -> None:
        self._model: Model | None = None
        self._entries: list[tuple[Tensor, Any]] = []  # one per prompt
        self._read: list[tuple[Tensor, Tensor]] = []  # one per pass of guidance
        self._driving: tuple[DrivingVideo, Any] | None = None
        self._face: tuple[Model, Any] | None = None
        self._batch: tuple[list[Tensor], Conditions] | None = None

    def get(self, model: Model, conditions: Conditions) -> Any:
        """Keys and values of text and image; None where the model computes them at every step."""
        if not getattr(model, "can_precompute_cross_attention", False):
            return None
        if model is not self._model:
            self._model, self._entries, self._driving = model, [], None
        for context, precomputed in self._entries:
            if context is conditions.context:
                return precomputed
        precompute: Any = getattr(model, "precompute_cross_attention")  # noqa: B009
        precomputed = precompute(conditions.context, conditions.image)
        self._entries.append((conditions.context, precomputed))
        return precomputed

    def face(self, model: Model, conditions: Conditions, x: Tensor) -> Any:
        """Keys and values of the face of a batch, which is one; None where there is none.

        Args:
            model: with `read_face` (see `FaceModel`).
            conditions: of the batch.
            x: (B, C, T, Y, X) noisy latents.
        """
        if conditions.face is None:
            return None
        if self._face is None or self._face[0] is not model:
            read: Any = getattr(model, "read_face")  # noqa: B009
            self._face = model, read(conditions.face[:1], x.shape[-2:])
        return self._face[1]

    def stacked(self, passes: Sequence[Conditions]) -> Conditions:
        """The passes of a step in one batch, the same object in every step.

        Args:
            passes: as many, with the same texts, stand for the same conditions.
        """
        texts = [each.context for each in passes]
        if self._batch is None or list(map(id, texts)) != list(map(id, self._batch[0])):
            self._batch = texts, stacked(passes)
        return self._batch[1]

    def with_inputs_read(self, model: Model, conditions: Conditions) -> Conditions:
        """Conditions with tokens in the place of what the model reads once, if there is any."""
        found = {}
        for name, method in READ_ONCE.items():
            given = getattr(conditions, name)
            if given is None:
                continue
            tokens = next((read for known, read in self._read if known is given), None)
            if tokens is None:
                tokens = getattr(model, method)(given)
                self._read.append((given, tokens))
            found[name] = tokens
        return replace(conditions, **found) if found else conditions

    def driving(self, model: Model, conditions: Conditions) -> Any:
        """Keys and values of the driving video; None where the model reads none."""
        video = conditions.driving
        if video is None:
            return None
        if self._driving is None or self._driving[0] is not video:
            self._driving = None  # frees the memory of another video's
            read: Any = getattr(model, "read_driving")  # noqa: B009
            self._driving = video, read(video.latents, video.context, video.image)
        return self._driving[1]
