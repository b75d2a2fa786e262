"""Runs of two networks, in one or two processes, killed at some moments and started again.

Run as a script with a folder, a number of moments and a row of OBJECTIVES; writes `results.json`
there. The library is imported once, each process of a run is a fork.
"""

import importlib.util
import json
import os
import random
import signal
import socket
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import torch
from conftest import (
    MemoryFootage,
    make_loop_options,
    make_loss_options,
    make_optimizer_options,
    make_toy_gan,
)

from wanctl.cli.errors import format_error
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape
from wanctl.train import checkpoint
from wanctl.train.accelerator import start_processes
from wanctl.train.inputs.windows import Shape
from wanctl.train.loop import train
from wanctl.train.metrics import MetricsFile
from wanctl.train.vae.objective import VAEObjective

STEPS = 40
SAVING = ("save_tensors", "_fsync", "_sha256")
OPTIONS = make_loop_options(
    steps=STEPS,
    optimizer=make_optimizer_options(lr=0.02, warmup_steps=3, decay="cosine"),
    ema_decay=0.9,
    log_every=3,
    eval_every=10,
    preview_every=20,
    checkpoint_every=7,
)


class ImagesAndVideos(MemoryFootage):
    """Every third micro-batch is an image, which skips the layers over time."""

    def sample_windows(self, microbatch):
        image = (microbatch.step + microbatch.micro) % 3 == 0
        shape = Shape(1, 32, 32) if image else self.shape
        return [replace(window, shape=shape) for window in super().sample_windows(microbatch)]


def make_vae_gan(batch_size, chunks=1, skips=None):
    """A small VAE with a discriminator from step 2 on, adaptive weight and gradient penalty."""
    shape = VAEShape(dim=8, z_dim=4, dim_mult=(1, 1, 2, 2), num_res_blocks=1)
    shape = replace(shape, latent_mean=(0.0,) * 4, latent_std=(1.0,) * 4)
    adversary = {"weight": 0.5, "from_step": 2, "width": 8, "layers": 2, "r1": 1.0, "r1_every": 4}
    footage = ImagesAndVideos if skips is None else MemoryFootage
    torch.manual_seed(0)
    return VAEObjective(
        WanVAE(shape),
        footage(Shape(5 if chunks == 1 else 9, 32, 32), batch_size),
        make_loss_options(perceptual=0, adversarial=adversary),
        fps=8,
        metadata={},
        keep_statistics=True,
        chunk_frames=None if chunks == 1 else 5,
    )


def make_adapters(batch_size, **_):
    """A DoRA with dropout on each of two experts, which are frozen in fp8."""
    return make_experts(batch_size, prepare="dora_on_fp8")


def make_experts(batch_size, prepare=None, **_):
    """Two experts of the transformer that take turns in blocks of three steps."""
    path = Path(__file__).parent / "dit/experts/conftest.py"
    spec = importlib.util.spec_from_file_location("experts", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    own = {"prepare": getattr(module, prepare)} if prepare else {}
    return module.make_experts(MemoryFootage(batch_size=batch_size), steps=STEPS, **own)


OBJECTIVES = {
    "toy": (make_toy_gan, 0.02),
    "vae": (make_vae_gan, 2e-3),
    "experts": (make_experts, 2e-3),
    "adapters": (make_adapters, 1e-2),
}
"""How each is made, and its learning rate."""


class Moments:
    """Counts calls of this process and kills it at one of them.

    Args:
        kill_at: number of the call; None never.
    """

    def __init__(self, kill_at):
        self.kill_at = kill_at
        self.names = []

    def counted(self, name, function):
        def call(*arguments, **named):
            self.names.append(name)
            if len(self.names) == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call


def run_process(kind, folder, rank, processes, port, accumulate, kill_at, settings):
    """One process of a run; writes the names of its calls where it ends."""
    if processes > 1:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
        }  # fmt: skip
    moments = Moments(kill_at)
    make, lr = OBJECTIVES[kind]
    objective = make(**settings)
    for name in ("batch", "losses", "measure", "preview", "save"):
        setattr(objective, name, moments.counted(name, getattr(objective, name)))
    for name in SAVING:
        setattr(checkpoint, name, moments.counted(name, getattr(checkpoint, name)))
    MetricsFile.append = moments.counted("append", MetricsFile.append)
    device = start_processes("cpu").device
    optimizer = replace(OPTIONS.optimizer, lr=lr)
    options = replace(OPTIONS, accumulate=accumulate, optimizer=optimizer)
    train(objective, folder, options, device=device)
    (folder / f"calls-{rank}.json").write_text(json.dumps(moments.names))


