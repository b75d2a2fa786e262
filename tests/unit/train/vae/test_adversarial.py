"""The discriminator's and the generator's losses, and how `train-vae` uses them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from wanctl.errors import UserError
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape
from wanctl.train.inputs.windows import Shape
from wanctl.train.loop import train
from wanctl.train.rng import MicrobatchIndex
from wanctl.train.vae import adversarial, discriminator_watch
from wanctl.train.vae.discriminator_watch import DiscriminatorWatch
from wanctl.train.vae.objective import DISCRIMINATOR, MODEL, VAEObjective

CPU = torch.device("cpu")
SHAPE = VAEShape(
    dim=8, z_dim=4, dim_mult=(1, 1, 2, 2), num_res_blocks=1,
    latent_mean=(0.0,) * 4, latent_std=(1.0,) * 4,
)  # fmt: skip
IMAGE = Shape(1, 16, 16)


@pytest.fixture
def objective(loss_weights, memory_footage):
    def build(shape=IMAGE, **settings):
        adversary = {"weight": 0.5, "width": 8, "layers": 2, **settings}
        torch.manual_seed(0)
        return VAEObjective(
            WanVAE(SHAPE),
            memory_footage(shape),
            loss_weights(l1=2, kl=1e-3, perceptual=0, adversarial=adversary),
            fps=8,
            metadata={},
            keep_statistics=True,
        )

    return build


@pytest.fixture
def options(loop_options, optimizer_options):
    usual = {"optimizer": optimizer_options(lr=3e-3), "ema_decay": 0.0, "log_every": 2}
    return lambda steps, **changes: loop_options(**{"steps": steps, **usual, **changes})


def weights(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def modules(objective):
    return {name: network.module for name, network in objective.networks.items()}


def lines(folder):
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if "eval" not in line]


def test_hinge_is_two_at_chance_and_zero_beyond_the_margin():
    real = torch.tensor([[[0.0, 0.0]], [[1.0, 3.0]], [[0.5, -1.0]]])
    assert adversarial.hinge(real, -real).tolist() == [2.0, 0.0, 2 * (0.5 + 2.0) / 2]
    assert adversarial.generator(real).tolist() == [0.0, -2.0, 0.25]


def test_adaptive_weight_is_the_ratio_of_gradients_at_the_last_layer():
    layer = torch.tensor([2.0, -1.0], requires_grad=True)
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    output = x * layer
    reconstruction = output.square().sum(1)  # gradient of the mean: x^2 * layer
    adversary = 0.1 * output.sum(1)  # gradient of the mean: 0.05 * (4, 6)
    expected = torch.tensor([20.0, -20.0]).norm() / torch.tensor([0.2, 0.3]).norm()
    weight = adversarial.adaptive_weight(reconstruction, adversary, layer)
    assert weight.item() == pytest.approx(expected.item(), rel=1e-5)
    assert not weight.requires_grad
    assert adversarial.adaptive_weight(reconstruction, adversary * 1e-9, layer).item() == 1e4


def test_gradient_penalty_of_a_linear_discriminator_means_the_same_at_every_size():
    class Linear(nn.Module):
        def forward(self, video):
            return (video * torch.tensor([1.0, 2.0, -2.0]).view(1, 3, 1, 1, 1)).sum(1)

    for shape in ((2, 3, 1, 4, 4), (1, 3, 5, 8, 8)):
        penalty = adversarial.gradient_penalty(Linear(), torch.rand(shape), torch.Generator())
        assert penalty.tolist() == [4.5] * shape[0]


def test_the_vae_minimises_its_terms_and_the_weighted_logits(objective):
    trained = objective(shape=Shape(5, 16, 16))
    microbatch = MicrobatchIndex(0, 0, 0)
    batch = trained.batch(microbatch)
    (found,) = trained.losses(MODEL, modules(trained), batch, microbatch, CPU)
    parts = found.parts
    logits = trained.adversary.module(*batch.reconstructions)
    torch.testing.assert_close(parts["adversarial"], -logits.flatten(1).mean(1).detach())
    term = 0.5 * parts["adaptive_weight"] * parts["adversarial"]
    total = 2 * parts["l1"] + 1e-3 * parts["kl"] + term
    torch.testing.assert_close(found.per_sample.detach(), total)
    assert parts["adaptive_weight"] > 0
    found.per_sample.mean().backward()
    (critic,) = trained.losses(DISCRIMINATOR, modules(trained), batch, microbatch, CPU)
    before = [p.grad.clone() for p in trained.vae.parameters() if p.grad is not None]
    critic.per_sample.mean().backward()
    after = [p.grad for p in trained.vae.parameters() if p.grad is not None]
    assert equal(before, after)  # it learns from a constant reconstruction


def test_the_gradient_penalty_is_lazy(objective):
    trained = objective(r1=2.0, r1_every=3)
    for step in range(4):
        microbatch = MicrobatchIndex(0, step, 0)
        batch = trained.batch(microbatch)
        list(trained.losses(MODEL, modules(trained), batch, microbatch, CPU))
        (found,) = trained.losses(DISCRIMINATOR, modules(trained), batch, microbatch, CPU)
        assert ("r1" in found.parts) == (step in (0, 3))
        penalty = 2.0 * 3 * found.parts.get("r1", 0)
        torch.testing.assert_close(found.per_sample.detach(), found.parts["hinge"] + penalty)


def test_before_its_step_nothing_differs_from_a_run_without_it(objective, tmp_path, options):
    without, later, sooner = objective(weight=0), objective(from_step=9), objective(from_step=2)
    initial = weights(sooner.adversary.module)
    for name, trained in (("without", without), ("later", later), ("sooner", sooner)):
        train(trained, tmp_path / name, options(4), device=CPU)
    assert without.adversary is None
    assert list(without.networks) == [MODEL]
    assert equal(weights(without.vae), weights(later.vae))
    assert not equal(weights(without.vae), weights(sooner.vae))
    assert equal(weights(later.adversary.module), initial)
    assert not equal(weights(sooner.adversary.module), initial)
    names = [set(line) for line in lines(tmp_path / "sooner")]
    assert all(("adversarial" in each) == (index >= 2) for index, each in enumerate(names))
    assert all(("discriminator/loss" in each) == (index >= 2) for index, each in enumerate(names))
    assert lines(tmp_path / "sooner")[:2] == lines(tmp_path / "without")[:2]


def test_a_run_that_is_continued_equals_one_that_was_not_stopped(objective, tmp_path, options):
    settings = {"from_step": 1, "r1": 1.0, "r1_every": 2}
    whole = objective(**settings)
    train(whole, tmp_path / "whole", options(4, checkpoint_every=2), device=CPU)
    train(objective(**settings), tmp_path / "parts", options(2, checkpoint_every=2), device=CPU)
    (tmp_path / "parts" / "config.json").unlink()
    parts = objective(**settings)
    train(parts, tmp_path / "parts", options(4, checkpoint_every=2), device=CPU)
    assert equal(weights(whole.vae), weights(parts.vae))
    assert equal(weights(whole.adversary.module), weights(parts.adversary.module))
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")


def test_chunks_of_a_clip_play_their_own_game(objective):
    trained = objective(shape=Shape(9, 16, 16))
    trained.chunk_frames = 5
    microbatch = MicrobatchIndex(0, 0, 0)
    batch = trained.batch(microbatch)
    made = list(trained.losses(MODEL, modules(trained), batch, microbatch, CPU))
    judged = list(trained.losses(DISCRIMINATOR, modules(trained), batch, microbatch, CPU))
    assert [each.shape[2] for each in batch.reconstructions] == [5, 4]
    for each in (made, judged):
        assert [(part.share, part.last) for part in each] == [(5 / 9, False), (4 / 9, True)]
    assert all("adaptive_weight" in part.parts for part in made)


def test_images_and_clips_train_in_bf16(objective, tmp_path, options):
    for frames in (1, 5):
        trained = objective(shape=Shape(frames, 16, 16), r1=1.0, r1_every=1)
        result = train(
            trained, tmp_path / str(frames), options(2, mixed_precision="bf16"), device=CPU
        )
        assert result.trained == 2


def test_a_frozen_last_layer_is_one_line(loss_weights, memory_footage):
    vae = WanVAE(SHAPE)
    vae.decoder.head.requires_grad_(False)
    settings = {"fps": 8, "metadata": {}, "keep_statistics": True}
    for adaptive in (True, False):
        weights = loss_weights(perceptual=0, adversarial={"weight": 1, "adaptive": adaptive})
        if adaptive:
            with pytest.raises(UserError, match=r"last layer is not trained.*adaptive: false"):
                VAEObjective(vae, memory_footage(), weights, **settings)
        else:
            VAEObjective(vae, memory_footage(), weights, **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        # the VAE hardly learns, the discriminator does
        ({"r1": 0.0, "optimizer": {"lr": 1e-2}}, "the discriminator wins: up to step"),
        # a penalty that allows no slope
        ({"r1": 1e6, "r1_every": 1, "optimizer": {"lr": 1e-3}}, "the discriminator has collapsed"),
    ],
)
def test_a_discriminator_that_wins_or_collapses_is_named_once(
    objective, tmp_path, options, optimizer_options, caplog, monkeypatch, settings, words
):
    monkeypatch.setattr(discriminator_watch, "WINDOW", 10)
    slow = optimizer_options(lr=1e-6)
    train(objective(**settings), tmp_path, options(40, optimizer=slow), device=CPU)
    found = [r.getMessage() for r in caplog.records if "the discriminator" in r.getMessage()]
    assert len(found) == 1
    assert words in found[0]
    assert "train_vae.loss.adversarial" in found[0]
    assert "\n" not in found[0]


def test_warnings_keep_their_distance_and_a_fair_game_has_none(caplog):
    won = {"hinge": 0.01, "real": 4.0, "fake": -3.0, "spread": 3.5}
    fair = {"hinge": 1.6, "real": 0.4, "fake": -0.4, "spread": 0.5}
    watch = DiscriminatorWatch()
    for step in range(1, 1000):
        watch.add(step, fair)
    assert not caplog.records
    for step in range(1000, 3000):
        watch.add(step, won)
    assert len(caplog.records) == 2
    assert "loss is 0.0" in caplog.text
    assert "7.0 apart" in caplog.records[-1].getMessage()


@pytest.mark.slow
def test_two_processes_learn_as_one_that_accumulates(tmp_path):
    worker = Path(__file__).with_name("adversarial_worker.py")
    fixtures = Path(__file__).parents[1]
    path = os.pathsep.join([str(fixtures), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, str(worker), str(tmp_path)],
        capture_output=True, text=True, timeout=600, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert float(done.stdout) == 0
