"""Prints a plan (`--plan`) and refuses workloads that cannot fit."""

from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from wanctl.errors import UserError
from wanctl.estimate import flops
from wanctl.estimate.flops import Workload
from wanctl.estimate.hardware import available_memory, detect_hardware
from wanctl.estimate.plan import Plan, cheapest_alternative, make_plan

# A run is refused only where even this share of the estimate would not fit.
REFUSAL_FACTOR = 0.85


def show_plan(workload: Workload, device: torch.device, out: Path) -> None:
    """Print what a workload takes, before anything is loaded.

    Args:
        workload: what runs.
        device: where it runs.
        out: folder of the outputs, for the free disk space; need not exist.
    """
    plan = make_plan(workload, detect_hardware(str(device), out))
    console = Console(highlight=False)
    console.print(_table(plan))
    for line in _lines(plan):
        console.print(line, soft_wrap=True)


def check_memory(workload: Workload, device: torch.device) -> None:
    """Refuse a workload that cannot fit, before the large networks are loaded.

    Args:
        workload: with the sizes of the weights that were found.
        device: where it runs.

    Raises:
        UserError: names what is missing and the cheapest change that fits.
    """
    plan = make_plan(workload, available_memory(device))
    if shortage := plan.shortage(REFUSAL_FACTOR):
        raise UserError(f"not enough {shortage}; {_advice(plan, REFUSAL_FACTOR)}")


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
    shortage = plan.shortage()
    if shortage is None:
        lines.append("it fits")
    else:
        lines.append(f"it does not fit, not enough {shortage}; {_advice(plan)}")
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
