import json
import math
import re
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

from wanctl.checkpoint.load import load_dit
from wanctl.data.captions import WeightedCaption
from wanctl.errors import UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import DiTShape, VAEShape
from wanctl.recipe.train.timesteps import TimestepsSection
from wanctl.tasks.api import pad_texts
from wanctl.train.accelerator import Processes
from wanctl.train.dit.data import EncodedData
from wanctl.train.dit.experts.transformers import one_transformer
from wanctl.train.dit.noise.options import NoiseOptions
from wanctl.train.dit.objective import DiTObjective
from wanctl.train.dit.options import DiTOptions, PreviewOptions
from wanctl.train.dit.tasks.api import TaskOptions
from wanctl.train.dit.tasks.build import MixtureOptions, make_mixture
from wanctl.train.dit.tasks.choice import make_tasks
from wanctl.train.evaluation.shared import evaluate, write_previews
from wanctl.train.inputs.encode import LatentStore, TextStore, encode_window
from wanctl.train.inputs.windows import Shape
from wanctl.train.loop import train
from wanctl.train.rng import MicrobatchIndex, keyed_generator

CPU = torch.device("cpu")
PROCESSES = Processes(CPU)
VAE_SHAPE = VAEShape(
    dim=8, z_dim=4, dim_mult=(1, 1, 1, 1), num_res_blocks=1,
    latent_mean=(0.0,) * 4, latent_std=(0.1,) * 4,
)  # fmt: skip
TASK_OPTIONS = TaskOptions((1.5, 1.5), 4, None)
DIT_SHAPE = DiTShape(
    dim=48, ffn_dim=96, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
    text_dim=6, text_len=5, freq_dim=32,
)  # fmt: skip


def noise_options(microbatches=4, latent_shifts=None, **changes):
    """The recipe's defaults and some changes."""
    keys = TimestepsSection(**changes).model_dump(exclude={"bucket_shifts"})
    return NoiseOptions(**keys, latent_shifts=latent_shifts or {}, microbatches=microbatches)


class LetterEncoder:
    """Three rows per prompt, made of its letters."""

    key = "letters-1"
    text_len = 5
    dim = 6

    def __init__(self):
        self.prompts = []

    def encode(self, prompts):
        self.prompts += prompts
        rows = torch.zeros(len(prompts), 5, 6)
        for row, prompt in zip(rows, prompts, strict=True):
            row[:3] = torch.tensor([len(prompt), *map(ord, (prompt + "     ")[:5])]) / 100
        return rows


