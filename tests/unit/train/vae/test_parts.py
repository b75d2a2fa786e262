"""Which parts of the VAE are trained, from the recipe's names to the saved bytes."""

from dataclasses import replace

import pytest
import torch

from wanctl.checkpoint.load import load_vae
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape
from wanctl.train.loop import train
from wanctl.train.vae.objective import VAEObjective
from wanctl.train.vae.parts import freeze_others, part_problem

SHAPE = VAEShape(
    dim=8, z_dim=4, dim_mult=(1, 1, 2, 2), num_res_blocks=1,
    latent_mean=(0.5, 0.0, 0.25, 1.0), latent_std=(1.0, 2.0, 0.5, 1.0),
)  # fmt: skip


@pytest.fixture
def trained(memory_footage, loss_weights, loop_options, optimizer_options, tmp_path):
    """The tensors before and after three steps with some parts trained, and the checkpoint."""

    def run(names, **weights):
        torch.manual_seed(0)
        vae = WanVAE(SHAPE)
        before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
        parts = freeze_others(vae, names)
        objective = VAEObjective(
            vae,
            memory_footage(),
            loss_weights(perceptual=0.0, **weights),
            fps=8,
            metadata={},
            keep_statistics=not parts.moves_latents,
        )
        options = loop_options(
            steps=3, optimizer=optimizer_options(lr=3e-3, weight_decay=0.1), ema_decay=0.5
        )
        train(objective, tmp_path, options, device=torch.device("cpu"))
        return before, load_vae(tmp_path), tmp_path / "checkpoints/step-000003"

    return run


def moved(before, vae):
    """Names of the tensors whose bytes differ."""
    after = vae.state_dict()
    return {n for n in before if before[n].numpy().tobytes() != after[n].numpy().tobytes()}


@pytest.mark.parametrize(
    ("names", "beginnings"),
    [
        (["decoder"], ("decoder.", "conv2.")),
        (["encoder"], ("encoder.", "conv1.")),
        (["decoder.head", "decoder.upsamples.1"], ("decoder.head.", "decoder.upsamples.1.")),
    ],
)
def test_what_is_not_trained_keeps_its_bits_and_has_no_state(names, beginnings, trained):
    from safetensors import safe_open

    before, vae, checkpoint = trained(names)
    expected = {name for name in before if name.startswith(beginnings)}
    assert moved(before, vae) == expected
    statistics = (vae.shape.latent_mean, vae.shape.latent_std)
    kept = statistics == (SHAPE.latent_mean, SHAPE.latent_std)
    assert kept == (names != ["encoder"])
    with safe_open(checkpoint / "optimizer.safetensors", "pt") as file:
        assert {key.partition("/")[2].removeprefix("vae.") for key in file.keys()} == expected  # noqa: SIM118
    with safe_open(checkpoint / "ema.safetensors", "pt") as file:
        assert {key.removeprefix("vae.") for key in file.keys()} == expected  # noqa: SIM118


def test_numbers_are_whole_and_unknown_names_get_the_nearest():
    with torch.device("meta"):
        vae = WanVAE(replace(VAEShape(), dim=4))
    freeze_others(vae, ["decoder.upsamples.1"])
    trained = {name for name, parameter in vae.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[2] for name in trained} == {"1"}, "and not 10 to 14"
    assert part_problem(vae, "all") is None
    assert part_problem(vae, "decoder.upsamples.14") is None
    message = part_problem(vae, "decoder.upsample.14") or ""
    assert "no part 'decoder.upsample.14'; near are decoder.upsamples.14" in message
    assert len(message) < 300
