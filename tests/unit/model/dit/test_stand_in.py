"""The network of Stand-In: its base without a face, and one masked sequence with one."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from wanctl.diffusion import guidance
from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.distributed.cfg_parallel import CFGParallel
from wanctl.distributed.mesh import Axis
from wanctl.model.dit.networks import make_dit
from wanctl.model.dit.rope import rope_table
from wanctl.model.dit.transformer import embed_patches, sinusoid
from wanctl.model.variants import DiTShape

BASE = DiTShape(dim=24, ffn_dim=32, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
                text_dim=8, text_len=6, freq_dim=16)  # fmt: skip
FACED = replace(BASE, face_rank=4)
GRID, FACE_GRID = (3, 2, 3), (1, 4, 4)


def random(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


X, TEXT, FACE = random(2, 4, 3, 4, 6), random(2, 6, 8, seed=1), random(1, 4, 8, 8, seed=2)
TIME = torch.tensor([300.0, 700.0])


def network(shape=FACED, precision="fast"):
    model = make_dit(shape, precision).eval()
    generator = torch.Generator().manual_seed(1)
    for _, parameter in sorted(model.named_parameters(), key=lambda each: "loras" in each[0]):
        nn.init.normal_(parameter, std=0.15, generator=generator)
    return model


def with_face(model, x=X, time=TIME, text=TEXT):
    return model(x, time, text, face=model.read_face(FACE, X.shape[-2:]))


@torch.no_grad()
def test_without_a_face_it_is_its_base():
    base, faced = network(BASE), network()
    assert torch.equal(faced(X, TIME, TEXT), base(X, TIME, TEXT))
    assert (with_face(faced) - base(X, TIME, TEXT)).abs().max() > 0.05


@torch.no_grad()
def test_it_computes_one_sequence_in_which_the_face_sees_itself_alone():
    model = network()
    got = with_face(model)
    dim, heads, count = FACED.dim, FACED.num_heads, GRID[0] * GRID[1] * GRID[2]
    times = torch.stack((TIME, torch.zeros(2)))  # of the video, of the face
    e = model.time_embedding(sinusoid(times.flatten(), FACED.freq_dim))
    e6 = model.time_projection(e).view(2, 2, 6, dim)
    parts = (
        embed_patches(X, model.patch_embedding),
        embed_patches(FACE.expand(2, -1, -1, -1)[:, :, None], model.patch_embedding),
    )
    x, text = torch.cat(parts, dim=1), model.text_embedding(TEXT)
    is_face = torch.arange(x.shape[1]) >= count
    where = is_face.long()
    tables = [
        rope_table(grid, FACED.head_dim, torch.float64, torch.device("cpu"), start)
        for grid, start in ((GRID, (0, 0, 0)), (FACE_GRID, (-1, *GRID[1:])))
    ]
    cos, sin = (torch.cat(both) for both in zip(*tables, strict=True))
    mask = ~is_face[:, None] | is_face[None]  # rows that are the face's see its columns alone

    def rotate(t):
        even, odd = t.double().unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).float()

    def rms(t, norm):
        t = t * torch.rsqrt(t.pow(2).mean(-1, keepdim=True) + FACED.eps) * norm.weight
        return t.unflatten(2, (heads, -1))

    def attend(layer, q, k, v, mask=None):
        y = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)), attn_mask=mask)
        return layer.o(y.transpose(1, 2).flatten(2))

    for block in model.blocks:
        each = (block.modulation + e6)[where].transpose(0, 1)  # (B, L, 6, D)
        shift, scale, gate, shift2, scale2, gate2 = each.unbind(2)
        u = F.layer_norm(x, (dim,), eps=FACED.eps) * (1 + scale) + shift
        layer = block.self_attn
        q, k, v = (
            linear(u) + more(u) * is_face[:, None]
            for linear, more in (
                (layer.q, layer.q_loras), (layer.k, layer.k_loras), (layer.v, layer.v_loras),
            )
        )  # fmt: skip
        q, k = rotate(rms(q, layer.norm_q)), rotate(rms(k, layer.norm_k))
        x = x + gate * attend(layer, q, k, v.unflatten(2, (heads, -1)), mask)
        u = F.layer_norm(x, (dim,), block.norm3.weight, block.norm3.bias, FACED.eps)
        layer = block.cross_attn
        q, k = rms(layer.q(u), layer.norm_q), rms(layer.k(text), layer.norm_k)
        y = attend(layer, q, k, layer.v(text).unflatten(2, (heads, -1)))
        x = x + y * ~is_face[:, None]
        u = F.layer_norm(x, (dim,), eps=FACED.eps) * (1 + scale2) + shift2
        x = x + gate2 * block.ffn(u)
    shift, scale = (model.head.modulation + e[:2, None])[:, :, None].unbind(1)
    x = F.layer_norm(x[:, :count], (dim,), eps=FACED.eps) * (1 + scale) + shift
    x = model.head.head(x).view(2, *GRID, 2, 2, 4).permute(0, 6, 1, 2, 4, 3, 5).reshape(X.shape)
    assert got.std() > 0.3
    assert (got - x).abs().max() <= 2e-5


class Counted:
    """A model that counts how often the face is read."""

    def __init__(self, model):
        self.model, self.reads = model, 0
        self.can_precompute_cross_attention = False

    def __call__(self, *args, **more):
        return self.model(*args, **more)

    def read_face(self, *args):
        self.reads += 1
        return self.model.read_face(*args)


@pytest.mark.parametrize("batched_tokens", [0, 1024])
@torch.no_grad()
def test_a_sample_reads_the_face_once(monkeypatch, batched_tokens):
    monkeypatch.setattr(guidance, "BATCHED_TOKENS", batched_tokens)
    model = Counted(network())
    conditions = Conditions(TEXT, face=FACE).repeated(2).with_context(TEXT)
    schedule = make_schedule("euler", 3, 5.0)
    got = generate(
        model, noise=X, conditions=conditions, negative_context=-TEXT, guide_scale=3.0,
        schedule=schedule, solver="euler",
    )  # fmt: skip
    assert model.reads == 1
    x, sigmas = X, schedule.sigmas.tolist()
    for step, t in enumerate(schedule.timesteps):
        shown = with_face(model.model, x, t[None], TEXT)
        hidden = with_face(model.model, x, t[None], -TEXT)
        x = x + (sigmas[step + 1] - sigmas[step]) * (hidden + 3 * (shown - hidden))
    assert (got - x).abs().max() <= 1e-4


@torch.no_grad()
def test_each_process_of_cfg_parallel_reads_the_face(monkeypatch):
    model = CFGParallel(network(), Axis(0, 1, None))
    keys = model.read_face(FACE, X.shape[-2:])
    assert torch.equal(model(X, TIME, TEXT, face=keys), with_face(network()))


def test_processes_that_share_tokens_are_refused():
    model = network()
    keys = model.read_face(FACE, X.shape[-2:])
    model.context_parallel = object()
    with pytest.raises(ValueError, match="cannot share the tokens"):
        model(X, TIME, TEXT, face=keys)


def test_new_matrices_change_nothing_of_the_base_s_projections():
    attention = make_dit(FACED).blocks[0].self_attn
    assert not attention.q_loras.up.weight.any()
    assert attention.q_loras.down.weight.std() > 0.1
