"""Time, peak memory and disk of a sample before anything is loaded. Torch-free.

Stages follow one another, with one large network in memory at a time, so the peak is that of the
largest stage. Where it does not fit, the cheapest change that does is looked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from wanctl.estimate import flops as needs
from wanctl.estimate.flops import Job
from wanctl.estimate.hardware import READ_BYTES_S, Machine
from wanctl.model.shapes import PixelShape

# The interpreter with torch, before any network.
PROGRAM_BYTES = 0.9e9
CUDA_CONTEXT_BYTES = 0.6e9
# Passes of [tokens, width] in bf16 over memory per block, between the products.
PASSES = 120
HOST_COPY_BYTES_S = 25e9
# An estimate is off by some percent, and a device is never quite empty.
HEADROOM = 1.05
MP4_BITS_PER_PIXEL = 0.35
MULTIPLE = 32
SMALLEST_SIDE = 128


class Stage(NamedTuple):
    """One part of the work.

    Attributes:
        name: what happens.
        seconds: how long.
        device_bytes: peak on the GPU; 0 where there is none.
        host_bytes: peak of the process.
    """

    name: str
    seconds: float
    device_bytes: float
    host_bytes: float


@dataclass(frozen=True)
class Plan:
    """What a job takes on a machine."""

    job: Job
    machine: Machine
    stages: tuple[Stage, ...]
    output_bytes: float

    @property
    def seconds(self) -> float:
        """All stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def device_bytes(self) -> float:
        """Peak on the GPU."""
        return max(stage.device_bytes for stage in self.stages)

    @property
    def host_bytes(self) -> float:
        """Peak of the process."""
        return max(stage.host_bytes for stage in self.stages)

    def lacking(self, headroom: float | None = None) -> str | None:
        """What there is too little of, and in which stage; None: it fits.

        Args:
            headroom: factor on what is needed; None: HEADROOM.
        """
        machine, factor = self.machine, HEADROOM if headroom is None else headroom
        for what, column, has in (
            ("GPU memory", "device_bytes", machine.device_bytes),
            ("memory", "host_bytes", machine.host_bytes),
        ):
            worst = max(self.stages, key=lambda stage: getattr(stage, column))
            need = getattr(worst, column)
            if has is not None and need * factor > has:
                return f"{what}: {worst.name} needs {need / 1e9:.1f} GB of {has / 1e9:.1f} GB free"
        if self.output_bytes > machine.disk_bytes:
            return f"disk: outputs need {self.output_bytes / 1e9:.1f} GB"
        return None


_Option = tuple[str, dict[str, Any]]


class Change(NamedTuple):
    """Something else to say in the recipe, and the plan that comes of it."""

    settings: str
    plan: Plan


def make_plan(job: Job, machine: Machine) -> Plan:
    """Add up the stages of a job."""
    stages = [_reading(job, machine)]
    if job.encodes:
        stages.append(_vae_stage("encoding pictures", job, machine, needs.vae_ops(job)[0]))
    stages += [_loading(job, machine), _denoising(job, machine), _decoding(job, machine)]
    frames, height, width = job.size
    bits = MP4_BITS_PER_PIXEL * frames * height * width
    return Plan(job, machine, tuple(stages), job.prompts * bits / 8)


def cheapest_change(plan: Plan, headroom: float | None = None) -> Change | None:
    """The first change that fits, in the order of what they cost; None: none does."""
    fitting = (change for change in changes(plan) if not change.plan.lacking(headroom))
    return next(fitting, None)


def changes(plan: Plan) -> Iterator[Change]:
    """Changes in the order of what they cost: nothing, little time, exactness, then size."""
    job, machine = plan.job, plan.machine
    on_gpu = machine.device_bytes is not None
    tiled: _Option = ("model.vae_tile=256", {"vae_tile": 256})
    streamed: _Option = ("model.stream_blocks=true", {"streamed": True})
    eighth: _Option = ("model.quantize=int8", {"weight_bytes": 1.0 + 4 / job.variant.dit.dim})
    groups: list[list[_Option]] = [[tiled]]
    if on_gpu:
        groups += [[streamed], [streamed, tiled]]
    groups += [[eighth], [eighth, tiled]]
    if on_gpu:
        groups.append([streamed, eighth, tiled])
    for group in groups:
        values = {key: value for _, fields in group for key, value in fields.items()}
        yield Change(
            " --set ".join(text for text, _ in group), make_plan(replace(job, **values), machine)
        )
    strongest = {key: value for _, fields in groups[-1] for key, value in fields.items()}
    text = " --set ".join(text for text, _ in groups[-1])
    for size in _smaller(job.size):
        setting = f"{text} --set sample.height={size.height} --set sample.width={size.width}"
        yield Change(setting, make_plan(replace(job, size=size, **strongest), machine))


