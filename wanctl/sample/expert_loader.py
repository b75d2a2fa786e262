"""The transformer of a run; of two experts the one whose turn it is."""

import torch

from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.lora.apply import Expert, Loras, parameter_shapes
from wanctl.checkpoint.resolve import ResolvedWeights
from wanctl.device import free_device_memory
from wanctl.diffusion.conditions import Model
from wanctl.diffusion.experts import HIGH, LOW
from wanctl.distributed.context import DistributedContext
from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.sample.params import SamplingParams

EXPERTS: dict[str, Expert] = {HIGH: "high", LOW: "low"}


class ExpertLoader:
    """Loads a transformer when it is asked for, and lets go of the one before first.

    Args:
        weights: hold one, or two.
        settings: of an output; how it is loaded and placed is the same for all of a run.
        dtype: of the large matrices.
        distributed: the processes that work on it, and their device.
    """

    def __init__(
        self,
        weights: ResolvedWeights,
        params: SamplingParams,
        dtype: torch.dtype,
        distributed: DistributedContext,
    ) -> None:
        self._weights = weights
        self._params = params
        self._dtype = dtype
        self._distributed = distributed
        self._held: tuple[str, Model] | None = None

    def get(self, name: str) -> Model:
        """The transformer of a name: HIGH or LOW; any other where there is one."""
        if self._held is None or self._held[0] != name:
            self.release()
            if name in EXPERTS:
                log.info("loading the %s expert", name)
            self._held = name, self._distributed.parallelize(self._load(name))
        return self._held[1]

    def release(self) -> None:
        """Hold none."""
        self._held = None
        free_device_memory(self._distributed.device)

    def _load(self, name: str) -> WanModel:
        expert, placement, distributed = (
            EXPERTS.get(name),
            self._params.placement,
            self._distributed,
        )
        beside = self._weights.loras if placement.quantize else ()  # 8 bits take no small change
        model = load_dit(
            self._weights.dit.low_expert if name == LOW else self._weights.dit,
            device=placement.loading_device(distributed.loading_device),
            dtype=self._dtype,
            precision=self._params.precision,
            loras=() if beside else self._weights.loras,
            expert=expert,
            quantize_to=placement.quantize,
        )
        changes = Loras(beside, parameter_shapes(model), expert) if beside else None
        model = placement.place(model, distributed.loading_device, distributed.device, self._dtype)
        if changes:
            changes.attach(model, distributed.device)
        return model
