"""Several processes compute what one computes: on gloo, for all shapes and both VAEs."""

import json
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
import torch
from safetensors.torch import load_file, save_file

from wanctl.checkpoint.save import save_dit, save_vae
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.recipe.load import load_recipe
from wanctl.sample.run import sample

WORKER = Path(__file__).with_name("parallel_worker.py")

# Measured: 1.7e-6 over all shapes, layouts and precisions, 3.4e-6 in pixels, 5.5e-6 in guidance,
# which multiplies differences by 4, and 3.6e-6 after a whole sample.
TOLERANCE = 1e-5


def torchrun(processes, *arguments):
    """A run of several processes; they end when one does, and when time is up."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    command += ["--nproc-per-node", str(processes), sys.executable, *map(str, arguments)]
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True) as run:
        try:
            out, err = run.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            run.terminate()  # killed outright, it would leave the processes it started behind
            run.communicate(timeout=40)
            raise
    return subprocess.CompletedProcess(command, run.returncode, out, err)


def compare(processes, folder):
    done = torchrun(processes, WORKER, folder / "distances.json")
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads((folder / "distances.json").read_text(encoding="utf-8"))
    too_far = {
        f"{layout}: {case}": far
        for layout, cases in report["distances"].items()
        for case, far in cases.items()
        if not far <= TOLERANCE
    }
    assert too_far == {}
    assert report["without_exchange"] > 100 * TOLERANCE
    return report["distances"]


def test_two_processes_compute_what_one_computes(tmp_path):
    distances = compare(2, tmp_path)
    assert len(distances) == 4 + 1 + 4 + 2  # ring in both precisions; experts; guidance, VAE
    shapes = [cases for name, cases in distances.items() if name.endswith(("fast", "reference"))]
    assert all(len(cases) >= 2 * 6 for cases in shapes)


@pytest.mark.slow
def test_four_processes_compute_what_one_computes(tmp_path):
    assert len(compare(4, tmp_path)) == 7 + 3 + 7 + 4


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Random weights of the demo's sizes."""
    folder = tmp_path_factory.mktemp("weights")
    tiny = VARIANTS["tiny"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WanModel(tiny.dit)
        torch.nn.init.normal_(model.head.head.weight, std=0.02)
        save_dit(model, folder / "dit", metadata={})
        save_vae(WanVAE(tiny.vae), folder / "vae", metadata={})
    return folder


def settings(trained, *more):
    return [
        f"model.weights={trained}", "sample.steps=2", "sample.frames=5", "sample.height=32",
        "sample.width=48", "sample.save_latents=true", "device=cpu", *more,
    ]  # fmt: skip


def sample_together(processes, trained, out, *more):
    sets = [word for each in settings(trained, *more) for word in ("--set", each)]
    command = ["-m", "wanctl", "sample", "a red fox", "--recipe", "tiny", "--out", out, *sets]
    return torchrun(processes, *command)


def check_same_latents(done, trained, folder, *more):
    """One path is printed, and the latents next to it are those of one process."""
    assert done.returncode == 0, done.stderr[-4000:]
    [path] = map(Path, done.stdout.splitlines())
    assert path.is_file()
    [alone] = sample(load_recipe("tiny", settings(trained, *more)), "a red fox", folder / "alone")
    ours, theirs = (
        load_file(each.with_suffix(".safetensors"))["latents"] for each in (path, alone)
    )
    assert theirs.std() > 0.1
    assert (ours - theirs).abs().max() <= TOLERANCE
    assert path.name == alone.name


def test_a_sample_of_two_processes_is_that_of_one(trained, tmp_path):
    done = sample_together(2, trained, tmp_path / "together")
    check_same_latents(done, trained, tmp_path)
    assert done.stderr.count("2 processes: cfg 2 x ring 1 x ulysses 1, weights whole") == 1


@pytest.mark.slow
def test_a_sample_of_four_processes_with_weights_in_parts_is_that_of_one(trained, tmp_path):
    done = sample_together(
        4, trained, tmp_path / "together", "parallel.ring=2", "parallel.fsdp=true"
    )
    check_same_latents(done, trained, tmp_path)
    assert "cfg 2 x ring 2 x ulysses 1, weights in parts (fsdp)" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("fsdp", ["false", "true"])
def test_phases_of_two_processes_are_those_of_one(trained, tmp_path, fsdp):
    """Strengths of LoRAs change in a model whose tokens, or whose weights, are divided."""
    path, dim = tmp_path / "lora.safetensors", VARIANTS["tiny"].dit.dim
    tensors = {
        f"blocks.{block}.self_attn.q.{role}.weight": torch.randn(*sides) / 3
        for block in range(2)
        for role, sides in (("lora_down", (4, dim)), ("lora_up", (dim, 4)))
    }
    save_file(tensors | {"blocks.1.diff_m": torch.randn(1, 6, dim)}, path)
    keys = (
        f"model.loras=[{{path: {path}}}]", "sample.solver=lcm", "sample.levels=[1, 0.9, 0.6]",
        "sample.phases=[{steps: 1, lora_strengths: 0, guide_scale: 3}, {guide_scale: 1}]",
    )  # fmt: skip
    layout = (f"parallel.fsdp={fsdp}", "parallel.cfg=1")
    done = sample_together(2, trained, tmp_path / "together", *keys, *layout)
    check_same_latents(done, trained, tmp_path, *keys)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ("sample.frames=6", "sample.frames: got 6"),
        ("parallel.ulysses=4", "parallel: got cfg auto, ring auto, ulysses 4"),
        ("model.vae_tile=256", "model.vae_tile: got 256 for several processes"),
    ],
)
def test_a_mistake_is_reported_once_and_ends_all_processes(wrong, line, trained, tmp_path):
    done = sample_together(2, trained, tmp_path, wrong)
    assert done.returncode != 0
    assert done.stderr.count(line) == 1
    assert "Traceback" not in done.stderr.split("ChildFailedError")[0].split("torch/distributed")[0]
    assert not list((tmp_path / "samples").glob("*"))


FAILURE_OF_RANK_1 = """
import sys
from wanctl.cli.main import main
from wanctl.errors import UserError
from wanctl.distributed import world
from wanctl.sample.denoise import expert_loader

def load(*_, **__):
    raise UserError("no room on this machine")

if world.rank() == 1:
    expert_loader.load_dit = load
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_process_that_fails_alone_says_why_and_ends_the_others(trained, tmp_path):
    script = tmp_path / "fails.py"
    script.write_text(FAILURE_OF_RANK_1, encoding="utf-8")
    sets = [word for each in settings(trained) for word in ("--set", each)]
    command = [script, "sample", "a red fox", "--recipe", "tiny", "--out", tmp_path, *sets]
    done = torchrun(2, *command)
    assert done.returncode != 0
    assert done.stderr.count("no room on this machine") == 1
    assert "Traceback" not in done.stderr.split("torch/distributed")[0]
    assert not list((tmp_path / "samples").glob("*"))
