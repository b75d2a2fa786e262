"""The GPU benchmarks at tiny sizes on the CPU: the same functions, memory counts apart."""

import importlib
import inspect
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import DiTShape, VAEShape

BENCH = Path(__file__).parents[1] / "bench"
CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)
SHAPE = DiTShape(
    dim=96, ffn_dim=160, num_layers=3, num_heads=3, text_dim=24, text_len=12, freq_dim=16
)
LATENTS = (1, 16, 3, 6, 8)


class PlainTransfer:
    """Copies at once."""

    def host_bytes(self, size):
        return torch.empty(size, dtype=torch.uint8)

    device_bytes = host_bytes

    def send(self, slot, host, device):
        device.copy_(host)

    def wait(self, slot):
        pass

    release = wait


@pytest.fixture(scope="module")
def bench():
    """Imports a benchmark as its command does, by its bare name."""
    before = set(sys.modules)
    sys.path.insert(0, str(BENCH))
    yield importlib.import_module
    sys.path.remove(str(BENCH))
    for name in set(sys.modules) - before:
        if str(BENCH) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


def test_a_step_is_timed_and_no_further_from_fp32_than_diffusers(bench):
    cases = {"tiny": (SHAPE, LATENTS)}
    figures = bench("gpu_step").run(cases, CPU, repeats=2, compiled=False)
    assert 0 < figures["tiny.ours_error"] <= figures["tiny.diffusers_error"] < 0.05
    for arm in ("ours", "diffusers"):
        assert figures[f"tiny.{arm}_s"] > 0
        assert figures[f"tiny.{arm}_tflops"] > 0
    assert figures["tiny.times_as_fast"] > 0


def test_decoding_is_timed_in_both_formats(bench):
    figures = bench("gpu_vae").run(VAEShape(dim=8), (1, 16, 3, 2, 2), CPU, repeats=1)
    assert figures["fp32.ours_error"] == 0
    assert figures["fp32.diffusers_error"] < 1e-5
    assert 0 < figures["bf16.ours_error"] <= figures["bf16.diffusers_error"]
    assert figures["bf16.ours_4_error"] == pytest.approx(figures["bf16.ours_error"], rel=0.2)
    assert {f"{dtype}.times_as_fast" for dtype in ("bf16", "fp32")} < set(figures)


def test_a_training_step_is_timed_with_and_without_checkpointing(bench):
    clip = (1, 3, 5, 16, 16)
    figures = bench("gpu_vae_training").run(VAEShape(dim=8), clip, CPU, repeats=1)
    for arm in ("ours", "checkpointed", "diffusers"):
        assert figures[f"step.{arm}_s"] > 0
        assert figures[f"step.{arm}_added_mb"] == 0


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # diffusers' norms
def test_a_step_of_the_transformer_is_timed_with_every_memory_setting(bench):
    figures = bench("gpu_dit_training").run(SHAPE, LATENTS, CPU, repeats=1)
    for arm in ("selective", "full", "offloaded", "lora", "diffusers"):
        assert figures[f"step.{arm}_s"] > 0
        assert figures[f"step.{arm}_mb"] == 0
    assert figures["step.diffusers_time"] == 1


def test_both_programs_take_the_same_training_step(bench):
    """From the same weights: the loss of the first step, and that after it."""
    training = bench("dit_training")
    inputs = training.draw_inputs(SHAPE, LATENTS)
    plain = training.diffusers(SHAPE)
    expected = [plain.step(inputs) for _ in range(2)]
    for checkpointing in ("none", "pointwise", "selective", "full"):
        arm = training.ours(SHAPE, checkpointing)
        # measured 2e-7
        assert [arm.step(inputs) for _ in range(2)] == pytest.approx(expected, rel=6e-6)
    assert training.saved_mb(plain, inputs) >= training.saved_mb(arm, inputs)


