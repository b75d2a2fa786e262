"""A training step of the transformer against the same step on diffusers 0.42's modules.

1.3B widths, 4 layers, 2,080 tokens, fp32: noise is added, the loss is the squared error of the
velocity, gradients are clipped, AdamW steps. Both programs start from the same weights and see the
same noise and the same prompt of 120 tokens. Run it alone: `python tests/bench/dit_training.py`.
Bars: at most 0.9x diffusers' time and 0.8x its peak memory; a LoRA of rank 32 at most 0.7x the time
of our full step. `options` has the other settings of `train_dit.memory`.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from harness import RETURNS_MEMORY, compare, machine, peak_rss, run_apart
from models import SHAPE, diffusers_twin, drawn_transformer, their_transformer

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.flow import add_noise, velocity
from wanctl.model.variants import DiTShape
from wanctl.train.adapters.attach import AdapterOptions, Target, attach_adapter
from wanctl.train.dit.loss import flow_error
from wanctl.train.memory.checkpointing import checkpoint_blocks

LATENTS = (1, 16, 5, 32, 52)  # 5 * 16 * 26 = 2,080 tokens
CPU = torch.device("cpu")
CLIP_NORM = 1.0
PROMPT_TOKENS = 120
RANK = 32
# those of the recipe's `train_dit.adapter.targets`
ADAPTED = ("blocks.*.self_attn", "blocks.*.cross_attn", "blocks.*.ffn")


class StepInputs(NamedTuple):
    """Clean latents, noise, noise levels (B,) and a prompt with zero rows after its tokens."""

    x0: Tensor
    noise: Tensor
    sigma: Tensor
    context: Tensor


class TrainedDiT(NamedTuple):
    """A transformer of either program, with its optimizer."""

    module: nn.Module
    loss: Callable[[StepInputs], Tensor]
    optimizer: torch.optim.Optimizer

    def step(self, inputs: StepInputs) -> float:
        """Do one step; the loss before it."""
        loss = self.loss(inputs)
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


def ours(
    shape: DiTShape = SHAPE,
    checkpointing: str = "pointwise",
    rank: int | None = None,
    device: torch.device = CPU,
) -> TrainedDiT:
    """The transformer as `wanctl train-dit` runs it, or an adapter on it."""
    model = drawn_transformer(shape, device).train()
    if rank is not None:
        targets = tuple(Target(layers, rank, rank) for layers in ADAPTED)
        attach_adapter(model, AdapterOptions("lora", targets, dropout=0.0, seed=0))
    checkpoint_blocks(model, checkpointing)

    def loss(inputs: StepInputs) -> Tensor:
        x0, noise, sigma, context = inputs
        return flow_error(model, x0, noise, sigma, Conditions(context), device).mean()

    return with_optimizer(model, loss)


def diffusers(
    shape: DiTShape = SHAPE, device: torch.device = CPU, *, checkpointing: bool = False
) -> TrainedDiT:
    """WanTransformer3DModel in a plain training step, with the weights of `ours`."""
    model: Any = diffusers_twin(drawn_transformer(shape, device), torch.float32)
    if checkpointing:
        model.enable_gradient_checkpointing()
    return plain_step(model, device)


def plain_step(model: nn.Module, device: torch.device = CPU) -> TrainedDiT:
    """The training step of a transformer of diffusers."""
    model.train()

    def loss(inputs: StepInputs) -> Tensor:
        x0, noise, sigma, context = (each.to(device) for each in inputs)
        noisy = add_noise(x0, noise, sigma)
        (predicted,) = model(noisy, sigma * 1000, context, return_dict=False)
        return nn.functional.mse_loss(predicted.float(), velocity(x0, noise))

    return with_optimizer(model, loss)


def with_optimizer(model: nn.Module, loss: Callable[[StepInputs], Tensor]) -> TrainedDiT:
    """AdamW as a single kernel for each parameter, as `wanctl` has it."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return TrainedDiT(model, loss, torch.optim.AdamW(trained, lr=1e-5, fused=True))


