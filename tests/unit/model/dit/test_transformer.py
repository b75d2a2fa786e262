import hashlib

import pytest
import torch
from torch import Tensor

from wanctl.model.dit.transformer import WanModel, sinusoid
from wanctl.model.variants import DiTShape

SMALL = DiTShape(
    dim=48, ffn_dim=80, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
    text_dim=24, text_len=7, freq_dim=16,
)  # fmt: skip


def random_model(shape: DiTShape = SMALL, precision: str = "fast", seed: int = 0) -> WanModel:
    """A model whose every parameter matters: nothing is zero or one."""
    model = WanModel(shape, precision)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        scale = 0.3 if parameter.ndim < 2 or "modulation" in name else parameter[0].numel() ** -0.5
        parameter.data = noise * scale + (1.0 if "norm" in name and name.endswith("weight") else 0)
    return model.eval()


def random_inputs(shape: DiTShape, grid: tuple[int, int, int], batch: int = 2):
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(batch, shape.in_channels, *grid, generator=generator)
    context = torch.randn(batch, shape.text_len, shape.text_dim, generator=generator)
    context[:, shape.text_len // 2 :] = 0
    return latents, torch.tensor([999.0, 41.5])[:batch], context


def fingerprint(model: WanModel) -> tuple[str, int]:
    parts = []
    state = model.state_dict()
    for name, tensor in state.items():
        parts += [name, f"{name}:{'_'.join(map(str, tensor.shape))}"]
    return hashlib.md5(",".join(sorted(parts)).encode()).hexdigest(), len(state)


def test_sinusoid_has_the_official_values():
    waves = sinusoid(torch.tensor([999]), 256)[0]
    expected = torch.tensor([0.99964988, 0.96378249, -0.39899176])
    torch.testing.assert_close(waves[:3], expected, atol=1e-7, rtol=0)
    expected = torch.tensor([-0.02646075, -0.26668957, -0.91695452])
    torch.testing.assert_close(waves[128:131], expected, atol=1e-7, rtol=0)


def test_untrained_model_predicts_zero_and_is_drawn_by_its_seed():
    first = WanModel(SMALL).init_weights(torch.Generator().manual_seed(3))
    second = WanModel(SMALL).init_weights(torch.Generator().manual_seed(3))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    assert first(*random_inputs(SMALL, (2, 4, 6))).abs().max() == 0
    assert 0.015 < first.time_embedding[0].weight.std() < 0.025


def test_precisions_agree_in_fp32():
    latents, timesteps, context = random_inputs(SMALL, (3, 6, 10))
    fast, reference = random_model(), random_model(precision="reference")
    with torch.no_grad():
        ours = fast(latents, timesteps, context)
        theirs = reference(latents, timesteps, context)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_one_timestep_serves_a_batch():
    latents, _, context = random_inputs(SMALL, (1, 4, 4))
    model = random_model()
    with torch.no_grad():
        shared = model(latents, torch.tensor([500.0]), context)
        each = model(latents, torch.tensor([500.0, 500.0]), context)
        expanded = model(latents, torch.tensor(500.0).expand(2), context)
    torch.testing.assert_close(shared, each, atol=2e-6, rtol=0)
    assert torch.equal(expanded, each)  # values count, not the layout of memory


def gradients(model: WanModel, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    model.train().zero_grad()
    model(*inputs).square().mean().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_gradients_are_complete_and_equal_in_every_precision_and_with_checkpointing():
    inputs = random_inputs(SMALL, (2, 4, 6))
    plain = gradients(random_model(precision="reference"), inputs)
    fast = random_model()
    kept = gradients(fast, inputs)
    for block in fast.blocks:
        block.recompute_pointwise = True
    recomputed = gradients(fast, inputs)
    assert set(plain) == set(kept) == set(recomputed) == {n for n, _ in fast.named_parameters()}
    for name, gradient in plain.items():
        torch.testing.assert_close(kept[name], gradient, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(recomputed[name], kept[name], atol=0, rtol=0)


def test_evaluation_mode_equals_training_mode_and_keeps_its_inputs():
    inputs = random_inputs(SMALL, (2, 4, 6))
    copies = [x.clone() for x in inputs]
    model = random_model()
    with torch.no_grad():
        sampled = model(*inputs)
    trained = model.train()(*inputs)
    torch.testing.assert_close(sampled, trained.detach(), atol=2e-6, rtol=0)
    assert all(torch.equal(x, y) for x, y in zip(inputs, copies, strict=True))


def test_bf16_keeps_small_parts_and_output_in_fp32():
    model = random_model().cast(torch.bfloat16)
    assert model.blocks[0].self_attn.q.weight.dtype == torch.bfloat16
    kept = (model.head.head.weight, model.blocks[0].modulation, model.time_projection[1].bias)
    assert all(p.dtype == torch.float32 for p in kept)
    with torch.no_grad():
        assert model(*random_inputs(SMALL, (1, 4, 4))).dtype == torch.float32


@pytest.mark.parametrize(
    ("grid", "steps", "channels", "message"),
    [
        ((1, 5, 4), 2, 4, "rows and columns must be even"),
        ((1, 4, 4), 3, 4, "timesteps"),
        ((1, 4, 4), 2, 5, "latents"),
    ],
)
def test_misshapen_inputs_are_named(grid, steps, channels, message):
    model = random_model()
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(2, channels, *grid), torch.zeros(steps), torch.zeros(2, 7, 24))


@pytest.mark.parametrize("precision", ["fast", "reference"])
def test_the_mode_decides_and_not_whether_gradients_are_recorded(precision):
    model, inputs = random_model(precision=precision), random_inputs(SMALL, (2, 4, 6))
    for mode in (model.eval, model.train):
        mode()
        recorded = model(*inputs).detach()
        with torch.no_grad():
            assert torch.equal(model(*inputs), recorded)
