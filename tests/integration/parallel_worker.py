"""One of several processes that compare their common results with those of a single process.

Run by test_parallel.py under torchrun; the first process writes the distances to the file named.
"""

import argparse
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import nn

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.experts import high_steps
from wanctl.diffusion.generate import Denoising
from wanctl.diffusion.guidance import guided_velocity
from wanctl.diffusion.schedules import make_schedule
from wanctl.distributed.layout import Layout
from wanctl.distributed.torch_context import torch_distributed_context
from wanctl.model.dit.networks import make_dit
from wanctl.model.dit.precision import NUMERICS
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import WAN22_VAE, VAEShape

TEXT, IMAGE = 8, 7
FRAMES, ROWS, COLUMNS = 3, 6, 10  # 15 tokens a frame: they divide by neither 2 nor 4


def small(shape):
    """A published transformer with few and narrow layers."""
    return replace(
        shape, dim=48, ffn_dim=64, num_layers=2, num_heads=4, text_dim=16, text_len=TEXT,
        freq_dim=32, image_dim=shape.image_dim and 20,
        image_tokens=shape.image_tokens and 2 * IMAGE, vace_layers=shape.vace_layers and (0, 1),
    )  # fmt: skip


BASE = small(VARIANTS["wan2.1-t2v-1.3b"].dit)


def shapes():
    """One shape of every kind among the variants, and of every way of conditioning."""
    kinds = {name: small(variant.dit) for name, variant in VARIANTS.items()} | {
        "channels and image": replace(BASE, in_channels=36, image_dim=20),
        "two images": replace(BASE, in_channels=36, image_dim=20, image_tokens=2 * IMAGE),
        "channels": replace(BASE, in_channels=36),
        "control": replace(BASE, vace_layers=(0, 1)),
    }
    return {name: shape for shape, name in {shape: name for name, shape in kinds.items()}.items()}


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def make_model(shape, precision="fast", seed=1):
    torch.manual_seed(seed)
    model = make_dit(shape, precision) if shape.frame_rates else WanModel(shape, precision)
    nn.init.normal_(model.head.head.weight, std=0.15)  # outputs around 1, as trained
    return model.eval()


def inputs(shape, timesteps, batch=1):
    more = {}
    if shape.image_dim:
        more["image_BIE"] = drawn(batch, shape.image_tokens or IMAGE, shape.image_dim)
    if shape.vace_layers:
        more["control_BCTYX"] = drawn(batch, shape.vace_channels, FRAMES, ROWS, COLUMNS)
        more["control_scale"] = 0.7
    if shape.frame_rates:
        more["frame_rate_B1"] = torch.zeros(batch, 1, dtype=torch.long)
    latents = drawn(batch, shape.in_channels, FRAMES, ROWS, COLUMNS)
    return (latents, timesteps.expand(batch, *timesteps.shape[1:]), drawn(batch, TEXT, 16)), more


TIMES = {"one timestep": torch.tensor([700.0]), "one per frame": torch.tensor([[0.0, 700, 700]])}


def distance(ours, theirs):
    """The largest difference."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.01
    return (ours - theirs).abs().max().item()


@cache
def alone(shape, times, batch, precision):
    """The output of a single process."""
    arguments, more = inputs(shape, TIMES[times], batch)
    return make_model(shape, precision)(*arguments, **more)


def model_distances(distributed, layout, precision):
    """The largest distance of each shape's outputs."""
    results = {}
    distributed.set_layout(layout)
    for name, shape in shapes().items():
        model = make_model(shape, precision)
        divided = distributed.parallelize(model)
        for times, timesteps in TIMES.items():
            arguments, more = inputs(shape, timesteps, batch=layout.cfg)
            ours = divided(*arguments, **more)
            results[f"{name}, {times}"] = distance(ours, alone(shape, times, layout.cfg, precision))
        if layout.tokens > 1:
            assert model.context_parallel.shard(torch.zeros(1, 1, 45, 1)).shape[2] < 45
        if layout.fsdp:
            held = model.blocks[0].ffn[0].weight.to_local()
            assert held.shape[0] == 64 // layout.processes
    return results


def guided_distances(distributed):
    """Guidance over processes: with two prompts, with one, and with given frames."""
    x, context, negative = drawn(1, 16, FRAMES, ROWS, COLUMNS), drawn(1, TEXT, 16), drawn(1, 5, 16)
    negative = torch.cat((negative, torch.zeros(1, TEXT - 5, 16)), 1)
    given = {
        "words": Conditions(context),
        "given frame": Conditions(
            context, known=drawn(1, 16, FRAMES, ROWS, COLUMNS, seed=5),
            known_frames=torch.tensor([True, False, False]),
        ),
    }  # fmt: skip
    ours, theirs = distributed.parallelize(make_model(BASE)), make_model(BASE)
    return {
        f"guidance {scale}, {name}": distance(
            *(
                guided_velocity(model, x, torch.tensor(700.0), conditions, negative, scale)
                for model in (ours, theirs)
            )
        )
        for name, conditions in given.items()
        for scale in (1.0, 0.0, 4.0)
    }


