"""Plans: counts against the networks, memory against what was measured, and what is advised."""

from dataclasses import replace

import pytest
import torch

from wanctl.estimate import flops
from wanctl.estimate import hardware as hardware_module
from wanctl.estimate.flops import Workload
from wanctl.estimate.hardware import (
    GPU_THROUGHPUT,
    Hardware,
    Throughput,
    available_host_memory,
    detect_hardware,
)
from wanctl.estimate.plan import cheapest_alternative, make_plan
from wanctl.estimate.report import duration
from wanctl.model.dit.networks import make_dit
from wanctl.model.shapes import PixelShape
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS

T2V_14B, T2V_1_3B = VARIANTS["wan2.1-t2v-14b"], VARIANTS["wan2.1-t2v-1.3b"]
GB = 1e9


def workload(variant=T2V_14B, size=(81, 480, 832), steps=50, **options) -> Workload:
    """One guided output in bf16, unless `options` say otherwise."""
    defaults = {
        "guided": True, "guided_share": 1.0, "weight_bytes": 2.0, "product_bytes": 2,
        "streamed": False, "vae_tile": None, "prompts": 1, "encodes": 0.0,
        "text_parameters": flops.UMT5_PARAMETERS if variant.text_encoder == "umt5" else 0,
    }  # fmt: skip
    return Workload(variant, PixelShape(*size), steps, **{**defaults, **options})


def gpu(device_gb: float, host_gb: float = 200, disk_gb: float = 100) -> Hardware:
    return Hardware("H100", GPU_THROUGHPUT["H100"], host_gb * GB, device_gb * GB, disk_gb * GB)


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_are_counted_to_the_last_one(name):
    variant = VARIANTS[name]
    with torch.device("meta"):
        model = make_dit(variant.dit)
    assert flops.dit_parameters(variant.dit) == sum(p.numel() for p in model.parameters())
    block = sum(p.numel() for p in model.blocks[0].parameters())
    assert sum(flops.block_parameters(variant.dit)) == block


@pytest.mark.parametrize(
    "sizes", [{"sparse_attention": "vsa"}, {"sparse_attention": "sla"}, {"second_timestep": True}]
)
def test_parts_of_distilled_models_are_counted(sizes):
    shape = replace(VARIANTS["wan2.1-t2v-1.3b"].dit, **sizes)
    with torch.device("meta"):
        model = make_dit(shape)
    assert flops.dit_parameters(shape) == sum(p.numel() for p in model.parameters())
    block = sum(p.numel() for p in model.blocks[0].parameters())
    assert sum(flops.block_parameters(shape)) == block


@pytest.mark.parametrize("name", ["tiny", "wan2.1-t2v-1.3b", "wan2.2-ti2v-5b"])
def test_the_vae_is_counted_to_some_percent(name):
    variant = VARIANTS[name]
    with torch.device("meta"):
        vae = WanVAE(variant.vae)
    count = sum(p.numel() for p in vae.parameters())
    assert flops.vae_parameters(variant.vae) == pytest.approx(count, rel=0.03)


# Operations of one forward in 1e12, counted by torch's own counter at these sizes.
@pytest.mark.parametrize(
    ("variant", "size", "total"),
    [
        (T2V_1_3B, (81, 480, 832), 283.0),
        (T2V_14B, (81, 480, 832), 1678.4),
        (T2V_14B, (81, 720, 1280), 6523.4),
        (VARIANTS["wan2.2-ti2v-5b"], (121, 704, 1280), 517.0),
    ],
)
def test_operations_are_those_of_the_network(variant, size, total):
    assert sum(flops.dit_ops(workload(variant, size))) / 1e12 == pytest.approx(total, rel=0.005)


# Published times of bf16 with a fast kernel on one GPU, the whole denoising in seconds.
@pytest.mark.parametrize(
    ("variant", "size", "gpu_name", "steps", "seconds"),
    [
        (VARIANTS["wan2.2-t2v-a14b"], (81, 480, 832), "H200", 50, 257),
        (T2V_14B, (81, 720, 1280), "A100", 50, 3343),
        (T2V_1_3B, (81, 480, 832), "RTX 4090", 50, 261),
    ],
)
def test_times_on_gpus_are_near_published_ones(variant, size, gpu_name, steps, seconds):
    hardware = Hardware(gpu_name, GPU_THROUGHPUT[gpu_name], 200 * GB, 140 * GB, 100 * GB)
    plan = make_plan(workload(variant, size), hardware)
    stage = next(stage for stage in plan.stages if stage.name == "denoising")
    assert stage.seconds * steps / 50 == pytest.approx(seconds, rel=0.25)


def test_weights_activations_and_caches_make_the_peak():
    plan = make_plan(workload(), gpu(80))
    by_name = {stage.name: stage for stage in plan.stages}
    # 14.3e9 weights in bf16 are 28.6 GB; of the text encoder's 11.4 GB one block is there at once.
    assert 29 * GB < by_name["denoising"].device_bytes < 36 * GB
    assert 1 * GB < by_name["encoding prompts"].device_bytes < 2 * GB
    assert plan.device_bytes == max(stage.device_bytes for stage in plan.stages)
    assert plan.shortage() is None


