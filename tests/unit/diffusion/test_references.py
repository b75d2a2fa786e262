"""References beside the video, and guidance by them, against the formula written out."""

import pytest
import torch

from wanctl.diffusion import guidance
from wanctl.diffusion.conditions import Conditions, predict, stacked
from wanctl.diffusion.generate import generate
from wanctl.diffusion.guidance import guided_velocity
from wanctl.diffusion.phases import Phase, step_rules
from wanctl.diffusion.references import References
from wanctl.diffusion.schedules import make_schedule
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape

SHAPE = DiTShape(dim=24, ffn_dim=32, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
                 text_dim=8, text_len=6, freq_dim=16)  # fmt: skip
IMAGE, TEXT = 5.0, 7.5


def random(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def network():
    model = WanModel(SHAPE).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15, generator=generator)
    return model


X, CLEAN = random(1, 4, 3, 4, 4), random(1, 4, 2, 4, 4, seed=2)
PROMPT, NEGATIVE = random(1, 6, 8, seed=3), random(1, 6, 8, seed=4)


def conditions(**options):
    return Conditions(PROMPT, references=References(CLEAN, **options))


class Recorder:
    """Returns its latents; keeps what it was called with."""

    def __call__(self, x, timesteps, context):
        self.x, self.timesteps = x, timesteps
        return x


@pytest.mark.parametrize("before", [False, True])
def test_references_are_joined_at_their_end_and_cut_off_again(before):
    model = Recorder()
    v = predict(model, X, torch.tensor([7.0]), conditions(before=before))
    parts = (CLEAN, X) if before else (X, CLEAN)
    assert torch.equal(model.x, torch.cat(parts, dim=2))
    assert torch.equal(v, X)
    assert model.timesteps.tolist() == [7]


def test_an_own_timestep_makes_one_for_each_latent_frame():
    model = Recorder()
    predict(model, X, torch.tensor([7.0]), conditions(timestep=0.0))
    assert model.timesteps.tolist() == [[7, 7, 7, 0, 0]]
    predict(model, X, torch.tensor([7.0]), conditions(timestep=0.0, before=True))
    assert model.timesteps.tolist() == [[0, 0, 7, 7, 7]]


def test_references_follow_their_conditions_to_a_batch_and_to_a_device():
    many = conditions().repeated(3)
    assert many.references.latents.shape == (3, 4, 2, 4, 4)
    both = stacked((many, many.with_blank_references()))
    assert torch.equal(both.references.latents[:3], CLEAN.expand(3, -1, -1, -1, -1))
    assert not both.references.latents[3:].any()
    assert many.to(torch.device("meta")).references.latents.is_meta


def test_values_of_the_negative_pass_replace_those_of_the_prompt():
    shown = Conditions(PROMPT, channels=CLEAN, negative={"channels": -CLEAN})
    hidden = shown.for_negative(NEGATIVE)
    assert torch.equal(hidden.channels, -CLEAN)
    assert not hidden.negative
    moved = shown.repeated(2).to(torch.device("meta"))
    assert moved.negative["channels"].is_meta
    assert len(moved.negative["channels"]) == 2


@pytest.mark.parametrize("batched_tokens", [0, 1024])
@torch.no_grad()
def test_a_sample_is_that_of_the_loop_of_three_passes(monkeypatch, batched_tokens):
    monkeypatch.setattr(guidance, "BATCHED_TOKENS", batched_tokens)
    model, schedule = network(), make_schedule("euler", 6, 5.0)
    ours = generate(
        model, noise=X, conditions=conditions(), negative_context=NEGATIVE, guide_scale=TEXT,
        reference_scale=[IMAGE] * 6, schedule=schedule, solver="euler",
    )  # fmt: skip
    # The published program has frames of noise after the video, which the references replace.
    x, blank = torch.cat((X, random(*CLEAN.shape, seed=9)), dim=2), torch.zeros_like(CLEAN)
    sigmas = schedule.sigmas.tolist()
    for step, t in enumerate(schedule.timesteps):

        def call(references, context, x=x, t=t):
            return model(torch.cat((x[:, :, :-2], references), dim=2), t[None], context)

        shown, described, nothing = (
            call(CLEAN, NEGATIVE), call(CLEAN, PROMPT), call(blank, NEGATIVE)
        )  # fmt: skip
        v = nothing + IMAGE * (shown - nothing) + TEXT * (described - shown)
        x = x + (sigmas[step + 1] - sigmas[step]) * v
    assert ours.shape == X.shape
    assert (ours - X).abs().max() > 0.5
    assert (ours - x[:, :, :-2]).abs().max() <= 1e-4


@pytest.mark.parametrize(
    ("text", "image", "calls"), [(7.5, 5, 3), (7.5, 1, 2), (7.5, None, 2), (1, 1, 1), (0, 5, 3)]
)
def test_passes_are_evaluated_only_where_they_count(text, image, calls):
    class Counting(Recorder):
        batch = 0

        def __call__(self, x, timesteps, context):
            self.batch += len(x)
            return x

    model, t = Counting(), torch.tensor(7.0)
    guided_velocity(model, X, t, conditions(), NEGATIVE, text, reference_scale=image)
    assert model.batch == calls == guidance.num_passes(text, image)


def test_processes_get_all_passes_in_one_batch_at_any_size(monkeypatch):
    monkeypatch.setattr(guidance, "BATCHED_TOKENS", 0)

    class Parallel(Recorder):
        is_cfg_parallel = True

        def __call__(self, x, timesteps, context):
            self.context = context
            return super().__call__(x, timesteps, context)

    model = Parallel()
    guided_velocity(model, X, torch.tensor(7.0), conditions(), NEGATIVE, 7.5, reference_scale=5)
    assert torch.equal(model.context, torch.cat((PROMPT, NEGATIVE, NEGATIVE)))
    assert torch.equal(model.x[:2, :, 3:], CLEAN.expand(2, -1, -1, -1, -1))
    assert not model.x[2, :, 3:].any()


def test_steps_without_guidance_have_none_by_references_either():
    timesteps = torch.linspace(1000, 100, 6)
    rules = step_rules(timesteps, TEXT, guide_until=0.5, reference_scale=IMAGE)
    assert [rule.passes for rule in rules] == [3, 3, 3, 1, 1, 1]
    assert [rule.guided for rule in rules] == [True] * 3 + [False] * 3
    phases = (Phase(2, None, 1.0, None), Phase(None, None, 1.0, 1.0))
    rules = step_rules(timesteps, TEXT, phases=phases, reference_scale=IMAGE)
    assert [rule.passes for rule in rules] == [3, 3, 1, 1, 1, 1]