def expert_distance(distributed):
    """A whole sample by two experts."""
    context, negative = drawn(1, TEXT, 16), drawn(1, TEXT, 16, seed=3)
    schedule = make_schedule("unipc", 4, 5.0)

    def sampled(divide):
        denoising = Denoising(
            noise=drawn(1, 16, FRAMES, ROWS, COLUMNS), conditions=Conditions(context),
            negative_context=negative, guide_scale=3.0, schedule=schedule, solver="unipc",
        )  # fmt: skip
        stop = high_steps(schedule.timesteps, 0.875)
        assert 0 < stop < denoising.steps
        high, low = (make_model(BASE, seed=seed) for seed in (1, 2))
        denoising.run_until(divide(high), stop)
        return denoising.run_until(divide(low))

    return distance(sampled(distributed.parallelize), sampled(lambda model: model))


def check_half_precision(distributed, layout):
    """In bf16 dtypes stay what they were, and no more is lost than by one process."""
    shape = replace(BASE, in_channels=36, image_dim=20, vace_layers=(0, 1))
    arguments, more = inputs(shape, TIMES["one per frame"], layout.cfg)
    exact = make_model(shape)(*arguments, **more)
    lost_alone = distance(make_model(shape).cast(torch.bfloat16)(*arguments, **more), exact)
    model = make_model(shape).cast(torch.bfloat16)
    dtypes = {name: each.dtype for name, each in model.named_parameters()}
    lost = distance(distributed.parallelize(model)(*arguments, **more), exact)
    assert {name: each.dtype for name, each in model.named_parameters()} == dtypes
    assert set(dtypes.values()) == {torch.bfloat16, torch.float32}
    assert 0.1 * lost_alone < lost < 1.3 * lost_alone  # measured: 1.02


def distance_without_exchange(distributed):
    """The error when each process attends to its own tokens only: the test can fail."""
    arguments, more = inputs(BASE, TIMES["one timestep"])
    divided = make_model(BASE)
    distributed.parallelize(divided)
    for block in divided.blocks:
        block.self_attn.attend = None
    return distance(divided(*arguments, **more), make_model(BASE)(*arguments, **more))


def vae_distances(distributed):
    """Encoding and decoding of frames whose latent rows do not divide evenly."""
    results = {}
    zeros, ones = (0.0,) * 4, (1.0,) * 4
    small = VAEShape(dim=8, z_dim=4, num_res_blocks=1, latent_mean=zeros, latent_std=ones)
    later = replace(
        WAN22_VAE, dim=8, decoder_dim=8, z_dim=4, num_res_blocks=1, latent_mean=zeros,
        latent_std=ones,
    )  # fmt: skip
    for name, shape in {"2.1": small, "2.2": later}.items():
        torch.manual_seed(0)
        vae = WanVAE(shape).eval()
        divided = distributed.parallelize_vae(vae)
        for rows in (1, 5):
            latents = drawn(1, 4, 3, rows, 4)
            side = vae.spatial_stride
            video = drawn(1, 3, 9, side * rows, side * 4).clamp(-1, 1)
            for size in (1, 3):
                pieces = (
                    torch.cat(list(each.decode_frames(latents, latent_frames=size)), 2)
                    for each in (divided, vae)
                )
                results[f"{name} decode, {rows} rows, {size} at once"] = distance(*pieces)
            for chunked in (True, False):
                both = (each.encode(video, chunked=chunked) for each in (divided, vae))
                results[f"{name} encode, {rows} rows, chunked {chunked}"] = distance(*both)
    return results


def layouts(processes):
    if processes == 2:
        return (Layout(ring=2), Layout(ulysses=2), Layout(cfg=2), Layout(ring=2, fsdp=True))
    plain = (Layout(ring=2, ulysses=2), Layout(cfg=2, ring=2), Layout(cfg=2, ulysses=2))
    whole = (*plain, Layout(ring=4), Layout(ulysses=4))
    return (*whole, Layout(ring=2, ulysses=2, fsdp=True), Layout(cfg=2, ring=2, fsdp=True))


def main(out: Path) -> None:
    torch.set_num_threads(1)
    with torch_distributed_context(torch.device("cpu")) as distributed, torch.no_grad():
        results = {}
        for layout in layouts(distributed.num_processes):
            for precision in NUMERICS if layout.ring > 1 and not layout.fsdp else ("fast",):
                distances = model_distances(distributed, layout, precision)
                results[f"{layout}, {precision}"] = distances
            if layout.cfg > 1:
                results[f"{layout}, guided"] = guided_distances(distributed)
            if distributed.num_processes > 2:
                check_half_precision(distributed, layout)
            results[f"{layout}, experts"] = {"whole sample": expert_distance(distributed)}
        distributed.set_layout(Layout(ring=distributed.num_processes))
        results["vae"] = vae_distances(distributed)
        without_exchange = distance_without_exchange(distributed)
        if distributed.is_main_process:
            out.write_text(
                json.dumps({"distances": results, "without_exchange": without_exchange}, indent=1)
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    main(parser.parse_args().out)
