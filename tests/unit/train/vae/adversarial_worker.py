"""Trains a VAE against its discriminator in one process or several; prints whether they agree.

The library is imported once, each process is a fork.
"""

import os
import socket
import sys
import traceback
from pathlib import Path

import torch
from conftest import MemoryFootage, make_loop_options, make_optimizer_options

from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape
from wanctl.recipe.train.vae_losses import VAELossSection
from wanctl.train.accelerator import start_processes
from wanctl.train.inputs.windows import Shape
from wanctl.train.loop import train
from wanctl.train.vae.loss_options import vae_loss_options
from wanctl.train.vae.objective import VAEObjective

SHAPE = VAEShape(
    dim=8, z_dim=4, dim_mult=(1, 1, 2, 2), num_res_blocks=1,
    latent_mean=(0.0,) * 4, latent_std=(1.0,) * 4,
)  # fmt: skip
ADVERSARY = {"weight": 0.5, "from_step": 1, "width": 8, "layers": 2, "r1": 1.0, "r1_every": 2}
STEPS = 4


def run_process(folder, rank, processes):
    """One process: all of them together see two micro-batches per step."""
    torch.manual_seed(0)
    objective = VAEObjective(
        WanVAE(SHAPE), MemoryFootage(Shape(5, 16, 16)),
        vae_loss_options(VAELossSection(perceptual=0, adversarial=ADVERSARY).model_dump()),
        fps=8, metadata={}, keep_statistics=True,
    )  # fmt: skip
    options = make_loop_options(
        steps=STEPS, optimizer=make_optimizer_options(lr=3e-3), accumulate=2 // processes
    )
    train(objective, folder / str(processes), options, device=start_processes("cpu").device)
    if rank == 0:
        modules = [network.module for network in objective.networks.values()]
        state = [parameter for module in modules for parameter in module.parameters()]
        torch.save([p.detach() for p in state], folder / f"{processes}.pt")


def run(folder, processes):
    """Run in forks; exits with an error where one of them fails."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    children = []
    for rank in range(processes):
        if not (child := os.fork()):
            if processes > 1:
                os.environ |= {
                    "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes),
                    "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
                }  # fmt: skip
            try:
                run_process(folder, rank, processes)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    ends = [os.waitpid(child, 0)[1] for child in children]
    assert not any(ends)


if __name__ == "__main__":
    torch.set_num_threads(1)
    target = Path(sys.argv[1])
    for count in (1, 2):
        run(target, count)
    one, two = (torch.load(target / f"{count}.pt") for count in (1, 2))
    print(max((a - b).abs().max().item() for a, b in zip(one, two, strict=True)))
