"""Runs of two experts: who learns, what is written, what waits where."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.load import load_dit
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variant_table import VARIANTS
from wanctl.train.dit.experts import transformers
from wanctl.train.dit.experts.start import check_one_transformer
from wanctl.train.dit.start import StartError
from wanctl.train.loop import train
from wanctl.train.networks.ema import EMA
from wanctl.train.networks.residency import Residency
from wanctl.train.optimizers.schedule import learning_rate
from wanctl.train.rng import MicrobatchIndex

CPU = torch.device("cpu")


@pytest.fixture
def options(loop_options, optimizer_options):
    def make(**changes):
        settings = {
            "steps": 24, "optimizer": optimizer_options(lr=3e-3), "ema_decay": 0.9,
            "eval_every": 12, "preview_every": 24, "checkpoint_every": 7, "log_every": 4,
        }  # fmt: skip
        return loop_options(**{**settings, **changes})

    return make


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def tensors(folder):
    return load_dit(find_components(folder)).state_dict()


def same_bits(one, other):
    return [name for name, tensor in one.items() if torch.equal(tensor, other[name])]


def test_each_expert_is_trained_on_its_own_noise_levels(experts, tmp_path, options):
    objective = experts()
    seen = {"high": [], "low": []}
    for name, model in objective.transformers.models.items():
        model.register_forward_pre_hook(
            lambda _, arguments, name=name: seen[name].append(arguments[1]), prepend=True
        )
    train(objective, tmp_path / "dit", options(preview_every=1000, accumulate=2), device=CPU)
    high, low = (torch.cat(seen[name]) / 1000 for name in ("high", "low"))
    assert low.max() < 0.875 < high.min()
    # the steps of each expert alone, under its name; the pattern is that of the routing
    steps = [line for line in lines(tmp_path / "dit") if "eval" not in line]
    for number, line in enumerate(steps):
        expert = objective.transformers.routing.turn(number)
        names = {name.partition("/")[0] for name in line if "/" in name}
        assert names == {expert}
        low, high = objective.transformers.routing.levels[expert]
        assert low < line[f"{expert}/sigma"] < high
    assert {f"high/loss_sigma_{each}" for each in ("0-0.25", "0.25-0.5", "0.5-0.75")}.isdisjoint(
        name for line in steps for name in line
    )


def test_held_out_losses_of_both_experts_fall_and_both_are_written(experts, tmp_path, options):
    objective = experts()
    before = {}
    for item in objective.eval_items():
        before |= {n: v for n, v in objective.measure(item, CPU).items() if "/" in n}
    result = train(objective, tmp_path / "dit", options(steps=60), device=CPU)
    for expert in ("high", "low"):
        assert result.figures[f"{expert}/loss"] < 0.9 * before[f"{expert}/loss"]
    mean = 0.125 * result.figures["high/loss"] + 0.875 * result.figures["low/loss"]
    assert result.figures["loss"] == pytest.approx(mean)
    assert result.loss is not None
    assert objective.saved_step(tmp_path / "dit") == 60
    found = find_components(tmp_path)
    for components, name in ((found, "high"), (found.low_expert, "low")):
        written, trained = tensors_of(components), objective.transformers.models[name]
        assert written.keys() == trained.state_dict().keys()
    assert not same_bits(tensors_of(found), tensors_of(found.low_expert))


def tensors_of(components):
    return load_dit(components).state_dict()


def test_learning_rates_end_with_the_last_step_of_each_expert(
    experts, tmp_path, options, optimizer_options
):
    """As if each had a run of its own."""
    optimizer = optimizer_options(lr=1.0e-3, decay="cosine")
    train(experts(share=0.25), tmp_path / "dit", options(optimizer=optimizer), device=CPU)
    steps = [line for line in lines(tmp_path / "dit") if "eval" not in line]
    for expert, count in (("high", 6), ("low", 18)):
        rates = [line[f"{expert}/lr"] for line in steps if f"{expert}/lr" in line]
        assert rates == [learning_rate(optimizer, turn, count) for turn in range(count)]


@pytest.mark.parametrize("trained", ["high", "low"])
def test_the_expert_that_is_not_trained_keeps_its_bits(experts, stored, tmp_path, options, trained):
    objective = experts(weights=str(stored), trained=trained)
    assert list(objective.networks) == [trained]
    train(objective, tmp_path / "run/dit", options(steps=6), device=CPU)
    before, after = find_components(stored), find_components(tmp_path / "run")
    pairs = {
        "high": (tensors_of(before), tensors_of(after)),
        "low": (tensors_of(before.low_expert), tensors_of(after.low_expert)),
    }
    for name, (old, new) in pairs.items():
        assert len(same_bits(old, new)) == (0 if name == trained else len(old)), name
    other = {"high": "dit_low", "low": "dit"}[trained]
    name = f"{other}/diffusion_pytorch_model.safetensors"
    assert (stored / name).samefile(tmp_path / "run" / name), "it takes no disk space again"
    assert objective.saved_step(tmp_path / "run/dit") == 6
    assert (tmp_path / "run/dit/previews/step-000006.png").exists()


def test_one_expert_alone_from_nothing_is_said_to_be_alone(experts, tmp_path, options, caplog):
    objective = experts(trained="low")
    assert "there is no high-noise expert: previews are sampled with the low-noise" in caplog.text
    train(objective, tmp_path / "dit", options(steps=3), device=CPU)
    found = find_components(tmp_path)
    assert not found.dit
    assert found.dit_low


@pytest.mark.parametrize("stop_at", [4, 10, 13])
def test_both_experts_continue_as_if_not_stopped(experts, tmp_path, options, stop_at):
    """In the middle of a block, and where another begins."""
    settings = options(accumulate=2, checkpoint_every=100)
    train(experts(), tmp_path / "full/dit", settings, device=CPU)
    stopped = experts()
    batch = stopped.batch
    stopped.batch = lambda microbatch: _interrupt(microbatch, stop_at) or batch(microbatch)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, tmp_path / "stopped/dit", settings, device=CPU)
    assert train(experts(), tmp_path / "stopped/dit", settings, device=CPU).trained < 24
    for name in (
        "dit/metrics.jsonl",
        "dit/checkpoints/step-000024/manifest.json",
        "dit/diffusion_pytorch_model.safetensors",
        "dit_low/diffusion_pytorch_model.safetensors",
        "dit/previews/step-000024.png",
    ):
        assert (tmp_path / "full" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()


def _interrupt(microbatch, stop_at):

    if microbatch == MicrobatchIndex(0, stop_at, 0):
        os.kill(os.getpid(), signal.SIGTERM)


def test_the_idle_expert_waits_in_host_memory(experts, tmp_path, options, monkeypatch):
    """Counted by calls, because on a CPU device and host are one place."""
    places, moved = {}, []

    def record(place):
        original = getattr(Residency, place)

        def move(self):
            places[id(self._module)] = place
            moved.append(place)
            original(self)

        monkeypatch.setattr(Residency, place, move)

    record("to_host")
    record("to_device")
    objective = experts()
    losses = objective.losses
    names = {id(model): name for name, model in objective.transformers.models.items()}

    def checked(turn, *arguments):
        found = {names[key]: place for key, place in places.items()}
        assert found == {n: "to_device" if n == turn else "to_host" for n in ("high", "low")}
        return losses(turn, *arguments)

    objective.losses = checked
    train(objective, tmp_path / "dit", options(), device=CPU)
    assert moved[:2] == ["to_host", "to_host"], "both are on the device at the start"


def test_residency_moves_weights_optimizer_state_and_averages():
    """To the device `meta`, in the place of a second one; tests/gpu has a real one."""
    meta = torch.device("meta")
    module = torch.nn.Linear(3, 3)
    optimizer = torch.optim.AdamW(module.parameters(), fused=True)
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    weight, averages = module.weight, EMA(module, 0.9)
    state, on_host = optimizer.state[weight], averages.shadow["weight"]
    residency = Residency(module, optimizer, averages, meta)
    residency.to_host()
    assert module.weight is weight
    residency.to_device()
    assert optimizer.state[weight] is state
    assert {tensor.device for tensor in (module.weight, *state.values())} == {meta}
    assert averages.shadow["weight"] is on_host  # they are kept on the host
    averages.shadow["weight"] = on_host.to(meta)
    residency = Residency(module, optimizer, averages, meta)
    averages.shadow["weight"] = on_host
    residency.to_device()
    assert averages.shadow["weight"].device == meta


def test_previews_use_each_expert_in_its_steps_with_its_guidance(experts):
    objective = experts()
    seen = []
    for name, model in objective.transformers.models.items():
        model.eval().register_forward_pre_hook(
            lambda _, arguments, name=name: seen.append((name, arguments[1][0].item())),
            prepend=True,
        )
    objective.preview(objective.preview_items()[0], CPU)
    assert [name for name, _ in seen] == ["high"] * 2 + ["low"] * 4
    assert all((timestep >= 875) == (name == "high") for name, timestep in seen)


@pytest.mark.parametrize(
    ("trained", "places"),
    [
        ("both", ["high", "low", "high"]),
        ("high", ["high", "low", "high"]),
        ("low", ["high", "low", "low"]),
    ],
)
def test_previews_have_one_expert_on_the_device_and_leave_a_trained_one_there(
    experts, stored, monkeypatch, trained, places
):
    """The host is called `cpu:0`, so that it can be told from the device."""
    objective = experts(weights=str(stored), trained=trained)
    moves, move = [], WanModel.to
    names = {"high": find_components(stored), "low": find_components(stored).low_expert}
    weights = {load_dit(c).head.head.weight.sum().item(): name for name, c in names.items()}

    def to(self, device):
        moves.append((weights[self.head.head.weight.sum().item()], str(device)))
        return move(self, device)

    monkeypatch.setattr(WanModel, "to", to)
    monkeypatch.setattr(transformers, "HOST", torch.device("cpu:0"))
    with torch.no_grad():
        objective.preview(objective.preview_items()[0], CPU)
    assert [name for name, place in moves if place == "cpu"] == places
    on_device = set()
    for name, place in moves:
        (on_device.add if place == "cpu" else on_device.discard)(name)
        assert len(on_device) <= 1
    assert on_device == {places[-1]} <= set(objective.transformers.models)


def test_weights_that_do_not_fit_the_variant_are_named(experts, stored, tmp_path):
    with pytest.raises(StartError, match="holds two transformers and tiny takes one"):
        check_one_transformer(VARIANTS["tiny"], str(stored))
    one = tmp_path / "one"
    (stored / "dit").rename(one)
    with pytest.raises(StartError, match="holds no low-noise expert, which is to be trained; name"):
        experts(weights=str(one))
    with pytest.raises(StartError, match=r"train the other one alone \(train_dit.experts: low\)"):
        experts(weights=str(stored), trained="high")
    assert Path(stored).exists()
