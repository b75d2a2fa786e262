"""The transformers of a run: those that are trained, and an expert that only previews use."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wanctl.checkpoint.find import Components
from wanctl.checkpoint.load import load_dit
from wanctl.device import pick_dtype
from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.experts import guide_scales, high_steps
from wanctl.diffusion.generate import Denoising
from wanctl.diffusion.schedules import Schedule
from wanctl.diffusion.solvers import NoiseFn
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import HIGH, LOW, Expert
from wanctl.train.adapters.prepare import WHOLE, TrainedPart
from wanctl.train.dit.experts.pass_through import write_stored
from wanctl.train.dit.experts.routing import MODEL, ONE_TRANSFORMER, Routing
from wanctl.train.networks.residency import HOST


@dataclass(frozen=True)
class StoredExpert:
    """The expert that is not trained.

    Attributes:
        name: HIGH or LOW.
        components: hold it as their transformer.
        precision: see `WanModel`.
        strict: see `load_dit`.
    """

    name: Expert
    components: Components
    precision: str
    strict: bool

    def load(self, dtype: torch.dtype) -> WanModel:
        """Load it into host memory, its large matrices in a number format."""
        return load_dit(
            self.components,
            dtype=dtype,
            precision=self.precision,
            expert=self.name,
            strict=self.strict,
        )


class Transformers:
    """The transformers of a run.

    Args:
        models: those that are trained, in place, by the networks' names of `routing`.
        parts: what of each is trained, and written.
        routing: noise levels of each.
        boundary: noise level between the experts; None: there is one transformer.
        stored: the expert that is not trained; None: both are, or it is nowhere.
    """

    def __init__(
        self,
        models: Mapping[str, WanModel],
        parts: Mapping[str, TrainedPart],
        routing: Routing,
        *,
        boundary: float | None = None,
        stored: StoredExpert | None = None,
    ) -> None:
        assert tuple(models) == routing.networks
        self.models = dict(models)
        self.parts = dict(parts)
        self.routing = routing
        self.boundary = boundary
        self.stored = stored
        self._untrained: WanModel | None = None

    @property
    def main(self) -> WanModel:
        """The first transformer; all of them have its sizes."""
        return next(iter(self.models.values()))

    @property
    def has_adapters(self) -> bool:
        """Whether adapters are trained, which are all that is written."""
        return any(part.is_adapter for part in self.parts.values())

    @property
    def identity(self) -> dict[str, str]:
        """What a run that continues must have in common with this one."""
        if self.boundary is None:
            return dict(self.parts[MODEL].identity)
        experts = {"experts": f"{', '.join(self.models)} around {self.boundary:g}"}
        parts = {
            f"{key} ({name})": value
            for name, part in self.parts.items()
            for key, value in part.identity.items()
        }
        return experts | parts

    def use(self, network: str, device: torch.device) -> WanModel:
        """A transformer on the device, in the place of the one that was there.

        The others wait in host memory: those that are trained until their next turn, the one that
        is not trained from its first use on.
        """
        if self.stored is not None and network == self.stored.name and self._untrained is None:
            self._untrained = self.stored.load(pick_dtype("auto", device))
        every = dict(self.models)
        if self.stored is not None and self._untrained is not None:
            every[self.stored.name] = self._untrained
        idle = [model for name, model in every.items() if name != network]
        if any(next(model.parameters()).device != HOST for model in idle):
            torch.clear_autocast_cache()  # holds copies of their weights
        for model in idle:
            _move(model, HOST)
        _move(every[network], device)
        return every[network]

    def generate(
        self,
        *,
        noise: Tensor,
        conditions: Conditions,
        negative_context: Tensor,
        guide_scale: float | tuple[float, float],
        schedule: Schedule,
        solver: str,
        step_noise: NoiseFn,
    ) -> Tensor:
        """Run all steps of a `Denoising`, with two experts each in its steps.

        Where the other expert is nowhere, the one that is trained runs in all steps.

        Args:
            noise: see `Denoising`, as the other arguments.
            conditions: for one sample.
            negative_context: of classifier-free guidance.
            guide_scale: one number, or those of two experts (low noise, high noise).
            schedule: noise levels.
            solver: a row of SOLVERS.
            step_noise: draws more noise like `noise`.

        Returns:
            (B, C, T, Y, X) fp32 latents as the VAE's `decode` takes them.
        """
        scales = guide_scales(schedule.timesteps, guide_scale, self.boundary)
        denoising = Denoising(
            noise=noise, conditions=conditions, negative_context=negative_context,
            guide_scale=scales, schedule=schedule, solver=solver, step_noise=step_noise,
        )  # fmt: skip
        latents = None
        for name, stop in self._parts(schedule):
            latents = denoising.run_until(self.use(name, noise.device), stop)
            if latents is not None:  # few steps may all be the high-noise expert's
                break
        assert latents is not None
        # a network that is trained alone has no turn that would bring it back to the device
        self.use(self.routing.networks[0], noise.device)
        return latents

    def save(self, folder: Path, metadata: Mapping[str, str]) -> None:
        """Write all transformers, so that the run folder holds a complete model; or the adapters.

        Args:
            folder: of the run; what is of the expert for low noise goes beside it, into `dit_low`.
            metadata: of the headers of what is trained; two experts have their name added.

        Raises:
            WriteError: the disk is full or cannot be written.
        """
        # config.json marks a complete folder: that of the first transformer is written last of all.
        if not self.has_adapters:
            for name in (HIGH, LOW):
                (expert_folder(folder, name) / "config.json").unlink(missing_ok=True)
            if self.stored:
                write_stored(self.stored.components, expert_folder(folder, self.stored.name))
        for name, model in reversed(self.models.items()):
            own = metadata if name == MODEL else {**metadata, "expert": name}
            self.parts[name].save(model, expert_folder(folder, name), own)

    def saved_step(self, folder: Path) -> int | None:
        """Step of the finished transformers or adapters of a run; None where one is missing."""
        steps = [part.saved_step(expert_folder(folder, n)) for n, part in self.parts.items()]
        return None if None in steps else min(step for step in steps if step is not None)

    def _parts(self, schedule: Schedule) -> list[tuple[str, int | None]]:
        """Name of the transformer of each part of a sample, and the step at which it stops."""
        if self.boundary is None or (self.stored is None and len(self.models) == 1):
            return [(self.routing.networks[0], None)]
        change = high_steps(schedule.timesteps, self.boundary)
        return [(HIGH, change), (LOW, None)]


def _move(model: WanModel, device: torch.device) -> None:
    """Move a transformer, unless its blocks are in host memory already and come one at a time."""
    if not model.streamed:
        model.to(device)


def one_transformer(model: WanModel, part: TrainedPart = WHOLE) -> Transformers:
    """The transformers of a run that trains one for all noise levels."""
    return Transformers({MODEL: model}, {MODEL: part}, ONE_TRANSFORMER)


def expert_folder(folder: Path, network: str) -> Path:
    """Where a transformer is written: `dit`, and `dit_low` beside it for the low-noise expert."""
    return folder.with_name(f"{folder.name}_low") if network == LOW else folder
