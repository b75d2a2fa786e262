"""Prompts read once against prompts read at every step."""

from dataclasses import replace

import pytest
import torch

from wanctl.model.dit.context import fold_padding
from wanctl.model.variants import DiTShape

SMALL = DiTShape(
    dim=48, ffn_dim=80, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
    text_dim=24, text_len=64, freq_dim=16,
)  # fmt: skip
GRID = (3, 6, 10)
# Measured: 2.4e-7 to 2.2e-6 in fp32, by processor; the outputs are of the order of 1.
ATOL = 2e-5


def noisy(grid=GRID) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 4, *grid, generator=generator), torch.tensor([999.0, 41.5])


def texts(*lengths: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    context = torch.randn(len(lengths), 64, SMALL.text_dim, generator=generator)
    for row, length in zip(context, lengths, strict=True):
        row[length:] = 0
    return context


def both_ways(model, latents, timesteps, context, image=None, **more):
    with torch.no_grad():
        plain = model(latents, timesteps, context, image_BIE=image, **more)
        read = model.precompute_cross_attention(context, image)
        return plain, model(latents, timesteps, read, **more), read


@pytest.mark.parametrize("precision", ["fast", "reference"])
@pytest.mark.parametrize("lengths", [(5, 5), (5, 40), (0, 3), (63, 1), (64, 7), (0, 0)])
def test_precomputed_cross_attention_gives_the_same_velocity(random_dit, precision, lengths):
    model = random_dit(SMALL, precision)
    latents, timesteps = noisy()
    plain, read, kept = both_ways(model, latents, timesteps, texts(*lengths))
    assert plain.abs().max() > 0.5
    torch.testing.assert_close(read, plain, atol=ATOL, rtol=0)
    assert kept.blocks[0].k.shape[1] == min(max(lengths) + 1, 64)


def test_one_precomputation_serves_all_steps_and_sizes(random_dit):
    model, context = random_dit(SMALL), texts(9, 30)
    with torch.no_grad():
        read = model.precompute_cross_attention(context)
        for grid, t in ((GRID, 999.0), (GRID, 20.0), ((1, 4, 4), 500.0)):
            latents = noisy(grid)[0]
            plain = model(latents, torch.tensor([t]), context)
            torch.testing.assert_close(
                model(latents, torch.tensor([t]), read), plain, atol=ATOL, rtol=0
            )


def test_image_tokens_and_control_blocks_are_precomputed_as_well(random_dit):
    shape = replace(SMALL, image_dim=12, vace_layers=(0, 1), vace_channels=6)
    model = random_dit(shape)
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(2, 5, 12, generator=generator)
    control = torch.randn(2, 6, *GRID, generator=generator)
    latents, timesteps = noisy()
    plain, read, kept = both_ways(
        model, latents, timesteps, texts(4, 11), image, control_BCTYX=control
    )
    torch.testing.assert_close(read, plain, atol=ATOL, rtol=0)
    assert len(kept.control) == 2
    other = both_ways(
        model, latents, timesteps, texts(4, 11), image.roll(1, 2), control_BCTYX=control
    )
    assert (other[1] - read).abs().max() > 1e-3


def test_half_precision_repeats_the_padding_instead_of_weighing_it(random_dit):
    model = random_dit(SMALL).cast(torch.bfloat16)
    latents, timesteps = noisy()
    plain, read, _ = both_ways(model, latents, timesteps, texts(5, 20))
    # The products over fewer rows may round differently in bf16.
    torch.testing.assert_close(read, plain, atol=2e-2, rtol=0)


def test_padding_is_shared_out_between_the_kept_rows():
    folded, padding = fold_padding(texts(2, 5))
    assert folded.shape[1] == 6
    assert padding is not None
    torch.testing.assert_close(padding.bias.exp().sum(dim=3).flatten(), torch.tensor([64.0, 64.0]))
    assert padding.rows[0].tolist() == [0, 1] + [2] * 62
    assert padding.rows[1].tolist() == [0, 1, 2, 3, 4] + [5] * 59
    assert fold_padding(texts(64, 2))[1] is None


def test_the_precomputed_context_of_another_model_is_refused(random_dit):
    model, other = random_dit(SMALL), random_dit(replace(SMALL, num_layers=3))
    latents, timesteps = noisy()
    with torch.no_grad(), pytest.raises(ValueError, match="for 3 blocks; need 2 for 2"):
        model(latents, timesteps, other.precompute_cross_attention(texts(1, 2)))