ARMS: dict[str, Callable[[], TrainedDiT]] = {"ours": ours, "diffusers": diffusers}
OPTIONS: dict[str, Callable[[], TrainedDiT]] = {
    "lora": partial(ours, rank=RANK),
    "none": partial(ours, checkpointing="none"),
    "selective": partial(ours, checkpointing="selective"),
    "full": partial(ours, checkpointing="full"),
}


def draw_inputs(shape: DiTShape = SHAPE, latents: tuple[int, ...] = LATENTS) -> StepInputs:
    """The same for every arm."""
    generator = torch.Generator().manual_seed(1)
    drawn = partial(torch.randn, generator=generator)
    context = drawn(latents[0], shape.text_len, shape.text_dim)
    context[:, PROMPT_TOKENS:] = 0
    return StepInputs(drawn(latents), drawn(latents), torch.full((latents[0],), 0.6), context)


def saved_mb(arm: TrainedDiT, inputs: StepInputs) -> int:
    """What the graph of a forward pass holds for the backward pass besides the weights."""
    storages: dict[int, torch.UntypedStorage] = {}

    def note(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        storages[storage.data_ptr()] = storage
        return saved

    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        loss = arm.loss(inputs)
    weights = {p.untyped_storage().data_ptr() for p in arm.module.parameters()}
    # read now: what is recomputed in the backward pass has been freed meanwhile
    kept = sum(storage.nbytes() for at, storage in storages.items() if at not in weights)
    del loss
    return round(kept / 1e6)


def build(arm: str) -> TrainedDiT:
    """A process with libraries and weights: the part of a peak that no step causes.

    diffusers' weights are drawn in place: those of `ours` beside them would be in the peak.
    """
    if arm == "diffusers":
        return plain_step(their_transformer())
    return {**ARMS, **OPTIONS}[arm]()


def two_steps(arm: str) -> None:
    """The second step has the optimizer's state beside the activations."""
    trained, inputs = build(arm), draw_inputs()
    for _ in range(2):
        trained.step(inputs)


def run(repeats: int = 5) -> dict[str, float]:
    """All figures of this module; `_net_mb` is peak RSS above that of a process that only built."""
    figures = speed("step", ARMS, repeats) | memory("step", tuple(ARMS))
    for name in OPTIONS:
        figures |= run_apart("dit_training", "option_speed", name, str(max(1, repeats // 2)))
        figures |= memory(f"options.{name}", (name,))
    return figures


def option_speed(name: str, repeats: str) -> dict[str, float]:
    """Seconds of a step with another setting, and its share of that with the default one."""
    return speed(f"options.{name}", {name: OPTIONS[name], "ours": ours}, int(repeats))


def speed(
    name: str, arms: Mapping[str, Callable[[], TrainedDiT]], repeats: int
) -> dict[str, float]:
    """Seconds of a step of each arm, their ratio, and what each keeps for the backward pass."""
    trained, inputs = {arm: make() for arm, make in arms.items()}, draw_inputs()
    steps = {arm: partial(own.step, inputs) for arm, own in trained.items()}
    figures = compare(name, steps, repeats)
    figures[f"{name}.time"] = round(1 / figures[f"{name}.times_as_fast"], 3)
    return figures | {
        f"{name}.{arm}_saved_mb": saved_mb(own, inputs) for arm, own in trained.items()
    }


def memory(name: str, arms: Sequence[str]) -> dict[str, float]:
    """Peak memory that two steps add to a process, and the first arm's as a share of the last's."""
    peak = partial(peak_rss, "dit_training", environment=RETURNS_MEMORY)
    added = [peak("two_steps", arm) - peak("build", arm) for arm in arms]
    figures: dict[str, float] = {
        f"{name}.{arm}_net_mb": round(each / 1e6) for arm, each in zip(arms, added, strict=True)
    }
    if len(arms) > 1:
        figures[f"{name}.memory"] = round(added[0] / added[-1], 3)
    return figures


if __name__ == "__main__":
    print(json.dumps({"machine": machine(), **run()}, indent=2))
