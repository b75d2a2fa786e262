"""Time, peak memory and disk space of a workload, before anything is loaded. Torch-free.

Stages run one after another with one large network in memory at a time, so the peak is that of the
largest stage. Where that does not fit, the cheapest change of settings that fits is searched.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from wanctl.estimate import flops
from wanctl.estimate.flops import Workload
from wanctl.estimate.hardware import DISK_READ_BYTES_S, Hardware
from wanctl.model.shapes import PixelShape

# The interpreter with torch, before any network is loaded.
PROGRAM_BYTES = 0.9e9
CUDA_CONTEXT_BYTES = 0.6e9
# Element-wise passes over [tokens, width] in bf16 per block, between the matrix products.
PASSES = 120
HOST_COPY_BYTES_S = 25e9
# The estimate is off by a few percent, and a device is never quite empty.
HEADROOM = 1.05
MP4_BITS_PER_PIXEL = 0.35
MULTIPLE = 32
SMALLEST_SIDE = 128


class StageEstimate(NamedTuple):
    """One part of the work.

    Attributes:
        name: what the stage does.
        seconds: duration.
        device_bytes: peak GPU memory; 0 without a GPU.
        host_bytes: peak memory of the process.
    """

    name: str
    seconds: float
    device_bytes: float
    host_bytes: float


@dataclass(frozen=True)
class Plan:
    """Stages of a workload on a machine."""

    workload: Workload
    hardware: Hardware
    stages: tuple[StageEstimate, ...]
    output_bytes: float

    @property
    def seconds(self) -> float:
        """Duration of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def device_bytes(self) -> float:
        """Peak GPU memory."""
        return max(stage.device_bytes for stage in self.stages)

    @property
    def host_bytes(self) -> float:
        """Peak memory of the process."""
        return max(stage.host_bytes for stage in self.stages)

    def shortage(self, headroom: float | None = None) -> str | None:
        """Which resource is too small, and in which stage; None: everything fits.

        Args:
            headroom: factor on the estimate; None: HEADROOM.
        """
        hardware, factor = self.hardware, HEADROOM if headroom is None else headroom
        for what, column, has in (
            ("GPU memory", "device_bytes", hardware.device_bytes),
            ("memory", "host_bytes", hardware.host_bytes),
        ):
            worst = max(self.stages, key=lambda stage: getattr(stage, column))
            need = getattr(worst, column)
            if has is not None and need * factor > has:
                return f"{what}: {worst.name} needs {need / 1e9:.1f} GB of {has / 1e9:.1f} GB free"
        if self.output_bytes > hardware.disk_bytes:
            return f"disk: outputs need {self.output_bytes / 1e9:.1f} GB"
        return None


_Setting = tuple[str, dict[str, Any]]


class Alternative(NamedTuple):
    """Other settings of the recipe, and the plan with them."""

    settings: str
    plan: Plan


def make_plan(workload: Workload, hardware: Hardware) -> Plan:
    """Estimate the stages of a workload."""
    stages = [_reading(workload, hardware)]
    if workload.encodes:
        stages.append(_vae_stage("encoding inputs", workload, hardware, flops.vae_ops(workload)[0]))
    stages += [
        _loading(workload, hardware),
        _denoising(workload, hardware),
        _decoding(workload, hardware),
    ]
    frames, height, width = workload.size
    bits = MP4_BITS_PER_PIXEL * frames * height * width
    return Plan(workload, hardware, tuple(stages), workload.prompts * bits / 8)


def cheapest_alternative(plan: Plan, headroom: float | None = None) -> Alternative | None:
    """The first alternative that fits, in the order of their cost; None: none fits."""
    fitting = (change for change in alternatives(plan) if not change.plan.shortage(headroom))
    return next(fitting, None)


def alternatives(plan: Plan) -> Iterator[Alternative]:
    """Alternatives by cost: free ones, those that cost time, exactness, and then size."""
    workload, hardware = plan.workload, plan.hardware
    on_gpu = hardware.device_bytes is not None
    tiled: _Setting = ("model.vae_tile=256", {"vae_tile": 256})
    streamed: _Setting = ("model.stream_blocks=true", {"streamed": True})
    eighth: _Setting = ("model.quantize=int8", {"weight_bytes": 1.0 + 4 / workload.variant.dit.dim})
    groups: list[list[_Setting]] = [[tiled]]
    if on_gpu:
        groups += [[streamed], [streamed, tiled]]
    groups += [[eighth], [eighth, tiled]]
    if on_gpu:
        groups.append([streamed, eighth, tiled])
    for group in groups:
        values = {key: value for _, fields in group for key, value in fields.items()}
        yield Alternative(
            " --set ".join(text for text, _ in group),
            make_plan(replace(workload, **values), hardware),
        )
    strongest = {key: value for _, fields in groups[-1] for key, value in fields.items()}
    text = " --set ".join(text for text, _ in groups[-1])
    for size in _smaller(workload.size):
        setting = f"{text} --set sample.height={size.height} --set sample.width={size.width}"
        yield Alternative(setting, make_plan(replace(workload, size=size, **strongest), hardware))


