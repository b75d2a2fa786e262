"""The estimate of a command's outputs, printed by `--plan`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from wanctl.estimate.report import plan_record, show_plan
from wanctl.listing import print_json
from wanctl.model.variants import Variant
from wanctl.sample.request import SampleRequest, workload_of


def show_plans(
    requests: Sequence[SampleRequest],
    variant: Variant,
    device: torch.device,
    out: Path,
    *,
    as_json: bool,
) -> None:
    """Print the estimate of each kind of output; loads nothing and rewrites no prompt.

    Args:
        requests: of the command.
        variant: with the sizes of the model.
        device: where the outputs are sampled.
        out: the run folder, in which measured speeds are looked up.
        as_json: print one JSON list in the place of tables.
    """
    counts, kinds = Counter(each.kind for each in requests), {each.kind: each for each in requests}
    loads = [workload_of(request, variant, counts[kind]) for kind, request in kinds.items()]
    if as_json:
        print_json([plan_record(load, device, out) for load in loads])
        return
    for load in loads:
        show_plan(load, device, out)