def run(kind, folder, processes, accumulate, kill_at=None, kill_rank=0, **settings):
    """Run in `processes` forks; returns whether all of them came to their end."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    children = []
    for rank in range(processes):
        if not (child := os.fork()):
            own = kill_at if rank == kill_rank else None
            try:
                run_process(kind, folder, rank, processes, port, accumulate, own, settings)
            except BaseException as error:
                traceback.print_exc()
                lines = format_error(error) or [repr(error)]
                (folder / f"lost-{rank}.txt").write_text("\n".join(lines))
                os._exit(1)
            os._exit(0)
        children.append(child)
    died = os.waitpid(children[kill_rank], 0)[1]
    others = [child for child in children if child != children[kill_rank]]
    # they wait for the one that died: a process that does not notice it fails the test's time limit
    return not any([died, *(os.waitpid(child, 0)[1] for child in others)])


def outcome(folder):
    """What must not depend on interruptions: metrics, previews, the last checkpoint's checksums."""
    manifest = json.loads((folder / f"checkpoints/step-{STEPS:06d}/manifest.json").read_text())
    previews = {p.name: p.read_bytes().hex() for p in sorted((folder / "previews").iterdir())}
    metrics = (folder / "metrics.jsonl").read_text()
    return {"metrics": metrics, "manifest": manifest, "previews": previews}


def calls_of(folder):
    """Numbers of items that each process measured and made previews of."""
    calls = [json.loads(path.read_text()) for path in sorted(folder.glob("calls-*.json"))]
    return {name: [each.count(name) for each in calls] for name in ("measure", "preview")}


def weights(folder):
    path = folder / f"checkpoints/step-{STEPS:06d}"
    return checkpoint.read_checkpoint(path).tensors("model")


def kills(kind, folder, count, processes, accumulate):
    """(call at which a process was killed, whether the run then ended as if it had not been)."""
    full = folder / f"full-{processes}"
    assert run(kind, full, processes, accumulate, batch_size=2)
    calls = json.loads((full / "calls-0.json").read_text())
    saving = [number for number, name in enumerate(calls, start=1) if name in SAVING]
    draw = random.Random(processes)
    moments = [draw.randint(1, len(calls)) for _ in range(count // 2)]
    moments += draw.sample(saving, count // 2)
    results = []
    for index, moment in enumerate(moments):
        killed, name = folder / f"killed-{processes}-{index}", calls[moment - 1]
        rank = index % processes
        others = json.loads((full / f"calls-{rank}.json").read_text())
        if rank and name in others:  # that process makes fewer calls: of the same kind the nearest
            same = [number for number, each in enumerate(others, start=1) if each == name]
            at = same[min(calls[:moment].count(name), len(same)) - 1]
        else:  # it does not save
            rank, at = 0, moment
        assert not run(kind, killed, processes, accumulate, at, rank, batch_size=2)
        for lost in killed.glob("lost-*.txt"):
            assert lost.read_text().startswith("another process of this run has ended"), lost
            assert "\n" not in lost.read_text()
        assert run(kind, killed, processes, accumulate, batch_size=2)
        results.append((name, outcome(killed) == outcome(full)))
    return results


def largest_difference(kind, folder, accumulate, **settings):
    """Between the weights of one process and of two with half its accumulation, by 4 samples."""
    one, two = folder / "one", folder / "two"
    assert run(kind, one, 1, accumulate, batch_size=4 // accumulate, **settings)
    assert run(kind, two, 2, accumulate // 2, batch_size=4 // accumulate, **settings)
    pairs = [(value, weights(two)[name]) for name, value in weights(one).items()]
    return max((a - b).abs().max().item() for a, b in pairs)


def main(folder, count, kind):
    torch.set_num_threads(1)
    # imports what training imports late, such as torch's compiler, once for all forks
    train(make_toy_gan(), folder / "first", replace(OPTIONS, steps=3), device=torch.device("cpu"))
    results = {
        "kills_1": kills(kind, folder, count, 1, accumulate=2),
        "kills_2": kills(kind, folder, count, 2, accumulate=1),
        "measured": {processes: calls_of(folder / f"full-{processes}") for processes in (1, 2)},
        "equal": outcome(folder / "full-1") == outcome(folder / "full-2"),
        # the second layer learns in the first micro-batches only, before gradients are exchanged
        "accumulated": largest_difference(kind, folder / "skips", 4, skips=lambda m: m.micro >= 2),
        "chunks": largest_difference(kind, folder / "chunks", 2, chunks=2),
    }
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