def _smaller(size: PixelShape) -> Iterator[PixelShape]:
    """Sizes with sides of three quarters of the one before."""
    height, width = size.height, size.width
    while min(height, width) > SMALLEST_SIDE:
        height = max(SMALLEST_SIDE, int(height * 0.75) // MULTIPLE * MULTIPLE)
        width = max(SMALLEST_SIDE, int(width * 0.75) // MULTIPLE * MULTIPLE)
        yield PixelShape(size.frames, height, width)


def _reading(workload: Workload, hardware: Hardware) -> StageEstimate:
    on_gpu = hardware.device_bytes is not None
    texts = workload.prompts + workload.guided
    if not workload.text_parameters:
        return _stage("encoding prompts", 1.0, 0.2e9 if on_gpu else 0.0, 0.2e9, hardware)
    multiplied = workload.text_parameters - flops.UMT5_EMBEDDING
    ops = 2 * multiplied * workload.variant.dit.text_len * texts
    seconds = workload.text_parameters * 2 / DISK_READ_BYTES_S + ops / hardware.rates.products
    block = multiplied / flops.UMT5_BLOCKS  # one block is in memory at a time (umt5.py)
    resident = block * (2 if on_gpu else flops.FP32_BYTES) + _vae_bytes(workload)
    host = 2 * block + (0 if on_gpu else resident)
    return _stage("encoding prompts", seconds, resident, host, hardware)


def _loading(workload: Workload, hardware: Hardware) -> StageEstimate:
    stored = (
        flops.dit_parameters(workload.variant.dit) * flops.FP32_BYTES * workload.variant.experts
    )
    device, host = _placed(workload, hardware)
    return _stage("loading the transformer", stored / DISK_READ_BYTES_S, device, host, hardware)


def _denoising(workload: Workload, hardware: Hardware) -> StageEstimate:
    rates = hardware.rates
    linear, attention = flops.dit_ops(workload)
    once = linear / rates.products + attention / rates.attention
    shape = workload.variant.dit
    if rates.memory is not None:
        once += PASSES * workload.tokens * shape.dim * 2 * shape.num_layers / rates.memory
    if workload.streamed and hardware.device_bytes is not None:
        once = max(once, flops.dit_bytes(workload)[0] / HOST_COPY_BYTES_S)
    device, host = _placed(workload, hardware)
    activations, kept = flops.dit_activation_bytes(workload), flops.driving_bytes(workload)
    if workload.streamed and hardware.device_bytes is not None:  # kept on the host as well
        once += kept / HOST_COPY_BYTES_S
        host += kept
    else:
        activations += kept
    seconds = once * rates.overhead * workload.forwards * workload.prompts
    if hardware.device_bytes is None:
        return _stage("denoising", seconds, 0, host + activations, hardware)
    return _stage("denoising", seconds, device + activations, host, hardware)


def _decoding(workload: Workload, hardware: Hardware) -> StageEstimate:
    stage = _vae_stage("decoding", workload, hardware, flops.vae_ops(workload)[1])
    if workload.prompts > 1:  # the transformer stays loaded for the next prompt
        device, host = _placed(workload, hardware)
        stage = stage._replace(
            device_bytes=stage.device_bytes + device - _vae_bytes(workload) if device else 0,
            host_bytes=stage.host_bytes + host,
        )
    return stage


def _vae_stage(name: str, workload: Workload, hardware: Hardware, ops: float) -> StageEstimate:
    size = _vae_bytes(workload) + flops.vae_activation_bytes(workload)
    host = flops.video_bytes(workload) if workload.vae_tile else 0.0
    if hardware.device_bytes is None:
        host += size
    return _stage(name, ops / hardware.rates.convolutions * workload.prompts, size, host, hardware)


def _placed(workload: Workload, hardware: Hardware) -> tuple[float, float]:
    """Bytes of the transformer and the idle VAE on the GPU, and on the host."""
    blocks, rest = flops.dit_bytes(workload)
    vae = _vae_bytes(workload)
    if hardware.device_bytes is None:
        return 0.0, blocks + rest + vae
    if not workload.streamed:
        return blocks + rest + vae, 0.5e9
    shape = workload.variant.dit
    ring = 2 * blocks / (shape.num_layers + len(shape.vace_layers))
    return ring + rest + vae, blocks + 0.5e9


def _vae_bytes(workload: Workload) -> float:
    return flops.vae_parameters(workload.variant.vae) * flops.FP32_BYTES


def _stage(
    name: str, seconds: float, device: float, host: float, hardware: Hardware
) -> StageEstimate:
    on_gpu = hardware.device_bytes is not None
    device = device + CUDA_CONTEXT_BYTES if on_gpu else 0.0
    return StageEstimate(name, seconds, device, host + PROGRAM_BYTES)
