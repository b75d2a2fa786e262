from dataclasses import replace

import pytest
import torch

from wanctl.checkpoint.load import load_vae
from wanctl.checkpoint.save import save_vae
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import get_variant
from wanctl.model.variants import VAEShape
from wanctl.train.accelerator import Processes
from wanctl.train.evaluation.shared import evaluate
from wanctl.train.inputs.windows import Shape, read_video
from wanctl.train.loop import train
from wanctl.train.rng import MicrobatchIndex
from wanctl.train.vae.objective import VAEBatch, VAEObjective
from wanctl.train.vae.start import VAESource, start_vae

CPU = torch.device("cpu")
SHAPE = VAEShape(
    dim=8, z_dim=4, dim_mult=(1, 1, 2, 2), num_res_blocks=1,
    latent_mean=(0.0,) * 4, latent_std=(1.0,) * 4,
)  # fmt: skip


def loss_of(objective, batch, microbatch):
    models = {"model": objective.module}
    (losses,) = objective.losses("model", models, batch, microbatch, CPU)
    return losses


@pytest.fixture
def objective(loss_weights):
    def build(footage, **weights):
        torch.manual_seed(0)
        return VAEObjective(
            WanVAE(SHAPE),
            footage,
            loss_weights(**{"l1": 1.0, "kl": 1e-6, "perceptual": 0.0, **weights}),
            fps=8,
            metadata={"recipe": "x"},
            keep_statistics=False,
        )

    return build


@pytest.fixture
def options(loop_options, optimizer_options):
    usual = {"optimizer": optimizer_options(lr=3e-3), "ema_decay": 0.9}
    return lambda steps, **changes: loop_options(steps=steps, **usual, **changes)


def test_reconstruction_improves_and_the_saved_vae_gives_normal_latents(
    memory_footage, tmp_path, objective, options
):
    footage = memory_footage()
    trained = objective(footage)
    before = evaluate(trained, Processes(CPU))
    result = train(trained, tmp_path, options(25), device=CPU)
    assert result.figures["l1"] < 0.7 * before["l1"]
    assert result.figures["psnr"] > before["psnr"] + 2
    vae = load_vae(tmp_path)
    with torch.no_grad():
        windows = [read_video(footage, w)[None] for w in footage.training_windows()]
        latents = torch.cat([vae.encode(video) for video in windows])
    channels = latents.transpose(0, 1).flatten(1)
    torch.testing.assert_close(channels.mean(1), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(channels.std(1, correction=0), torch.ones(4), rtol=1e-3, atol=0)
    assert trained.saved_step(tmp_path) == 25
    names = {path.name for path in (tmp_path / "previews").iterdir()}
    assert names == {f"step-0000{step}{end}" for step in ("00", "25") for end in (".png", "-1.mp4")}


def test_given_weights_keep_their_statistics(memory_footage, tmp_path, options, loss_weights):
    mean, std = (0.5, -0.25, 0.0, 1.0), (2.0, 1.0, 0.5, 4.0)
    published = WanVAE(replace(SHAPE, latent_mean=mean, latent_std=std))
    save_vae(published, tmp_path / "published")
    vae, has_statistics = start_vae(get_variant("tiny"), VAESource(str(tmp_path / "published")), 0)
    assert has_statistics
    trained = VAEObjective(
        vae,
        memory_footage(),
        loss_weights(perceptual=0),
        fps=8,
        metadata={},
        keep_statistics=has_statistics,
    )
    train(trained, tmp_path / "out", options(1), device=CPU)
    saved = load_vae(tmp_path / "out").shape
    assert (saved.latent_mean, saved.latent_std) == (mean, std)


def test_training_does_not_depend_on_the_statistics_in_use(memory_footage, objective):
    footage = memory_footage()
    plain, scaled = objective(footage), objective(footage)
    scaled.vae.shape = VAEShape(
        **{**vars(SHAPE), "latent_mean": (1.0,) * 4, "latent_std": (3.0,) * 4}
    )
    microbatch = MicrobatchIndex(0, 0, 0)
    losses = [loss_of(o, o.batch(microbatch), microbatch).per_sample for o in (plain, scaled)]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-6)


