"""Sparse attention against masks over all pairs of tokens, and a network of its blocks."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from wanctl.model.dit.attention import attention
from wanctl.model.dit.distilled import chosen_blocks
from wanctl.model.dit.distilled.sla import KEY_BLOCK, QUERY_BLOCK, LinearBranch, attend_to_blocks
from wanctl.model.dit.distilled.vsa import Tiles, attend_to_tiles
from wanctl.model.dit.networks import make_dit
from wanctl.model.variants import DiTShape

BASE = DiTShape(dim=24, ffn_dim=32, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
                text_dim=8, text_len=6, freq_dim=16)  # fmt: skip
KINDS = ("vsa", "sla")
GRID = (6, 7, 9)  # no side is a multiple of a tile's
LENGTH = 6 * 7 * 9


def random(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


Q, K, V, GATE = (random(2, LENGTH, 3, 8, seed=seed) for seed in range(4))


def masked(q, k, v, mask_NLS):
    """Plain attention of one item, (L, N, K), in fp64."""
    q, k, v = (each.double().transpose(0, 1) for each in (q, k, v))
    scores = q @ k.mT * q.shape[-1] ** -0.5
    return (scores.masked_fill(~mask_NLS, -torch.inf).softmax(-1) @ v).transpose(0, 1)


def test_vsa_is_attention_to_the_best_tiles_and_of_their_means():
    tile_of = torch.tensor([
        (t // 4) * 6 + (y // 4) * 3 + x // 4 for t, y, x in itertools.product(*map(range, GRID))
    ])  # fmt: skip
    expected = []
    for q, k, v, gate in zip(Q, K, V, GATE, strict=True):
        means = [
            torch.stack([each.double()[tile_of == tile].mean(0) for tile in range(12)], dim=1)
            for each in (q, k, v)
        ]
        scores = means[0] @ means[1].mT * 8**-0.5
        coarse = scores.softmax(-1) @ means[2]
        best = scores.argsort(-1, descending=True)[:, :, :5]  # ceil of (1 - .6) * 12
        chosen = torch.zeros(3, 12, 12, dtype=torch.bool).scatter_(2, best, value=True)
        mask = chosen[:, tile_of][:, :, tile_of]
        expected.append(masked(q, k, v, mask) + coarse[:, tile_of].transpose(0, 1) * gate)
    tiles = Tiles.of(GRID, torch.device("cpu"))
    got = attend_to_tiles(attention, Q, K, V, gate_BLNK=GATE, tiles=tiles, sparsity=0.6)
    assert not tiles.full
    torch.testing.assert_close(got, torch.stack(expected).float(), rtol=0, atol=2e-6)


def test_sla_is_attention_to_the_best_blocks_and_a_projected_linear_one():
    branch = LinearBranch(replace(BASE, dim=24, num_heads=3))
    nn.init.normal_(branch.proj_l.weight, generator=torch.Generator().manual_seed(9))
    query_blocks = torch.arange(LENGTH) // QUERY_BLOCK
    key_blocks = torch.arange(LENGTH) // KEY_BLOCK
    expected = []
    for q, k, v in zip(Q, K, V, strict=True):
        q, k, v = q.double(), k.double(), v.double()
        mean_q = torch.stack([q[query_blocks == block].mean(0) for block in range(3)], 1)
        mean_k = torch.stack([k[key_blocks == block].mean(0) for block in range(6)], 1)
        best = (mean_q @ mean_k.mT).argsort(-1, descending=True)[:, :, :2]  # floor of .4 * 6
        chosen = torch.zeros(3, 3, 6, dtype=torch.bool).scatter_(2, best, value=True)
        sparse = masked(q, k, v, chosen[:, query_blocks][:, :, key_blocks])
        features = [each.softmax(-1) for each in (q, k)]
        weights = torch.einsum("lnk,snk->nls", *features)
        linear = torch.einsum("nls,snk->lnk", weights, v)
        linear = linear / (1e-5 + weights.sum(-1).T[:, :, None])
        projected = linear @ branch.proj_l.weight.double().T + branch.proj_l.bias.double()
        expected.append(sparse + projected)
    with torch.no_grad():
        got = attend_to_blocks(attention, Q, K, V, branch=branch, sparsity=0.6)
    torch.testing.assert_close(got, torch.stack(expected).float(), rtol=0, atol=1e-5)


def test_pieces_of_queries_give_the_same(monkeypatch):
    tiles = Tiles.of(GRID, torch.device("cpu"))
    whole = attend_to_tiles(attention, Q, K, V, gate_BLNK=GATE, tiles=tiles, sparsity=0.8)
    monkeypatch.setattr(chosen_blocks, "CPU_NUMBERS", 1)
    pieces = attend_to_tiles(attention, Q, K, V, gate_BLNK=GATE, tiles=tiles, sparsity=0.8)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("sparsity", "count", "up", "kept"),
    [(0.9, 100, False, 10), (0.9, 9, False, 1), (0.8, 100, True, 20), (0.8, 364, True, 73),
     (0.0, 7, False, 7), (0.999, 3, True, 1)],
)  # fmt: skip
def test_the_number_of_blocks_is_the_authors(sparsity, count, up, kept):
    assert chosen_blocks.blocks_kept(sparsity, count, up=up) == kept


X, TEXT, TIME = random(2, 4, 5, 12, 20), random(2, 6, 8, seed=1), torch.tensor([300.0, 700.0])


def network(kind, *, drawn=True):
    model = make_dit(replace(BASE, sparse_attention=kind)).eval()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        added = "proj_l" in name or "gate_compress" in name
        if drawn or not added:
            own = torch.Generator().manual_seed(2) if added else generator
            nn.init.normal_(parameter, std=0.2, generator=own)
    return model


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_without_sparsity_an_untrained_branch_changes_nothing(kind):
    base, sparse = network(""), network(kind, drawn=False)
    expected = base(X, TIME, TEXT)
    torch.testing.assert_close(sparse(X, TIME, TEXT, sparsity=0.0), expected, rtol=0, atol=1e-6)
    drawn = network(kind)
    full, published = drawn(X, TIME, TEXT, sparsity=0.0), drawn(X, TIME, TEXT)
    assert (full - expected).abs().max() > 1e-2
    assert (published - full).abs().max() > 1e-3
    same = {"vsa": 0.8, "sla": 0.9}[kind]
    assert torch.equal(drawn(X, TIME, TEXT, sparsity=same), published)
    # another size after the first, whose tiles are kept
    assert drawn(X[:, :, :3], TIME, TEXT).shape == (2, 4, 3, 12, 20)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_without_recomputation(kind):
    gradients = []
    for recompute in (False, True):
        model = network(kind).train()
        for block in model.blocks:
            block.recompute_pointwise = recompute
        model(X, TIME, TEXT).square().mean().backward()
        gradients.append({name: each.grad for name, each in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-7)
    assert any("gate_compress" in name or "proj_l" in name for name in gradients[0])
