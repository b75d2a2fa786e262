import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from wanctl.diffusion.conditions import Conditions
from wanctl.estimate import hardware
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape
from wanctl.train.accelerator import Processes
from wanctl.train.dit.loss import flow_error, trained_share, training_work
from wanctl.train.loop import train
from wanctl.train.objective import Losses, Work
from wanctl.train.throughput import ThroughputMeter

CPU = torch.device("cpu")


@pytest.fixture
def meter(tmp_path):
    settings = {
        "device": CPU,
        "processes": Processes(CPU, count=2),
        "peak": 1e12,
        "path": tmp_path / "speed.jsonl",
    }
    return lambda **changes: ThroughputMeter("x", 10, 40, 5, **{**settings, **changes})


def test_speed_is_that_of_the_steps_since_the_last_reading(meter, tmp_path):
    run = meter()
    for duration in (9.0, 1.0, 1.0):
        run.add_step(duration, Work(100, 2e11))
        if duration == 9.0:
            run.read()
    figures = run.read()
    assert figures["steps_per_s"] == 1.0
    assert figures["tokens_per_s"] == 200  # both processes
    assert figures["mfu"] == pytest.approx(0.2)
    assert 0.01 < figures["memory_gib"] < 100
    assert figures["left_s"] >= 0
    kept = [json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines()]
    assert [line["step"] for line in kept] == [11, 13]
    assert kept[1] == {"step": 13, **figures}
    assert run.steps_per_s == pytest.approx(3 / 11)


class Bar:
    def advance(self, steps=1, note=""):
        self.note = note


def test_the_line_names_what_is_known(meter):
    bars = [Bar(), Bar()]
    for bar, changes in zip(bars, ({}, {"peak": None}), strict=True):
        run = meter(**changes)
        run.add_step(0.5, Work(1000, 1e11))
        run.add_figures(0.25, 1.5)
        run.read()
        run.log(bar, 1e-4, is_main_process=True)
    assert bars[0].note.startswith(
        "loss 0.2500, lr 1.00e-04, grad norm 1.5, 2.00 steps/s, 4,000 tok"
    )
    assert ", MFU 20%, " in bars[0].note
    assert bars[0].note.endswith(" left")
    assert "MFU" not in bars[1].note


def test_peaks_of_cards_by_the_names_that_they_have(monkeypatch):
    names = {
        "NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H100 PCIe": 756e12, "NVIDIA L40S": 362e12,
        "NVIDIA GeForce RTX 4090": 165e12, "Some GPU": None,
    }  # fmt: skip
    for name, peak in names.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, name=name: name)
        assert hardware.peak_rate(torch.device("cuda")) == peak
    assert hardware.peak_rate(CPU) is None


@pytest.mark.parametrize("trained", ["all", "attention"])
def test_operations_of_a_step_are_those_that_torch_counts(trained):
    shape = DiTShape(
        dim=96, ffn_dim=384, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
        text_dim=8, text_len=16, freq_dim=32,
    )  # fmt: skip
    model = WanModel(shape)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained == "all" or ".self_attn." in name)
    x = torch.randn(2, 4, 3, 16, 16)
    text = [torch.randn(16, 8)] * 2
    with FlopCounterMode(display=False) as counter:
        conditions = Conditions(torch.stack(text))
        flow_error(model, x, x, torch.tensor([0.5, 0.2]), conditions, CPU).mean().backward()
    work = training_work(model.shape, x.shape, trained_share(model))
    assert work.tokens == 2 * 3 * 8 * 8
    # what is left out, embeddings and the products with the text, is a small share
    assert work.flops == pytest.approx(counter.get_total_flops(), rel=0.12)


def test_a_run_keeps_its_speed_apart_from_its_metrics(toy, tmp_path, toy_options, lines):
    class Counted(toy):
        def loss(self, *arguments):
            losses = super().loss(*arguments)
            return Losses(losses.per_sample, losses.parts, work=Work(8, 1e6))

    train(Counted(), tmp_path, toy_options(log_every=4, eval_every=12), device=CPU)
    kept = [json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines()]
    assert [line["step"] for line in kept] == [4, 6, 8, 12]
    for line in kept:
        assert line["tokens_per_s"] == pytest.approx(8 * line["steps_per_s"])
        assert "mfu" not in line  # no peak is known for a CPU
    assert "steps_per_s" not in lines(tmp_path)[1]