def test_loss_is_the_weighted_sum_of_its_parts_and_a_function_of_its_index(
    memory_footage, objective
):
    weights = {"l1": 3.0, "kl": 0.5, "perceptual": {"weight": 2.0, "frames": 2}}
    trained = objective(memory_footage(), **weights)
    microbatch = MicrobatchIndex(0, 4, 1)
    torch.manual_seed(1)
    first = loss_of(trained, trained.batch(microbatch), microbatch)
    torch.manual_seed(2)
    again = loss_of(trained, trained.batch(microbatch), microbatch)
    other = loss_of(trained, trained.batch(microbatch), MicrobatchIndex(0, 5, 1))
    parts = first.parts
    total = 3 * parts["l1"] + 0.5 * parts["kl"] + 2 * parts["perceptual"]
    torch.testing.assert_close(first.per_sample.detach(), total)
    assert first.per_sample.shape == parts["psnr"].shape == (2,)
    assert torch.equal(first.per_sample, again.per_sample)
    assert not torch.equal(first.per_sample, other.per_sample)


def test_a_term_is_neither_computed_nor_added_before_its_step(memory_footage, objective):
    later = {"weight": 2.0, "from_step": 3}
    trained = objective(memory_footage(), kl=later, perceptual=later)
    trained.distance.register_forward_pre_hook(lambda *_: calls.append(1))
    for step, names in ((2, {"l1", "psnr"}), (3, {"l1", "kl", "perceptual", "psnr"})):
        calls = []
        microbatch = MicrobatchIndex(0, step, 0)
        found = loss_of(trained, trained.batch(microbatch), microbatch)
        assert found.parts.keys() == names
        assert bool(calls) == ("perceptual" in names)
        total = sum({"l1": 1}.get(n, 2) * v for n, v in found.parts.items() if n != "psnr")
        torch.testing.assert_close(found.per_sample.detach(), total)


def test_the_loss_of_a_batch_is_the_mean_of_its_samples_losses(memory_footage, objective):
    """Without the posterior's noise, which every micro-batch draws anew."""
    trained = objective(memory_footage(), kl=1e-3, perceptual=2.0)
    with torch.no_grad():
        trained.vae.log_variance_bias.fill_(-60.0)
    microbatch = MicrobatchIndex(0, 3, 0)
    batch = trained.batch(microbatch)
    batch.video[1] = 255 - batch.video[1]  # samples that differ
    whole = loss_of(trained, batch, microbatch)
    alone = [loss_of(trained, VAEBatch(each[None]), microbatch) for each in batch.video]
    for name in ("l1", "kl", "perceptual"):
        samples = torch.cat([each.parts[name] for each in alone])
        torch.testing.assert_close(whole.parts[name], samples, rtol=1e-5, atol=0)
    losses = torch.cat([each.per_sample for each in alone])
    torch.testing.assert_close(whole.per_sample.mean(), losses.mean(), rtol=1e-5, atol=0)
    assert abs(losses[0] / losses[1] - 1) > 0.01


def test_held_out_figures_are_the_same_every_time(memory_footage, objective):
    trained = objective(memory_footage(held_out=True))
    assert trained.eval_split == "held-out"
    assert evaluate(trained, Processes(CPU)) == evaluate(trained, Processes(CPU))


@pytest.mark.parametrize("frames", [1, 5])
def test_bf16_trains_images_and_videos_on_cpu(memory_footage, tmp_path, frames, objective, options):
    trained = objective(memory_footage(Shape(frames, 32, 32)))
    result = train(trained, tmp_path, options(2, mixed_precision="bf16"), device=CPU)
    assert result.trained == 2
    assert {p.dtype for p in trained.module.parameters()} == {torch.float32}
