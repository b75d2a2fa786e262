"""Runs that train an adapter, or chosen weights, on frozen ones."""

import json
import logging

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.lora.apply import Lora
from wanctl.checkpoint.lora.write import find_adapter
from wanctl.checkpoint.save import save_dit
from wanctl.errors import ProblemsError
from wanctl.model.variants import DiTShape
from wanctl.train.adapters.attach import AdapterOptions, Target, adapter_strength
from wanctl.train.adapters.prepare import Base, prepare_adapter, prepare_weights
from wanctl.train.loop import train
from wanctl.train.objective import Losses, Network
from wanctl.train.resume import TrainingError
from wanctl.train.rng import keyed_generator, keyed_seed

CPU = torch.device("cpu")
SHAPE = DiTShape(
    dim=16, ffn_dim=32, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
    text_dim=8, text_len=4, freq_dim=16,
)  # fmt: skip
BASE = Base("some/model", "0123456789abcdef")


class Regression:
    """Learns a fixed velocity; an `Objective`."""

    name = "train-dit"
    eval_split = "held-out"
    judged = "size"

    def __init__(self, model, trained=(), kind="lora", dropout=0.0, base=BASE):
        self.model = model
        if trained:
            self.part = prepare_weights(model, base, trained)
        else:
            targets = (Target("blocks.*.self_attn", 2, 4.0), Target("blocks.0.ffn", 3, 3.0))
            options = AdapterOptions(kind, targets, dropout, seed=0)
            self.part = prepare_adapter(model, base, options, "comfyui")
        self.saves_with_checkpoints = self.part.is_adapter

    @property
    def networks(self):
        return {"model": Network(self.model, saves_frozen=self.part.is_whole)}

    def turns(self, step):
        return ("model",)

    def batch(self, microbatch):
        generator = keyed_generator(microbatch.seed, "toy", microbatch.step % 4)
        return torch.randn(2, 4, 1, 4, 4, generator=generator)

    def velocity(self, model, batch):
        return model(batch, torch.tensor([500.0]), torch.ones(len(batch), 4, 8))

    def losses(self, turn, models, batch, microbatch, device):
        if self.part.dropout:
            torch.manual_seed(keyed_seed("dropout", microbatch.step))
        error = (self.velocity(models[turn], batch) - batch.flip(3)).square()
        yield Losses(error.flatten(1).mean(1), {})

    def eval_items(self):
        return [0]

    def measure(self, item, device):
        return {"size": self.velocity(self.model, torch.ones(1, 4, 1, 4, 4)).norm().item()}

    def preview_items(self):
        return []

    def save(self, folder, step, device):
        self.part.save(self.model, folder, {"step": str(step), "variant": "toy"})

    def saved_step(self, folder):
        return self.part.saved_step(folder)


def run(objective, folder, options):
    return train(objective, folder, options, device=CPU, identity=objective.part.identity)


@pytest.fixture
def settings(loop_options, optimizer_options):
    def make(**changes):
        lr = optimizer_options(lr=1e-2)
        defaults = {"optimizer": lr, "checkpoint_every": 5, "ema_decay": 0.9, "preview_every": 100}
        return loop_options(**{"steps": 10, **defaults, **changes})

    return make


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_adapter_learns_and_nothing_else_does(random_dit, tmp_path, settings, kind):
    before = random_dit(SHAPE)
    objective = Regression(random_dit(SHAPE), kind=kind)
    run(objective, tmp_path, settings(steps=30))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < 0.9 * losses[0]
    stored = load_file(tmp_path / "checkpoints/step-000030/model.safetensors")
    parts = {name.rpartition(".")[2] for name in stored}
    assert parts == {"lora_A", "lora_B", *(["magnitude"] if kind == "dora" else [])}
    assert stored.keys() == load_file(tmp_path / "checkpoints/step-000030/ema.safetensors").keys()
    batch = objective.batch(type("M", (), {"seed": 0, "step": 0}))
    with torch.no_grad(), adapter_strength(objective.model, 0):
        base = objective.velocity(objective.model.eval(), batch)
        assert torch.equal(base, objective.velocity(before, batch))


