"""The transformer of a run; of two experts the one whose turn it is."""

import torch

from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.lora.apply import Loras, parameter_shapes
from wanctl.checkpoint.resolve import ResolvedWeights
from wanctl.device import free_device_memory
from wanctl.diffusion.conditions import Model
from wanctl.distributed.context import DistributedContext
from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import LOW, Expert
from wanctl.sample.params import SamplingParams


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
        self._held: tuple[Expert | None, Model] | None = None

    def get(self, expert: Expert | None) -> Model:
        """The transformer of an expert; None where the model has one transformer."""
        if self._held is None or self._held[0] != expert:
            self.release()
            if expert:
                log.info("loading the %s-noise expert", expert)
            self._held = expert, self._distributed.parallelize(self._load(expert))
        return self._held[1]

    def release(self) -> None:
        """Hold none."""
        self._held = None
        free_device_memory(self._distributed.device)

    def _load(self, expert: Expert | None) -> WanModel:
        placement, distributed = self._params.placement, self._distributed
        # 8-bit weights cannot absorb small deltas
        attached = self._weights.loras if placement.quantize else ()
        model = load_dit(
            self._weights.dit.low_expert if expert == LOW else self._weights.dit,
            device=placement.loading_device(distributed.loading_device),
            dtype=self._dtype,
            precision=self._params.precision,
            loras=() if attached else self._weights.loras,
            expert=expert,
            quantize_to=placement.quantize,
        )
        deltas = Loras(attached, parameter_shapes(model), expert) if attached else None
        model = placement.place(model, distributed.loading_device, distributed.device, self._dtype)
        if deltas:
            deltas.attach(model, distributed.device)
        return model
