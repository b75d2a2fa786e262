"""Keys and values of the prompts' cross-attention, kept between the steps of a sample."""

from typing import Any

from torch import Tensor

from wanctl.diffusion.conditions import Conditions, Model


class CrossAttentionCache:
    """Computes the keys and values of each prompt once, if the model can.

    A model can if its `can_precompute_cross_attention` is true (see `WanModel`). A cache belongs
    to one sample and holds entries for the model of the last call only: where two experts take
    turns in time, those of one.
    """

    def __init__(self) -> None:
        self._model: Model | None = None
        self._entries: list[tuple[Tensor, Any]] = []  # one per prompt
        self._both: tuple[Conditions, Tensor, Conditions] | None = None

    def get(self, model: Model, conditions: Conditions) -> Any:
        """Keys and values of text and image; None where the model computes them at every step."""
        if not getattr(model, "can_precompute_cross_attention", False):
            return None
        if model is not self._model:
            self._model, self._entries = model, []
        for context, precomputed in self._entries:
            if context is conditions.context:
                return precomputed
        precompute: Any = getattr(model, "precompute_cross_attention")  # noqa: B009
        precomputed = precompute(conditions.context, conditions.image)
        self._entries.append((conditions.context, precomputed))
        return precomputed

    def with_negative(self, conditions: Conditions, negative: Tensor) -> Conditions:
        """`conditions.with_negative(negative)`, the same object in every step."""
        if self._both is None or self._both[0] is not conditions or self._both[1] is not negative:
            self._both = conditions, negative, conditions.with_negative(negative)
        return self._both[2]