def test_streaming_is_timed_beside_the_same_blocks_in_place(bench):
    transfer = PlainTransfer()
    streaming = bench("gpu_streaming")
    figures = streaming.run(SHAPE, LATENTS, CPU, transfer=transfer, repeats=2, compiled=False)
    assert figures["difference"] == 0
    assert figures["fits_24_gb"] is True
    slower = figures["step.streamed_s"] / figures["step.resident_s"]
    assert figures["percent_slower"] == pytest.approx(100 * (slower - 1), abs=60)


@pytest.mark.parametrize(
    ("variant", "latents", "teraflop"),
    [
        ("wan2.1-t2v-1.3b", (1, 16, 21, 60, 104), 283.0),
        ("wan2.1-t2v-1.3b", (1, 16, 21, 90, 160), 1249.8),
        ("wan2.1-t2v-14b", (1, 16, 21, 60, 104), 1678.4),
        ("wan2.1-t2v-14b", (1, 16, 21, 90, 160), 6523.4),
    ],
)
def test_operations_of_a_call(bench, variant, latents, teraflop):
    """As counted by running the models on the meta device, to 0.3 %."""
    step_flops = bench("gpu_meter").step_flops
    one = step_flops(VARIANTS[variant].dit, latents)
    assert one == pytest.approx(teraflop * 1e12, rel=3e-3)
    assert step_flops(VARIANTS[variant].dit, (3, *latents[1:])) == pytest.approx(3 * one)


def test_shares_of_the_peak_are_of_known_cards(bench):
    rates = bench("gpu_meter").rates
    figures = {"x.ours_s": 0.5, "x.times_as_fast": 2.0, "y.ours_s": 9.0}
    assert rates("x", figures, 300e12, "NVIDIA H100 80GB HBM3") == {
        "x.ours_tflops": 600.0,
        "x.ours_mfu_percent": 60.7,
    }
    assert rates("x", figures, 300e12, "NVIDIA H100 PCIe") == {"x.ours_tflops": 600.0}


@pytest.fixture
def gpu(monkeypatch):
    """What the benchmarks ask torch.cuda; `peak` and `limits` say what happened."""
    state = SimpleNamespace(held=100e6, peak=0.0, limits=[])
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: state.held)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: state.peak)
    forget_peak = lambda _: setattr(state, "peak", state.held)  # noqa: E731
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", forget_peak)

    def limit(share, device):
        assert device.index is not None, "torch refuses a device without a number here"
        state.limits.append(share)

    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limit)
    card = SimpleNamespace(total_memory=80e9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    return state


def test_memory_is_what_an_arm_adds(bench, gpu):
    def arm():
        gpu.peak = max(gpu.peak, 350e6)

    arms = {"large": arm, "small": lambda: None}
    figures = bench("gpu_meter").added_mb("step", arms, CUDA)
    assert figures == {"step.large_added_mb": 250, "step.small_added_mb": 0}


def test_a_small_card_is_a_limit_that_is_lifted_again(bench, gpu):
    def too_large():
        assert gpu.limits == [0.3]
        raise torch.OutOfMemoryError

    runs_within = bench("gpu_streaming")._runs_within
    assert runs_within(24e9, too_large, CUDA) is False
    assert gpu.limits == [0.3, 1.0]
    assert runs_within(240e9, lambda: None, CUDA) is True
    assert gpu.limits[2:] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("cuda", "found", "names", "message"),
    [
        (False, object(), [], "sees no CUDA device"),
        (True, None, [], "diffusers"),
        (True, object(), ["gpu_vea"], "did you mean 'gpu_vae'"),
    ],
)
def test_what_is_missing_costs_one_line(bench, monkeypatch, capsys, cuda, found, names, message):
    gpu = bench("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(gpu, "find_spec", lambda _: found)
    with pytest.raises(SystemExit) as stop:
        gpu.main(names)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_every_benchmark_of_the_list_runs_on_the_gpu_unless_told_otherwise(bench):
    for name in bench("gpu").MODULES:
        assert inspect.signature(bench(name).run).parameters["device"].default == CUDA
