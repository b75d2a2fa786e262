"""The transformer of a run; with two experts, the one that runs now."""

import torch

from wanctl.checkpoint.load import load_dit, read_parameter_shapes
from wanctl.checkpoint.lora.apply import Loras
from wanctl.checkpoint.resolve import ResolvedWeights
from wanctl.device import free_device_memory
from wanctl.diffusion.conditions import Model
from wanctl.distributed.context import DistributedContext
from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import LOW, Expert
from wanctl.runtime.placement import Placement


class ExpertLoader:
    """Loads a transformer on first use; frees the other expert before that.

    Args:
        weights: of one transformer or two.
        placement: number format, kernels and streaming.
        precision: `reference` or `fast`.
        dtype: of the large matrices.
        distributed: the processes that share the work, and their device.
    """

    def __init__(
        self,
        weights: ResolvedWeights,
        placement: Placement,
        precision: str,
        dtype: torch.dtype,
        distributed: DistributedContext,
    ) -> None:
        self._weights = weights
        self._placement = placement
        self._precision = precision
        self._dtype = dtype
        self._distributed = distributed
        self._loaded: tuple[Expert | None, Model] | None = None

    def get(self, expert: Expert | None) -> Model:
        """The transformer of an expert; None where the model has one transformer."""
        if self._loaded is None or self._loaded[0] != expert:
            self.release()
            if expert:
                log.info("loading the %s-noise expert", expert)
            self._loaded = expert, self._distributed.parallelize(self._load(expert))
        return self._loaded[1]

    def release(self) -> None:
        """Free the transformer's memory."""
        self._loaded = None
        free_device_memory(self._distributed.device)

    def _load(self, expert: Expert | None) -> WanModel:
        placement, distributed = self._placement, self._distributed
        components = self._weights.dit.low_expert if expert == LOW else self._weights.dit
        adapters = None
        if self._weights.loras and placement.quantize:
            # 8-bit weights cannot hold the small change of a LoRA, so it is computed separately.
            shapes = read_parameter_shapes(components)
            adapters = Loras(self._weights.loras, shapes, expert, strict=self._weights.strict)
        model = load_dit(
            components,
            device=placement.loading_device(distributed.loading_device),
            dtype=self._dtype,
            precision=self._precision,
            loras=adapters or self._weights.loras,
            expert=expert,
            quantize_to=placement.quantize,
            strict=self._weights.strict,
        )
        model = placement.place(model, distributed.loading_device, distributed.device, self._dtype)
        if adapters:
            adapters.attach(model, distributed.device)
        return model
