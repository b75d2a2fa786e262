"""VACE is trained: the adapter learns, the base keeps its bits, others load the result."""

import warnings
from dataclasses import replace

import pytest
import torch

from wanctl.checkpoint.load import load_dit
from wanctl.checkpoint.save import save_dit
from wanctl.encoders.task_inputs import InputEncoders
from wanctl.model.dit.transformer import WanModel
from wanctl.model.shapes import PixelShape
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import DiTShape, VAEShape
from wanctl.recipe.train.timesteps import TimestepsSection
from wanctl.tasks.table import get_task
from wanctl.train.accelerator import Processes
from wanctl.train.adapters.prepare import Base, prepare_weights
from wanctl.train.dit.data import EncodedData
from wanctl.train.dit.noise.options import NoiseOptions
from wanctl.train.dit.objective import DiTObjective
from wanctl.train.dit.options import DiTOptions, PreviewOptions
from wanctl.train.dit.tasks.api import TaskOptions
from wanctl.train.dit.tasks.build import MixtureOptions, make_mixture
from wanctl.train.dit.tasks.choice import make_tasks
from wanctl.train.dit.tasks.vace import num_references
from wanctl.train.dit.vace.start import CONTEXT_ADAPTER, add_control_blocks
from wanctl.train.evaluation.shared import evaluate
from wanctl.train.inputs.encode import LatentStore
from wanctl.train.inputs.windows import Shape
from wanctl.train.loop import train
from wanctl.train.networks.ema import EMA
from wanctl.train.rng import MicrobatchIndex, keyed_generator

CPU = torch.device("cpu")
PROCESSES = Processes(CPU)
VAE_SHAPE = VAEShape(
    dim=8, z_dim=4, dim_mult=(1, 1, 1, 1), num_res_blocks=1,
    latent_mean=(0.0,) * 4, latent_std=(0.1,) * 4,
)  # fmt: skip
BASE = DiTShape(
    dim=48, ffn_dim=96, num_layers=3, num_heads=2, in_channels=4, out_channels=4, text_dim=6,
    text_len=5, freq_dim=32,
)  # fmt: skip
SHAPE = replace(BASE, vace_layers=(0, 2), vace_channels=72)
TEXT = torch.ones(2, 6)


def random_base() -> WanModel:
    """A base whose head is not zero, so that what the controls change is seen."""
    model = WanModel(BASE)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


@pytest.fixture
def make(memory_footage, control_options, tmp_path):
    def build(controls=None, draws=3, batch_size=2, known_frames_weight=1.0, latent_shifts=None):
        torch.manual_seed(0)
        clips = memory_footage(shape=Shape(5, 32, 32), batch_size=batch_size)
        vae = WanVAE(VAE_SHAPE).eval()
        latents = LatentStore(tmp_path / "latents", vae, "toy")
        latents.encode(clips, [*clips.training_windows(), *clips.eval_windows()], PROCESSES)
        tasks = make_tasks({"vace": 1.0}, TaskOptions((1, 1), 1, controls or control_options()))
        mixture = make_mixture(
            MixtureOptions(tasks, 8.0, draws, 0.0), clips, vae, latents.key, SHAPE, None, CPU,
            tmp_path / "conditions",
        )  # fmt: skip
        mixture.encode(clips, PROCESSES)
        model = add_control_blocks(random_base(), SHAPE)
        part = prepare_weights(model, Base("base", "0"), CONTEXT_ADAPTER)
        keys = TimestepsSection().model_dump(exclude={"bucket_shifts"})
        noise = NoiseOptions(**keys, latent_shifts=latent_shifts or {}, microbatches=4)
        windows = tuple(clips.eval_windows())
        preview = PreviewOptions(
            ("a fox",), windows, "worse", (4, 2, 4, 4), 2, 3.0, 2.0, "euler", 8.0
        )
        return DiTObjective(
            model,
            vae,
            clips,
            EncodedData(latents.get, lambda _: TEXT, {str(clip): ["x"] for clip in range(3)}, {}),
            mixture,
            DiTOptions(noise, 0.0, "", known_frames_weight, preview, 0, False),
            metadata={},
            part=part,
        )

    return build


def test_training_is_given_what_sampling_would_be_given(make, control_options):
    """Bit for bit: control, mask, references and their frames of noise."""
    draws = 4
    objective = make(control_options(references=0.6, max_references=2, composite=0.5), draws)
    [task] = objective.tasks.serving(5)
    encoders = InputEncoders(objective.previews.vae, SHAPE, None, CPU)
    seen = set()
    for window in objective.footage.training_windows():
        for draw in range(draws):
            generator = keyed_generator("inputs", "vace", window.key, draw)
            inputs = task.inputs(objective.footage.read(window), 8.0, generator, draw)
            size = PixelShape(*window.shape)
            with torch.inference_mode():
                sampled = get_task("vace").conditions([TEXT], 5, inputs, size, encoders)
            trained = objective.tasks.conditions(task, [window], [TEXT], draw)
            assert torch.equal(trained.control, sampled.control)
            assert torch.equal(trained.context, sampled.context)
            assert trained.control_scale == sampled.control_scale
            count = len(inputs.references)
            assert count == num_references(draw, task.controls)
            x0 = objective.encoded.latents(window)[None]
            targets = task.targets(x0, trained)
            assert targets.shape == (1, *get_task("vace").latent_shape(VAE_SHAPE, *size, inputs))
            assert torch.equal(targets[:, :, count:], x0)
            assert torch.equal(targets[:, :, :count], trained.control[:, :4, :count])
            assert torch.equal(task.outputs(targets, 2), x0)
            seen.add(count)
    assert seen == {0, 1, 2}