def _smaller(size: PixelShape) -> Iterator[PixelShape]:
    """Three quarters of the sides, again and again."""
    height, width = size.height, size.width
    while min(height, width) > SMALLEST_SIDE:
        height = max(SMALLEST_SIDE, int(height * 0.75) // MULTIPLE * MULTIPLE)
        width = max(SMALLEST_SIDE, int(width * 0.75) // MULTIPLE * MULTIPLE)
        yield PixelShape(size.frames, height, width)


def _reading(job: Job, machine: Machine) -> Stage:
    on_gpu = machine.device_bytes is not None
    texts = job.prompts + job.guided
    if not job.text_parameters:
        return _stage("reading prompts", 1.0, 0.2e9 if on_gpu else 0.0, 0.2e9, machine)
    multiplied = job.text_parameters - needs.UMT5_EMBEDDING
    ops = 2 * multiplied * job.variant.dit.text_len * texts
    seconds = job.text_parameters * 2 / READ_BYTES_S + ops / machine.rates.products
    block = multiplied / needs.UMT5_BLOCKS  # in memory at a time (umt5.py), beside its file's pages
    resident = block * (2 if on_gpu else needs.FP32_BYTES) + _vae_bytes(job)
    host = 2 * block + (0 if on_gpu else resident)
    return _stage("reading prompts", seconds, resident, host, machine)


def _loading(job: Job, machine: Machine) -> Stage:
    stored = needs.dit_parameters(job.variant.dit) * needs.FP32_BYTES * job.variant.experts
    device, host = _placed(job, machine)
    return _stage("loading the transformer", stored / READ_BYTES_S, device, host, machine)


def _denoising(job: Job, machine: Machine) -> Stage:
    rates = machine.rates
    linear, attention = needs.dit_ops(job)
    once = linear / rates.products + attention / rates.attention
    shape = job.variant.dit
    if rates.memory is not None:
        once += PASSES * job.latents.tokens * shape.dim * 2 * shape.num_layers / rates.memory
    if job.streamed and machine.device_bytes is not None:
        once = max(once, needs.dit_bytes(job)[0] / HOST_COPY_BYTES_S)
    device, host = _placed(job, machine)
    activations = needs.dit_activation_bytes(job)
    seconds = once * rates.overhead * job.forwards * job.prompts
    if machine.device_bytes is None:
        return _stage("denoising", seconds, 0, host + activations, machine)
    return _stage("denoising", seconds, device + activations, host, machine)


def _decoding(job: Job, machine: Machine) -> Stage:
    stage = _vae_stage("decoding", job, machine, needs.vae_ops(job)[1])
    if job.prompts > 1:  # the transformer stays for the next prompt
        device, host = _placed(job, machine)
        stage = stage._replace(
            device_bytes=stage.device_bytes + device - _vae_bytes(job) if device else 0,
            host_bytes=stage.host_bytes + host,
        )
    return stage


def _vae_stage(name: str, job: Job, machine: Machine, ops: float) -> Stage:
    size = _vae_bytes(job) + needs.vae_activation_bytes(job)
    host = needs.video_bytes(job) if job.vae_tile else 0.0
    if machine.device_bytes is None:
        host += size
    return _stage(name, ops / machine.rates.convolutions * job.prompts, size, host, machine)


def _placed(job: Job, machine: Machine) -> tuple[float, float]:
    """Bytes of the transformer and the waiting VAE on the GPU, and on the host."""
    blocks, rest = needs.dit_bytes(job)
    vae = _vae_bytes(job)
    if machine.device_bytes is None:
        return 0.0, blocks + rest + vae
    if not job.streamed:
        return blocks + rest + vae, 0.5e9
    shape = job.variant.dit
    ring = 2 * blocks / (shape.num_layers + len(shape.vace_layers))
    return ring + rest + vae, blocks + 0.5e9


def _vae_bytes(job: Job) -> float:
    return needs.vae_parameters(job.variant.vae) * needs.FP32_BYTES


def _stage(name: str, seconds: float, device: float, host: float, machine: Machine) -> Stage:
    on_gpu = machine.device_bytes is not None
    device = device + CUDA_CONTEXT_BYTES if on_gpu else 0.0
    return Stage(name, seconds, device, host + PROGRAM_BYTES)
