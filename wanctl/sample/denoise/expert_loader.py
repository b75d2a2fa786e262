"""The transformer of a run; with two experts, the one that runs now."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch

from wanctl.checkpoint.load import load_dit, read_parameter_shapes
from wanctl.checkpoint.lora.apply import Lora, Loras
from wanctl.checkpoint.lora.layers import Shapes
from wanctl.checkpoint.resolve import ResolvedWeights
from wanctl.device import free_device_memory
from wanctl.diffusion.conditions import Model
from wanctl.diffusion.phases import LoraStrengths
from wanctl.distributed.context import DistributedContext
from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import LOW, Expert
from wanctl.runtime.placement import Placement

Factors = tuple[float, ...]
"""Factor of the strength of each LoRA; 1 for those of the other expert."""


@dataclass
class _Loaded:
    """The transformer in memory.

    Attributes:
        expert: which of two; None where the model has one transformer.
        factors: of its LoRAs.
        model: as it is called.
        adapters: its LoRAs and the network that they are attached to, where factors can be changed.
    """

    expert: Expert | None
    factors: Factors
    model: Model
    adapters: tuple[Loras, WanModel] | None


class ExpertLoader:
    """Loads a transformer on first use; frees the other expert before that.

    LoRAs are merged into the weights. Where their strengths change between steps, they run beside
    the matrices instead, so that a change loads nothing; a LoRA that this is not possible for
    (DoRA, a matrix in full), and weights that FSDP divides, are loaded again at each change.

    Args:
        weights: of one transformer or two.
        placement: number format, kernels and streaming.
        precision: `reference` or `fast`.
        dtype: of the large matrices.
        distributed: the processes that share the work, and their device.
        uses: every expert of the run with every LoRA strengths that it is used at.

    """

    def __init__(
        self,
        weights: ResolvedWeights,
        placement: Placement,
        precision: str,
        dtype: torch.dtype,
        distributed: DistributedContext,
        uses: Collection[tuple[Expert | None, LoraStrengths]],
    ) -> None:
        self._weights = weights
        self._placement = placement
        self._precision = precision
        self._dtype = dtype
        self._distributed = distributed
        self._uses: dict[Expert | None, set[Factors]] = defaultdict(set)
        for expert, strengths in uses:
            self._uses[expert].add(factors_of(weights.loras, strengths, expert))
        self._loaded: _Loaded | None = None

    def get(self, expert: Expert | None, strengths: LoraStrengths) -> Model:
        """A transformer.

        Args:
            expert: which; None where the model has one transformer.
            strengths: factors of the strengths of its LoRAs.
        """
        factors, loaded = factors_of(self._weights.loras, strengths, expert), self._loaded
        if loaded and loaded.expert == expert and loaded.factors != factors and loaded.adapters:
            adapters, network = loaded.adapters
            adapters.adjust(network, factors)
            loaded.factors = factors
        if loaded is None or (loaded.expert, loaded.factors) != (expert, factors):
            del loaded
            self.release()
            if expert:
                log.info("loading the %s-noise expert", expert)
            self._loaded = loaded = self._load(expert, factors)
        return loaded.model

    def release(self) -> None:
        """Free the transformer's memory."""
        self._loaded = None
        free_device_memory(self._distributed.device)

    def _load(self, expert: Expert | None, factors: Factors) -> _Loaded:
        placement, distributed = self._placement, self._distributed
        components = self._weights.dit.low_expert if expert == LOW else self._weights.dit
        loras = _scaled(self._weights.loras, factors)
        adapters = None
        if self._weights.loras:
            adapters = self._adapters(expert, factors, loras, read_parameter_shapes(components))
        model = load_dit(
            components,
            device=placement.loading_device(distributed.loading_device),
            dtype=self._dtype,
            precision=self._precision,
            loras=loras if adapters is None else adapters,
            expert=expert,
            quantize_to=placement.quantize,
            strict=self._weights.strict,
        )
        model = placement.place(model, distributed.loading_device, distributed.device, self._dtype)
        adjustable = None
        if adapters is not None:
            adapters.attach(model, distributed.device)
            adjustable = (adapters, model) if adapters.adjustable else None
        return _Loaded(expert, factors, distributed.parallelize(model), adjustable)

    def _adapters(
        self, expert: Expert | None, factors: Factors, loras: Sequence[Lora], shapes: Shapes
    ) -> Loras | None:
        """The LoRAs that run beside the matrices; None: they are merged."""
        weights, placement, distributed = self._weights, self._placement, self._distributed
        strict = weights.strict
        if len(self._uses[expert]) > 1 and not distributed.layout.fsdp:
            # Streamed blocks have copies on the device, which a change in host memory misses.
            streamed = placement.stream_blocks and distributed.device.type == "cuda"
            varying = Loras(weights.loras, shapes, expert, strict=strict, factors=factors)
            if varying.can_adjust(blocks=not streamed):
                return varying
        # 8-bit weights cannot hold the small change of a LoRA, so it is computed separately.
        quantized = bool(loras and placement.quantize)
        return Loras(loras, shapes, expert, strict=strict) if quantized else None


def factors_of(loras: Sequence[Lora], strengths: LoraStrengths, expert: Expert | None) -> Factors:
    """The factor of each LoRA's strength for an expert; none where there is no LoRA."""
    each = (strengths,) * len(loras) if isinstance(strengths, int | float) else strengths
    if not loras:
        return ()
    others = [lora.expert not in (None, expert) for lora in loras]
    return tuple(1.0 if other else factor for other, factor in zip(others, each, strict=True))


def _scaled(loras: Sequence[Lora], factors: Factors) -> list[Lora]:
    """LoRAs with their strengths times the factors, without those at 0."""
    return [
        replace(lora, strength=lora.strength * factor)
        for lora, factor in zip(loras, factors, strict=True)
        if factor
    ]