def test_draws_are_keyed_and_differ(make, control_options):
    objective = make(control_options("inpaint"))
    [task] = objective.tasks.serving(5)
    window = objective.footage.training_windows()[0]
    frames = objective.footage.read(window)

    def masks(draw):
        inputs = task.inputs(frames, 8.0, keyed_generator("a", draw), draw)
        return torch.stack([torch.from_numpy(each) for each in inputs.mask.pictures])

    assert torch.equal(masks(0), masks(0))
    assert not torch.equal(masks(0), masks(1))
    batches = [objective.batch(MicrobatchIndex(0, step, 0)) for step in (4, 4, 5)]
    assert torch.equal(batches[0].conditions.control, batches[1].conditions.control)
    assert not torch.equal(batches[0].conditions.control, batches[2].conditions.control)


def test_what_is_kept_counts_as_the_recipe_says(make, control_options):
    """At 0 only the generated region does; references never."""
    losses = {}
    for weight in (0.0, 0.25, 1.0):
        objective = make(
            control_options("inpaint", references=1.0, max_references=1),
            draws=1,
            known_frames_weight=weight,
        )
        batch = objective.batch(MicrobatchIndex(0, 0, 0))
        assert batch.latents.shape == (2, 4, 3, 4, 4)
        mask = batch.conditions.control[:, -64:].mean(dim=1, keepdim=True)
        assert not mask[:, :, 0].any()

        class Wrong(torch.nn.Module):
            """Off by 1 where the footage is kept and by 2 where it is generated."""

            def forward(self, x, times, context, control_BCTYX, control_scale):
                generated = control_BCTYX[:, -64:].mean(dim=1, keepdim=True)
                return self.right + (1 + generated)

        wrong = Wrong()
        sigma = objective.levels.draw(2, batch.window_shape, MicrobatchIndex(0, 0, 0))
        noise = torch.randn(batch.latents.shape, generator=keyed_generator(0, "noise", 0, 0))
        wrong.right = noise - batch.latents
        [got] = objective.losses("model", {"model": wrong}, batch, MicrobatchIndex(0, 0, 0), CPU)
        error, share = (1 + mask).square(), mask + weight * (1 - mask)
        expected = (error * share).sum((1, 2, 3, 4)) / share.sum((1, 2, 3, 4))
        expected = expected * objective.levels.weight(sigma.double())
        assert torch.allclose(got.per_sample, expected.float(), rtol=1e-5)
        losses[weight] = got.per_sample.mean().item()
    assert losses[0.0] > losses[0.25] > losses[1.0]


def test_references_do_not_change_the_noise_levels(make, control_options):
    """The shift is that of the window's size, not of the window with its references."""
    sigmas = []
    for references in (0.0, 1.0):
        objective = make(
            control_options("text", references=references), draws=1, latent_shifts={(2, 4, 4): 9.0}
        )
        microbatch = MicrobatchIndex(0, 0, 0)
        batch = objective.batch(microbatch)
        [losses] = objective.losses("model", {"model": objective.module}, batch, microbatch, CPU)
        sigmas.append(losses.parts["sigma"])
    assert torch.equal(*sigmas)


def test_the_adapter_learns_its_control_and_the_base_keeps_its_bits(
    make, control_options, tmp_path, loop_options, optimizer_options
):
    objective = make(control_options("grey", references=0.5), draws=2, batch_size=4)
    before = evaluate(objective, PROCESSES)
    start = {n: t.clone() for n, t in objective.module.state_dict().items()}
    options = loop_options(
        steps=25, optimizer=optimizer_options(lr=6e-3), ema_decay=0.8, eval_every=25
    )
    result = train(objective, tmp_path / "dit", options, device=CPU)
    assert result.figures["loss"] < 0.85 * before["loss"]
    changed = {n for n, t in objective.module.state_dict().items() if not torch.equal(t, start[n])}
    assert changed
    assert all(name.startswith("vace_") for name in changed)
    assert "vace_patch_embedding.weight" in changed
    assert all(name.startswith("vace_") for name in EMA(objective.module, 0.9).shadow)
    loaded = load_dit(tmp_path / "dit")
    assert loaded.shape == SHAPE
    assert torch.equal(loaded.blocks[1].ffn[0].weight, start["blocks.1.ffn.0.weight"])
    check_diffusers(loaded, tmp_path / "diffusers")


@torch.no_grad()
def check_diffusers(model, folder):
    """diffusers' transformer of the export makes the same velocity."""
    from diffusers import WanVACETransformer3DModel

    save_dit(model, folder, layout="diffusers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = WanVACETransformer3DModel.from_pretrained(folder).eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 3, 4, 4, generator=generator)
    control = torch.randn(2, 72, 3, 4, 4, generator=generator)
    text, times = torch.randn(2, 5, 6, generator=generator), torch.tensor([900.0, 100.0])
    ours = load_dit(folder, precision="reference")(
        x, times, text, control_BCTYX=control, control_scale=0.8
    )
    expected = theirs(
        x, times, text, control_hidden_states=control,
        control_hidden_states_scale=torch.full((2,), 0.8),
    ).sample  # fmt: skip
    assert expected.std() > 0.1
    assert (ours - expected).abs().max() <= 2e-5
