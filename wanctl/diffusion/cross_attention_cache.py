"""What a model makes of its prompts, kept from one step of a sample to the next."""

from typing import Any

from torch import Tensor

from wanctl.diffusion.conditions import Conditions, Model


class CrossAttentionCache:
    """Lets a model read each prompt once, if it can (`WanModel.precompute_cross_attention`).

    Belongs to one sample. Holds what the model of the last call made of the prompts: of two
    experts that take turns in time, one's.
    """

    def __init__(self) -> None:
        self._model: Model | None = None
        self._read: dict[int, tuple[Tensor, Any]] = {}
        self._both: tuple[Conditions, Tensor, Conditions] | None = None

    def get(self, model: Model, conditions: Conditions) -> Any:
        """What `model` made of text and image; None where it reads them at every step."""
        read = getattr(model, "precompute_cross_attention", None)
        if read is None:
            return None
        if model is not self._model:
            self._model, self._read = model, {}
        key = id(conditions.context)  # the tensor is kept beside it, so that no other can have it
        if key not in self._read:
            made = read(conditions.context, conditions.image)
            self._read[key] = conditions.context, made
        return self._read[key][1]

    def with_negative(self, conditions: Conditions, negative: Tensor) -> Conditions:
        """`conditions.with_negative(negative)`, the same object in every step."""
        if self._both is None or self._both[0] is not conditions or self._both[1] is not negative:
            self._both = conditions, negative, conditions.with_negative(negative)
        return self._both[2]
