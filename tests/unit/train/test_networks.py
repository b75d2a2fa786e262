"""An objective of two networks, a model and its critic."""

import pytest
import torch
from torch import nn

from wanctl.train import loop
from wanctl.train.checkpoint import newest_checkpoint
from wanctl.train.loop import train
from wanctl.train.optimizers.schedule import learning_rate, set_learning_rate
from wanctl.train.optimizers.table import make_optimizer
from wanctl.train.resume import TrainingError
from wanctl.train.rng import MicrobatchIndex

CPU = torch.device("cpu")


def weights(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def test_both_networks_learn_as_in_a_loop_written_by_hand(toy_gan, tmp_path, toy_options):
    options = toy_options()
    trained = toy_gan()
    train(trained, tmp_path, options, device=CPU)
    made, steps = toy_gan(), options.steps
    model = make_optimizer(made.module, options.optimizer)
    critic = make_optimizer(made.critic, made.critic_optimizer)
    for step in range(steps):
        microbatch = MicrobatchIndex(0, step, 0)
        batch, models = made.batch(microbatch), {"model": made.module, "critic": made.critic}
        set_learning_rate(model, learning_rate(options.optimizer, step, steps))
        (losses,) = made.losses("model", models, batch, microbatch, CPU)
        losses.per_sample.mean().backward()
        nn.utils.clip_grad_norm_(made.module.parameters(), options.optimizer.clip_norm)
        model.step()
        model.zero_grad()
        critic.zero_grad()  # of the model's loss, which went through it
        if step >= made.critic_from:
            own = step - made.critic_from
            rate = learning_rate(made.critic_optimizer, own, steps - made.critic_from)
            set_learning_rate(critic, rate)
            (losses,) = made.losses("critic", models, batch, microbatch, CPU)
            losses.per_sample.mean().backward()
            nn.utils.clip_grad_norm_(made.critic.parameters(), made.critic_optimizer.clip_norm)
            critic.step()
            critic.zero_grad()
    # `train` leaves the model's own weights in the module, the averages are in the file
    for a, b in zip(weights(trained.module), weights(made.module), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(weights(trained.critic), weights(made.critic), strict=True):
        assert torch.equal(a, b)
    assert not all(
        torch.equal(a, b)
        for a, b in zip(weights(made.critic), weights(toy_gan().critic), strict=True)
    )


def test_figures_of_the_other_network_carry_its_name(toy_gan, tmp_path, toy_options, lines):
    train(toy_gan(critic_from=2), tmp_path, toy_options(), device=CPU)
    steps = [line for line in lines(tmp_path) if "eval" not in line]
    own = {"step", "loss", "critic", "grad_norm", "lr"}
    others = {f"critic/{name}" for name in ("loss", "real", "fake", "grad_norm", "lr")}
    assert [line.keys() for line in steps[:2]] == [own] * 2
    assert [line.keys() for line in steps[2:]] == [own | others] * 10
    assert {line["critic/lr"] for line in steps[2:]} == {0.01}


@pytest.mark.parametrize("stop_at", [1, 6])
def test_both_networks_continue_as_if_not_stopped(toy_gan, tmp_path, toy_options, stop_at):
    options = toy_options(accumulate=2)
    train(toy_gan(batch_size=2), tmp_path / "full", options, device=CPU)
    with pytest.raises(KeyboardInterrupt):
        train(toy_gan(batch_size=2, stop_at=stop_at), tmp_path / "stopped", options, device=CPU)
    train(toy_gan(batch_size=2), tmp_path / "stopped", options, device=CPU)
    for name in ("metrics.jsonl", "checkpoints/step-000012/manifest.json"):
        assert (tmp_path / "full" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()
    files = newest_checkpoint(tmp_path / "full/checkpoints").path.iterdir()
    assert {"critic-model.safetensors", "critic-optimizer.safetensors"} < {p.name for p in files}


@pytest.mark.parametrize("changes", [{"chunks": 2}, {"chunks": 4}, {"batch_size": 2}])
def test_chunks_and_micro_batches_add_up_to_the_whole(
    toy_gan, tmp_path, toy_options, changes, lines
):
    """Without skipped layers, which differ between the micro-batches of a step."""
    objectives = [toy_gan(), toy_gan(**changes)]
    for index, objective in enumerate(objectives):
        objective.skips = lambda _: False
        accumulate = 4 // objective.batch_size
        train(objective, tmp_path / str(index), toy_options(accumulate=accumulate), device=CPU)
    for network in ("module", "critic"):
        pairs = zip(*(weights(getattr(o, network)) for o in objectives), strict=True)
        for a, b in pairs:
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    for a, b in zip(*(lines(tmp_path / str(index)) for index in range(2)), strict=True):
        assert a.pop("eval", None) == b.pop("eval", None)
        assert a == pytest.approx(b, rel=1e-4, abs=1e-6)


def test_a_critic_that_is_not_finite_stops_alone_and_then_the_run(
    toy_gan, tmp_path, toy_options, caplog, lines
):
    spoiled = toy_gan(critic_poison={3})
    train(spoiled, tmp_path / "one", toy_options(), device=CPU)
    assert "step 4 skipped for the critic, whose loss or gradient is not finite" in caplog.text
    steps = [line for line in lines(tmp_path / "one") if "eval" not in line]
    assert [line["step"] for line in steps if line.get("critic/loss", 0) is None] == [4]
    assert all(line["loss"] is not None for line in steps)
    for _ in range(2):
        poisoned = toy_gan(critic_poison=range(6, 20))
        with pytest.raises(TrainingError) as error:
            train(poisoned, tmp_path / "many", toy_options(), device=CPU)
        assert "5 steps of the critic in a row up to step 11" in str(error.value)
        assert "lower the critic's learning rate" in str(error.value)
        assert "\n" not in str(error.value)
    assert newest_checkpoint(tmp_path / "many/checkpoints").step == 4


def test_a_model_that_is_not_finite_leaves_the_critic_its_turns(
    toy_gan, tmp_path, toy_options, lines
):
    train(toy_gan(poison={3}), tmp_path, toy_options(), device=CPU)
    line = lines(tmp_path)[4]
    assert line["loss"] is None
    assert line["critic/loss"] is not None


def test_a_checkpoint_without_the_critic_is_refused_in_one_line(toy_gan, tmp_path, toy_options):
    class WithoutCritic(type(toy_gan())):
        @property
        def networks(self):
            return {"model": super().networks["model"]}

        def turns(self, step):
            return ("model",)

        def losses(self, turn, models, *rest):
            yield from super().losses(turn, {**models, "critic": self.critic.eval()}, *rest)

    with pytest.raises(KeyboardInterrupt):
        train(WithoutCritic(None, stop_at=5), tmp_path, toy_options(), device=CPU)
    with pytest.raises(TrainingError, match=r"step-000006 holds no critic.*--out") as error:
        train(toy_gan(), tmp_path, toy_options(), device=CPU)
    assert "\n" not in str(error.value)
    assert train(WithoutCritic(None), tmp_path, toy_options(), device=CPU).trained == 6


def test_one_gradient_scaler_serves_both_networks(
    toy_gan, tmp_path, toy_options, monkeypatch, lines
):
    """fp16 as on a GPU: the scale starts too high, so that both networks skip their first turns."""

    def with_scaler(*arguments):
        accelerator = make_accelerator(*arguments)
        accelerator.native_amp, accelerator.state._mixed_precision = True, "fp16"
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
        return accelerator

    make_accelerator = loop.make_accelerator
    monkeypatch.setattr(loop, "make_accelerator", with_scaler)
    options = toy_options(steps=24)
    trained = toy_gan(critic_from=0)
    assert train(trained, tmp_path / "full", options, device=CPU).trained == 24
    steps = [line for line in lines(tmp_path / "full") if "eval" not in line]
    for name in ("grad_norm", "critic/grad_norm"):
        assert steps[0][name] is None
        assert sum(line[name] is None for line in steps) < 12
    # the last bias has no gradient: within the margin those of real and made samples cancel
    assert not any(map(torch.equal, weights(trained.critic)[:3], weights(toy_gan().critic)[:3]))
    with pytest.raises(KeyboardInterrupt):
        train(toy_gan(critic_from=0, stop_at=15), tmp_path / "stopped", options, device=CPU)
    train(toy_gan(critic_from=0), tmp_path / "stopped", options, device=CPU)
    full, stopped = (tmp_path / name / "metrics.jsonl" for name in ("full", "stopped"))
    assert full.read_bytes() == stopped.read_bytes()