@pytest.fixture
def make(memory_footage, tmp_path):
    def build(text_dropout=0.1, captions=None, shares=None, noise=None, by_task=None, **footage):
        torch.manual_seed(0)
        clips = memory_footage(**footage)
        latents = LatentStore(tmp_path / "latents", WanVAE(VAE_SHAPE).eval(), "toy")
        latents.encode(clips, [*clips.training_windows(), *clips.eval_windows()], PROCESSES)
        texts = TextStore(tmp_path / "text", LetterEncoder())
        captions = captions or {str(clip): [f"clip {clip}"] for clip in range(3)}
        texts.encode(
            ["", "a prompt", "worse", *(t for v in captions.values() for t in v)], PROCESSES
        )
        shape = clips.shape
        options = MixtureOptions(make_tasks({"t2v": 1, "t2i": 1}, TASK_OPTIONS), 8.0, 2, 0.0)
        mixture = make_mixture(
            options, clips, latents.vae, latents.key, DIT_SHAPE, None, CPU, tmp_path / "conditions"
        )
        mixture.encode(clips, PROCESSES)
        preview = PreviewOptions(
            ("a prompt",),
            tuple(clips.eval_windows()),
            "worse",
            (4, (shape.frames + 3) // 4, 4, 4),
            2,
            3.0,
            2.0,
            "euler",
            8.0,
        )
        return DiTObjective(
            WanModel(DIT_SHAPE),
            latents.vae,
            clips,
            EncodedData(latents.get, texts.get, captions, shares or {}, by_task or {}),
            mixture,
            DiTOptions(noise or noise_options(), text_dropout, "worse", 1.0, preview, 0, False),
            metadata={"recipe": "x"},
        )

    return build


def test_held_out_loss_falls_and_the_average_is_saved(
    make, tmp_path, loop_options, optimizer_options
):
    objective = make(held_out=True, batch_size=4)
    before = evaluate(objective, PROCESSES)
    options = loop_options(
        steps=60, optimizer=optimizer_options(lr=3e-3), ema_decay=0.9, eval_every=30
    )
    result = train(objective, tmp_path / "dit", options, device=CPU)
    assert result.figures["loss"] < 0.8 * before["loss"]
    levels = {f"loss_sigma_{sigma}" for sigma in (0.125, 0.375, 0.625, 0.875)}
    assert result.figures.keys() == {"loss", *levels}
    assert objective.saved_step(tmp_path / "dit") == 60
    objective.transformers = one_transformer(load_dit(tmp_path / "dit"))
    # measured 1e-7: weights in a mapped file lie at other addresses
    assert evaluate(objective, PROCESSES) == pytest.approx(result.figures, rel=1e-5)
    names = {path.name for path in (tmp_path / "dit/previews").iterdir()}
    assert names == {f"step-0000{step}{end}" for step in ("00", "60") for end in (".png", "-1.mp4")}


class TrueVelocity(nn.Module):
    """Returns the true velocity of a constant video at any noise level."""

    def forward(self, x, times, context):
        assert times.dtype == torch.float32
        sigma = (times / 1000).view(-1, 1, 1, 1, 1)
        noise = (x - (1 - sigma) * 0.5) / sigma
        return noise - 0.5


def test_the_target_points_from_video_to_noise(make):
    objective = make()
    microbatch = MicrobatchIndex(0, 0, 0)
    batch = objective.batch(microbatch)
    batch.latents.fill_(0.5)
    (losses,) = objective.losses("model", {"model": TrueVelocity()}, batch, microbatch, CPU)
    assert losses.per_sample.max() < 1e-6
    assert 0 < losses.parts["sigma"].min() < losses.parts["sigma"].max() < 1


class Affine(nn.Module):
    """A function of all that the model is given, in the precision of its input."""

    def forward(self, x, times, context):
        at = times.to(x)[:, None, None, None, None] / 1000
        return 0.3 * x + at * x.square() + context.to(x).mean((1, 2))[:, None, None, None, None]


@pytest.mark.parametrize(
    ("weighting", "factor"),
    [
        ("none", lambda sigma: 1.0),
        ("cosmap", lambda sigma: 2 / math.pi / (1 - 2 * sigma + 2 * sigma**2)),
        ("min_snr", lambda sigma: sigma**2 * min(((1 - sigma) / sigma) ** 2, 5.0)),
    ],
)
def test_the_loss_is_that_of_a_plain_computation_in_float64(make, weighting, factor):
    objective = make(batch_size=5, noise=noise_options(weighting=weighting))
    microbatch = MicrobatchIndex(3, 7, 0)
    batch = objective.batch(microbatch)
    batch = replace(batch, latents=batch.latents.double())
    (losses,) = objective.losses("model", {"model": Affine()}, batch, microbatch, CPU)
    levels = objective.levels.draw(5, batch.window_shape, microbatch)
    noises = torch.randn(batch.latents.shape, generator=keyed_generator(3, "noise", 7, 0))
    for number, level in enumerate(levels):
        clean, noise = batch.latents[number].numpy(), noises[number].double().numpy()
        sigma, text = level.item(), batch.conditions.context[number].double().mean().item()
        noisy = (1 - sigma) * clean + sigma * noise
        predicted = 0.3 * noisy + (level * 1000).item() / 1000 * noisy**2 + text
        error = ((predicted - (noise - clean)) ** 2).mean()
        assert losses.per_sample[number].item() == pytest.approx(factor(sigma) * error, rel=1e-10)


def test_losses_by_noise_level_are_means_over_their_samples_alone(make, tmp_path, loop_options):
    """Over accumulation too, though a micro-batch of two samples leaves out two of four bins."""
    seen = []

    class Recording(DiTObjective):
        def losses(self, turn, models, batch, microbatch, device):
            for each in super().losses(turn, models, batch, microbatch, device):
                sigma = self.levels.draw(2, batch.latents.shape[2:], microbatch)
                seen.append((microbatch.step, sigma, each.per_sample.detach()))
                yield each

    objective = make(noise=noise_options(microbatches=3, law="uniform", shift=6))
    objective.__class__ = Recording
    train(objective, tmp_path / "dit", loop_options(steps=4, accumulate=3), device=CPU)
    del seen[0]  # the largest batch, which is tried first
    lines = map(json.loads, (tmp_path / "dit/metrics.jsonl").read_text().splitlines())
    lines = [line for line in lines if "eval" not in line]
    absent = 0
    for step, line in enumerate(lines):
        sigma, error = (torch.cat([each[i] for each in seen if each[0] == step]) for i in (1, 2))
        for low, high in ((0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)):
            inside = (sigma >= low) & (sigma < high)
            name = f"loss_sigma_{low:g}-{high:g}"
            absent += name not in line
            assert (name in line) == bool(inside.any())
            if inside.any():
                assert line[name] == pytest.approx(error[inside].mean().item(), rel=1e-5)
    assert absent, "no bin was empty; the test shows nothing"


def test_cached_latents_equal_those_made_on_the_fly(make):
    objective = make(shape=Shape(9, 32, 32))
    vae = WanVAE(VAE_SHAPE).eval()
    vae.load_state_dict(objective.previews.vae.state_dict())
    for window in objective.footage.training_windows():
        fresh = encode_window(vae, objective.footage, window, CPU)
        assert fresh.shape == (4, 3, 4, 4)
        assert torch.equal(objective.encoded.latents(window), fresh)


def test_what_is_encoded_is_never_encoded_again(memory_footage, tmp_path):
    torch.manual_seed(0)
    clips, vae, encoder = memory_footage(), WanVAE(VAE_SHAPE), LetterEncoder()
    for _ in range(2):
        store = LatentStore(tmp_path / "latents", vae, "toy")
        store.encode(clips, clips.training_windows(), PROCESSES)
        texts = TextStore(tmp_path / "text", encoder)
        texts.encode(["a  prompt", "a prompt", ""], PROCESSES)
    assert clips.reads == len(clips.training_windows())
    assert encoder.prompts == ["a prompt", ""]
    assert texts.get("a prompt ").shape == (3, 6)
    with torch.no_grad():
        vae.conv1.bias[0] += 1
    assert LatentStore(tmp_path / "latents", vae, "toy").key != store.key


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_captions_are_sampled_at_their_share_and_dropped_to_the_negative_prompt(make, share):
    captions = {str(clip): ["first", "second"] for clip in range(3)}
    shares = {clip: [share, 1 - share] for clip in captions} if share != 0.5 else None
    objective = make(text_dropout=0.3, captions=captions, shares=shares, batch_size=1)
    counts = dict.fromkeys(("first", "second", "worse"), 0)
    padded = {
        text: pad_texts([objective.encoded.texts(text)], DIT_SHAPE.text_len) for text in counts
    }
    for step in range(300):
        context = objective.batch(MicrobatchIndex(0, step, 0)).conditions.context
        counts[next(t for t, value in padded.items() if torch.equal(value, context))] += 1
    assert 60 <= counts["worse"] <= 120
    kept = counts["first"] + counts["second"]
    assert abs(counts["first"] - share * kept) < 25  # a deviation is 7 at most


def test_batches_and_evaluation_take_the_captions_of_their_task(make):
    captions = {str(clip): ["scene", "walks", "runs"] for clip in range(3)}
    own = {clip: [WeightedCaption("walks", 0.8), WeightedCaption("runs", 0.2)] for clip in captions}
    objective = make(0.0, captions, by_task={"t2v": own, "t2i": {}}, held_out=True, batch_size=1)
    texts, requested = objective.encoded.texts, Counter()
    encoded = replace(objective.encoded, texts=lambda text: requested.update([text]) or texts(text))
    objective.encoded = encoded
    for step in range(300):
        objective.batch(MicrobatchIndex(0, step, 0))
    assert requested["scene"] == 0
    assert abs(requested["walks"] - 240) < 28  # a deviation is 7
    requested.clear()
    objective.measure(objective.eval_items()[0], CPU)
    assert requested == {"walks": 1}


def test_evaluation_and_previews_do_not_move_with_the_global_generator(make, tmp_path):
    objective = make()
    written = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        written.append(evaluate(objective, PROCESSES))
        write_previews(objective, tmp_path / str(seed), 3, PROCESSES)
        written.append([p.read_bytes() for p in sorted((tmp_path / str(seed)).iterdir())])
    assert written[:2] == written[2:]


@pytest.mark.parametrize("frames", [1, 5])
def test_bf16_trains_images_and_videos_on_cpu(make, tmp_path, frames, loop_options):
    objective = make(shape=Shape(frames, 32, 32))
    options = loop_options(steps=2, mixed_precision="bf16", ema_decay=0.9)
    assert train(objective, tmp_path / "dit", options, device=CPU).trained == 2
    assert {p.dtype for p in objective.module.parameters()} == {torch.float32}


def test_bf16_weights_train_and_are_saved(make, tmp_path, loop_options, optimizer_options):
    objective = make(batch_size=4)
    before = evaluate(objective, PROCESSES)["loss"]
    optimizer = optimizer_options(lr=3e-3, weights="bf16")
    options = loop_options(
        steps=30, mixed_precision="bf16", optimizer=optimizer, ema_decay=0.9, eval_every=30
    )
    result = train(objective, tmp_path / "dit", options, device=CPU)
    assert result.figures["loss"] < 0.9 * before
    kept = {name: p.dtype for name, p in objective.module.named_parameters()}
    assert kept["blocks.0.ffn.0.weight"] == torch.bfloat16
    assert kept["blocks.0.modulation"] == kept["blocks.0.ffn.0.bias"] == torch.float32
    load_dit(tmp_path / "dit")


def test_accumulated_micro_batches_have_their_own_noise(make):
    objective = make()
    batch = objective.batch(MicrobatchIndex(0, 0, 0))
    models = {"model": objective.module}
    sigmas = []
    for micro in (0, 1):
        microbatch = MicrobatchIndex(0, 0, micro)
        (losses,) = objective.losses("model", models, batch, microbatch, CPU)
        sigmas.append(losses.parts["sigma"])
    assert not torch.equal(*sigmas)


def test_the_largest_batch_is_tried_first_and_changes_nothing(make, tmp_path, loop_options, caplog):
    caplog.set_level("INFO", "wanctl")
    ends = []
    for tries in (True, False):
        objective = make()
        run = objective if tries else Untried(objective)
        train(run, tmp_path / str(tries), loop_options(steps=2), device=CPU)
        ends.append([*objective.module.parameters(), torch.rand(3)])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
    assert re.search(r"peak memory \d+\.\d GiB at bucket 5x32x32, batch size 2", caplog.text)


class Untried:
    """An objective that does not know its largest batch."""

    def __init__(self, objective):
        self.objective = objective

    def __getattr__(self, name):
        if name in ("largest_batch", "memory_advice"):
            raise AttributeError(name)
        return getattr(self.objective, name)


def test_memory_that_runs_out_is_one_line(make, tmp_path, loop_options, monkeypatch):
    objective = make()

    def losses(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 ...")
        yield

    monkeypatch.setattr(objective, "losses", losses)
    with pytest.raises(UserError) as error:
        train(objective, tmp_path / "dit", loop_options(steps=2), device=CPU)
    (line,) = error.value.lines
    assert "train-dit: out of memory at bucket 5x32x32, batch size 2 (another 2.50 GiB" in line
    assert "set train_dit.memory.checkpointing: full" in line
