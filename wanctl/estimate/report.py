"""`wanctl sample --plan`, and the refusal of what cannot fit: settings to a plan, and its words."""

from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from wanctl.errors import UserError
from wanctl.estimate import flops
from wanctl.estimate.flops import Workload
from wanctl.estimate.hardware import available_memory, detect_hardware
from wanctl.estimate.plan import Plan, cheapest_alternative, make_plan
from wanctl.model.shapes import PixelShape
from wanctl.model.variants import Variant
from wanctl.sample.params import SamplingParams

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# A run is refused where even so much less than estimated would not fit.
REFUSAL_FACTOR = 0.85


def show_plan(
    settings: SamplingParams,
    variant: Variant,
    prompts: int,
    device: torch.device,
    out: Path,
) -> None:
    """Print what a sample takes, before anything is loaded."""
    plan = make_plan(workload_of(settings, variant, prompts), detect_hardware(str(device), out))
    console = Console(highlight=False)
    console.print(_table(plan))
    for line in _lines(plan):
        console.print(line, soft_wrap=True)


def check_memory(settings: SamplingParams, variant: Variant, device: torch.device) -> None:
    """Refuse what cannot fit, before the large networks are loaded.

    Args:
        settings: of the sample.
        variant: with the sizes of the weights that were found.
        device: where it runs.

    Raises:
        UserError: says what is missing and the cheapest change that fits.
    """
    plan = make_plan(workload_of(settings, variant, 1), available_memory(device))
    if lack := plan.shortage(REFUSAL_FACTOR):
        raise UserError(f"not enough {lack}; {_advice(plan, REFUSAL_FACTOR)}")


def workload_of(settings: SamplingParams, variant: Variant, prompts: int) -> Workload:
    """What settings ask of a machine."""
    product_bytes = BYTES[settings.dtype]
    placement = settings.placement
    one_byte = 1.0 + flops.FP32_BYTES / variant.dit.dim  # and a scale per output
    return Workload(
        variant=variant,
        size=PixelShape(settings.frames, settings.height, settings.width),
        steps=settings.steps,
        guided=settings.guided,
        guided_share=settings.guide_until,
        weight_bytes=one_byte if placement.quantize else product_bytes,
        product_bytes=product_bytes,
        streamed=placement.stream_blocks,
        vae_tile=settings.vae_tile,
        prompts=prompts,
        encodes=float(bool(settings.inputs)),
        text_parameters=flops.UMT5_PARAMETERS if variant.text_encoder == "umt5" else 0,
    )


def _table(plan: Plan) -> Table:
    hardware, on_gpu = plan.hardware, plan.hardware.device_bytes is not None
    _, height, width = plan.workload.size
    title = f"{plan.workload.variant.name}, {width}x{height}, {plan.workload.size.frames} frames"
    table = Table(title=f"{title}, on {hardware.name}", title_justify="left")
    table.add_column("stage")
    for column in ("time", *(["GPU memory"] if on_gpu else []), "host memory"):
        table.add_column(column, justify="right")
    rows = [(s.name, s.seconds, s.device_bytes, s.host_bytes) for s in plan.stages]
    rows.append(("in all, at the peak", plan.seconds, plan.device_bytes, plan.host_bytes))
    for number, (name, seconds, device, host) in enumerate(rows):
        if number == len(plan.stages):
            table.add_section()
        memory = [_size(device)] if on_gpu else []
        table.add_row(name, duration(seconds), *memory, _size(host))
    has = [_size(hardware.device_bytes)] if hardware.device_bytes is not None else []
    table.add_row("free", "", *has, _size(hardware.host_bytes))
    return table


def _lines(plan: Plan) -> list[str]:
    workload, hardware = plan.workload, plan.hardware
    weights = flops.stored_bytes(workload.variant)
    lines = [
        f"disk: about {_size(plan.output_bytes)} for outputs, {_size(hardware.disk_bytes)} free; "
        f"the published weights take {_size(weights)}"
    ]
    if not hardware.known:
        lines.append(f"the rates of {hardware.name} are not known here: times are a guess")
    lack = plan.shortage()
    if lack is None:
        lines.append("it fits")
    else:
        lines.append(f"it does not fit, not enough {lack}; {_advice(plan)}")
    return lines


def _advice(plan: Plan, headroom: float | None = None) -> str:
    change = cheapest_alternative(plan, headroom)
    if change is None:
        return "no change of settings makes it fit; take a smaller variant or another machine"
    return (
        f"the cheapest change that fits: `--set {change.settings}` "
        f"({duration(change.plan.seconds)} instead of {duration(plan.seconds)})"
        if plan.hardware.measured
        else f"the cheapest change that fits: `--set {change.settings}`"
    )


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `5 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
