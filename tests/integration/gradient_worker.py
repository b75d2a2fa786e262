"""One of several processes that share the tokens of a video, and compare their gradients with one.

Run by test_gradients.py under torchrun; the first process writes the distances to the file named.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from parallel_worker import BASE, IMAGE, TIMES, drawn, inputs, make_model

from wanctl.distributed.layout import Layout
from wanctl.distributed.torch_context import torch_distributed_context
from wanctl.train.memory.checkpointing import checkpoint_blocks

KINDS = {
    "plain": BASE,
    "two images": replace(BASE, in_channels=36, image_dim=20, image_tokens=2 * IMAGE),
    "control": replace(BASE, vace_layers=(0, 1)),
}
LAYOUTS = {
    2: (Layout(ulysses=2), Layout(ring=2)),
    4: (Layout(ulysses=2, ring=2), Layout(ring=4), Layout(ulysses=4)),
}


def gradients(shape, times, distributed=None, *, checkpointing="none", exchange=True):
    """Loss and gradients of all parameters; of several processes, the mean over all of them."""
    model = make_model(shape).train()
    checkpoint_blocks(model, checkpointing)
    if distributed is not None:
        distributed.parallelize(model)
        if not exchange:
            for block in model.blocks:
                block.self_attn.attend = None
    arguments, more = inputs(shape, TIMES[times])
    velocity = model(*arguments, **more)
    loss = (velocity - drawn(*velocity.shape, seed=7)).square().mean()
    loss.backward()
    found = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    if distributed is not None:
        for gradient in found.values():
            dist.all_reduce(gradient)
            gradient /= distributed.num_processes
    return loss.item(), found


def farthest(ours, theirs):
    """The largest distance of a gradient, as a share of its largest entry."""
    assert ours[1].keys() == theirs[1].keys()
    far = {
        name: ((ours[1][name] - each).abs().max() / each.abs().max().clamp(min=1e-6)).item()
        for name, each in theirs[1].items()
    }
    return {"loss": abs(ours[0] - theirs[0]), **far}


def main(out: Path) -> None:
    torch.set_num_threads(1)
    with torch_distributed_context(torch.device("cpu")) as distributed:
        report = {}
        for layout in LAYOUTS[distributed.num_processes]:
            distributed.set_layout(layout)
            for name, shape in KINDS.items():
                for times in TIMES:
                    alone = gradients(shape, times)
                    far = farthest(gradients(shape, times, distributed), alone)
                    worst = max(far, key=far.get)
                    report[f"{layout}, {name}, {times}"] = worst, far[worst]
            for mode in ("pointwise", "selective", "full"):
                alone = gradients(BASE, "one timestep", checkpointing=mode)
                ours = gradients(BASE, "one timestep", distributed, checkpointing=mode)
                far = farthest(ours, alone)
                worst = max(far, key=far.get)
                report[f"{layout}, checkpointing {mode}"] = worst, far[worst]
        alone = gradients(BASE, "one timestep")
        ours = gradients(BASE, "one timestep", distributed, exchange=False)
        without_exchange = max(farthest(ours, alone).values())
        if distributed.is_main_process:
            report = {"distances": report, "without_exchange": without_exchange}
            out.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    main(parser.parse_args().out)