def test_the_file_holds_the_averaged_adapter_and_what_it_is_for(random_dit, tmp_path, settings):
    objective = Regression(random_dit(SHAPE))
    save_dit(random_dit(SHAPE), tmp_path / "base")
    figures = run(objective, tmp_path / "dit", settings()).figures
    path = find_adapter(tmp_path / "dit")
    with safe_open(path, "pt") as file:
        assert file.metadata() == {
            "format": "pt", "step": "10", "variant": "toy", "base": "some/model",
            "base_fingerprint": "0123456789abcdef",
        }  # fmt: skip
    loaded = load_dit(tmp_path / "base", loras=[Lora(path)])
    with torch.no_grad():
        size = objective.velocity(loaded, torch.ones(1, 4, 1, 4, 4)).norm().item()
    assert size == pytest.approx(figures["size"], rel=1e-5)
    assert not (tmp_path / "dit/config.json").exists()


@pytest.mark.parametrize("kind", ["rslora", "dora"])
def test_resume_equals_not_stopping_and_a_copy_lies_there_meanwhile(
    random_dit, tmp_path, settings, kind
):
    whole = Regression(random_dit(SHAPE), kind=kind, dropout=0.2)
    run(whole, tmp_path / "whole", settings())
    run(Regression(random_dit(SHAPE), kind=kind, dropout=0.2), tmp_path / "two", settings(steps=5))
    with safe_open(find_adapter(tmp_path / "two"), "pt") as file:
        assert file.metadata()["step"] == "5"
    torch.manual_seed(123)
    rest = Regression(random_dit(SHAPE), kind=kind, dropout=0.2)
    # same schedule: 10 steps, of which the checkpoint has 5
    assert run(rest, tmp_path / "two", settings()).trained == 5
    names = dict(whole.model.named_parameters())
    for name, parameter in rest.model.named_parameters():
        assert torch.equal(parameter, names[name]), name
    one, other = (find_adapter(tmp_path / each).read_bytes() for each in ("whole", "two"))
    assert one == other


def test_chosen_weights_are_trained_and_the_output_is_the_whole_model(
    random_dit, tmp_path, settings, caplog
):
    caplog.set_level(logging.INFO, logger="wanctl")
    before = random_dit(SHAPE)
    objective = Regression(random_dit(SHAPE), trained=("blocks.1.ffn", "modulation"))
    run(objective, tmp_path, settings())
    stored = load_file(tmp_path / "checkpoints/step-000010/model.safetensors")
    trained = {"blocks.0.modulation", "blocks.1.modulation", "head.modulation"}
    trained |= {f"blocks.1.ffn.{n}.{p}" for n in (0, 2) for p in ("weight", "bias")}
    assert stored.keys() == trained
    assert "trains blocks.1.ffn, modulation: 0.00 of 0.01 M weights" in caplog.text
    after = load_dit(tmp_path).state_dict()
    assert {n for n, t in before.state_dict().items() if not torch.equal(after[n], t)} == trained


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": Base("other/model", "fedcba9876543210")}, "base weights 0123.*this run has fedc"),
        ({"kind": "rslora"}, "adapter lora on 10 layers.*this run has rslora on 10 layers"),
        ({"trained": ("head",)}, "was trained with adapter lora on 10 layers"),
    ],
)
def test_a_run_goes_on_with_the_same_base_and_adapter_alone(
    random_dit, tmp_path, settings, changes, message
):
    run(Regression(random_dit(SHAPE)), tmp_path, settings(steps=1))
    with pytest.raises(TrainingError, match=message):
        run(Regression(random_dit(SHAPE), **changes), tmp_path, settings())


def test_names_that_are_no_parameters(random_dit):
    with pytest.raises(
        ProblemsError, match=r"train_dit.trained.1: got 'modulations'.*near are modul"
    ):
        Regression(random_dit(SHAPE), trained=("head", "modulations"))
