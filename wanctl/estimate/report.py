"""Prints a plan (`--plan`) and refuses workloads that cannot fit."""

import sys
from pathlib import Path
from typing import Any

import torch

from wanctl.errors import UserError
from wanctl.estimate import flops
from wanctl.estimate.flops import Workload
from wanctl.estimate.hardware import available_memory, detect_hardware
from wanctl.estimate.plan import Plan, cheapest_alternative, make_plan
from wanctl.listing import print_rows
from wanctl.progress_lines import duration

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
    columns, rows = _table(plan)
    print_rows(columns, rows, title=_title(plan), headers=True)
    for line in _lines(plan):
        sys.stdout.write(f"{line}\n")


def plan_record(workload: Workload, device: torch.device, out: Path) -> dict[str, Any]:
    """What a workload takes, for JSON: seconds and bytes.

    Args:
        workload: what runs.
        device: where it runs.
        out: folder of the outputs, for the free disk space; need not exist.
    """
    plan = make_plan(workload, detect_hardware(str(device), out))
    hardware, (frames, height, width) = plan.hardware, workload.size
    return {
        "variant": workload.variant.name,
        "outputs": workload.prompts,
        "frames": frames,
        "height": height,
        "width": width,
        "device": hardware.name,
        "stages": [
            {
                "stage": stage.name, "seconds": stage.seconds,
                "device_bytes": stage.device_bytes, "host_bytes": stage.host_bytes,
            }
            for stage in plan.stages
        ],
        "seconds": plan.seconds,
        "device_bytes": plan.device_bytes,
        "host_bytes": plan.host_bytes,
        "output_bytes": plan.output_bytes,
        "weights_bytes": flops.stored_bytes(workload.variant),
        "free_device_bytes": hardware.device_bytes,
        "free_host_bytes": hardware.host_bytes,
        "free_disk_bytes": hardware.disk_bytes,
        "rates_known": hardware.known,
        "fits": plan.shortage() is None,
        "shortage": plan.shortage(),
    }  # fmt: skip


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


def _title(plan: Plan) -> str:
    frames, height, width = plan.workload.size
    variant = plan.workload.variant.name
    return f"{variant}, {width}x{height}, {frames} frames, on {plan.hardware.name}"


def _table(plan: Plan) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: a stage each, the peak, what is free."""
    hardware, on_gpu = plan.hardware, plan.hardware.device_bytes is not None
    columns = ["stage", "time", *(["GPU memory"] if on_gpu else []), "host memory"]
    stages = [(s.name, s.seconds, s.device_bytes, s.host_bytes) for s in plan.stages]
    stages.append(("in all, at the peak", plan.seconds, plan.device_bytes, plan.host_bytes))
    rows = [
        [name, duration(seconds), *([_size(device)] if on_gpu else []), _size(host)]
        for name, seconds, device, host in stages
    ]
    has = [_size(hardware.device_bytes)] if hardware.device_bytes is not None else []
    return columns, [*rows, ["free", "", *has, _size(hardware.host_bytes)]]


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


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