def test_streaming_and_eight_bits_take_what_they_should():
    resident = make_plan(workload(), gpu(80))
    streamed = make_plan(workload(streamed=True), gpu(80))
    eighth = make_plan(workload(weight_bytes=1.0), gpu(80))
    saved = resident.stages[2].device_bytes - streamed.stages[2].device_bytes
    assert saved == pytest.approx(28.1 * GB * 38 / 40, rel=0.02)
    assert streamed.stages[2].host_bytes > 28 * GB
    assert streamed.seconds == pytest.approx(resident.seconds, rel=0.01)
    halved = resident.stages[2].device_bytes - eighth.stages[2].device_bytes
    assert halved == pytest.approx(14 * GB, rel=0.02)


@pytest.mark.parametrize(
    ("device_gb", "host_gb", "change"),
    [
        (24, 64, "model.stream_blocks=true"),
        (24, 20, "model.quantize=int8"),
        (14, 64, "model.stream_blocks=true --set model.vae_tile=256"),
    ],
)
def test_the_cheapest_change_that_fits_is_named(device_gb, host_gb, change):
    plan = make_plan(workload(), gpu(device_gb, host_gb))
    assert plan.shortage() is not None
    found = cheapest_alternative(plan)
    assert found is not None
    assert found.settings == change
    assert found.plan.shortage() is None


def test_a_smaller_picture_comes_last():
    hardware = Hardware("CPU", Throughput(1e11, 1e11, 1e11), 5 * GB, None, 100 * GB)
    tiny = VARIANTS["tiny"]
    plan = make_plan(workload(tiny, (81, 2880, 5120), steps=4), hardware)
    found = cheapest_alternative(plan)
    assert found is not None
    assert "sample.height=" in found.settings


def test_what_no_change_helps_is_said():
    plan = make_plan(workload(), gpu(4, 8))
    assert plan.shortage() is not None
    assert cheapest_alternative(plan) is None


def test_a_full_disk_is_noticed():
    assert "disk" in (make_plan(workload(), gpu(80, 200, 1e-6)).shortage() or "")


def test_this_machine_is_looked_at(tmp_path):
    hardware = detect_hardware("cpu", tmp_path / "not" / "there")
    assert hardware.device_bytes is None
    assert 1e8 < hardware.rates.products < 1e14
    assert 0 < available_host_memory() < 1e14
    assert hardware.disk_bytes > 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (59, "59 s"), (200, "3 min 20 s"), (18_600, "5 h 10 min")],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("version", "names", "cache"),
    [
        (0, ("memory.max", "memory.current"), "inactive_file"),
        (1, ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_inactive_file"),
    ],
)
def test_memory_of_a_container_is_its_limit_without_its_use(
    tmp_path, monkeypatch, version, names, cache
):
    folder = tmp_path / "cgroup"
    folder.mkdir()
    groups = [(str(folder), *group[1:]) for group in hardware_module.CGROUPS]
    monkeypatch.setattr(hardware_module, "CGROUPS", [groups[version]])
    machine = available_host_memory()  # the group has no files yet: no limit
    assert machine > 1e8
    limit, usage = (folder / name for name in names)
    limit.write_text("90000000\n")
    assert available_host_memory() == 90e6
    usage.write_text("70000000\n")
    assert available_host_memory() == 20e6
    (folder / "memory.stat").write_text(f"anon 5\n{cache} 30000000\nactive_file 7\n")
    assert available_host_memory() == 50e6  # page cache is given back first
    usage.write_text("95000000\n")
    (folder / "memory.stat").write_text("anon 5\n")
    assert available_host_memory() == 0
    limit.write_text("max\n")
    assert available_host_memory() > 1e8


def test_bytes_of_the_networks_for_speech_are_those_of_the_model():
    variant = VARIANTS["wan2.2-s2v-14b"]
    load = workload(variant, (157, 704, 1024), 40, clips=flops.ClipWork(2, 153, 23))
    load = replace(load, weight_bytes=2.0, product_bytes=2)
    with torch.device("meta"):
        model = make_dit(variant.dit).cast(torch.bfloat16)
    stored = sum(each.numel() * each.element_size() for each in model.parameters())
    assert sum(flops.dit_bytes(load)) == pytest.approx(stored, rel=0.01)
    assert load.tokens == 23 * 44 * 64
    assert load.decoded_frames == 306


@pytest.mark.parametrize(
    ("size", "gigabytes"), [((480, 832), 26.8), ((800, 640), 34.4)]
)  # 2 x 40 blocks x 21 latent frames x tokens x 5120 x 2 bytes
def test_keys_of_a_driving_video_are_counted(size, gigabytes):
    variant = VARIANTS["wan2.2-animate-2-14b"]
    load = workload(variant, (241, *size), 40, clips=flops.ClipWork(3, 81, 22))
    assert flops.driving_bytes(load) == pytest.approx(gigabytes * 1e9, rel=2e-3)
    assert load.latents.frames == 22
    assert load.forwards == pytest.approx(3 * (1 + load.steps * (1 + load.guided_share)))
    assert flops.driving_bytes(replace(load, streamed=True)) > flops.driving_bytes(load)
    plain = workload(VARIANTS["wan2.1-i2v-14b-480p"], (81, *size), 40)
    assert flops.driving_bytes(plain) == 0
