"""The network of ReCamMaster: its base at the start, and its blocks from their formula."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from wanctl.model.dit.networks import make_dit
from wanctl.model.dit.rope import rope_table
from wanctl.model.dit.subjects.recamera import PosedModel
from wanctl.model.dit.transformer import WanModel, embed_patches, sinusoid
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import DiTShape

BASE = DiTShape(dim=24, ffn_dim=32, num_layers=2, num_heads=2, in_channels=4, out_channels=4,
                text_dim=8, text_len=6, freq_dim=16)  # fmt: skip
POSED = replace(BASE, pose_numbers=12)


def random(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


X, TEXT, POSES = random(2, 4, 4, 4, 6), random(2, 6, 8, seed=1), random(2, 2, 12, seed=2)
TIME = torch.tensor([300.0, 700.0])


def network(shape, precision="fast"):
    model = make_dit(shape, precision).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.15, generator=generator)
    return model


@torch.no_grad()
def test_at_the_start_it_is_its_base_with_the_source_behind_the_video():
    base, posed = network(BASE), make_dit(POSED).eval()
    missing, unexpected = posed.load_state_dict(base.state_dict(), strict=False)
    assert not unexpected
    assert {name.split(".")[2] for name in missing} == {"cam_encoder", "projector"}
    assert base(X, TIME, TEXT).abs().max() > 0.1
    assert torch.equal(posed(X, TIME, TEXT, poses_BTP=POSES), base(X, TIME, TEXT))


@torch.no_grad()
def test_it_computes_what_its_formula_says():
    model = network(POSED)
    got = model(X, TIME, TEXT, poses_BTP=POSES)
    dim, heads = POSED.dim, POSED.num_heads
    e = model.time_embedding(sinusoid(TIME, POSED.freq_dim))
    e6 = model.time_projection(e).unflatten(1, (6, dim))
    text, x = model.text_embedding(TEXT), embed_patches(X, model.patch_embedding)
    grid = (4, 2, 3)
    cos, sin = rope_table(grid, POSED.head_dim, torch.float64, torch.device("cpu"))

    def rotate(t):
        even, odd = t.double().unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).float()

    def attend(layer, u, context, turn):
        def rms(t, norm):
            return t * torch.rsqrt(t.pow(2).mean(-1, keepdim=True) + POSED.eps) * norm.weight

        q, k = rms(layer.q(u), layer.norm_q), rms(layer.k(context), layer.norm_k)
        q, k, v = (t.unflatten(2, (heads, -1)) for t in (q, k, layer.v(context)))
        q, k = (rotate(q), rotate(k)) if turn else (q, k)
        y = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)))
        return layer.o(y.transpose(1, 2).flatten(2))

    for block in model.blocks:
        shift, scale, gate, shift2, scale2, gate2 = (block.modulation + e6)[:, :, None].unbind(1)
        poses = block.cam_encoder(POSES)  # one per latent frame, for the video and for its source
        poses = torch.cat((poses, poses), dim=1).repeat_interleave(grid[1] * grid[2], dim=1)
        u = F.layer_norm(x, (dim,), eps=POSED.eps) * (1 + scale) + shift + poses
        x = x + gate * block.projector(attend(block.self_attn, u, u, True))
        u = F.layer_norm(x, (dim,), block.norm3.weight, block.norm3.bias, POSED.eps)
        x = x + attend(block.cross_attn, u, text, False)
        u = F.layer_norm(x, (dim,), eps=POSED.eps) * (1 + scale2) + shift2
        x = x + gate2 * block.ffn(u)
    shift, scale = (model.head.modulation + e[:, None])[:, :, None].unbind(1)
    x = model.head.head(F.layer_norm(x, (dim,), eps=POSED.eps) * (1 + scale) + shift)
    x = x.view(2, *grid, 2, 2, 4).permute(0, 6, 1, 2, 4, 3, 5).reshape(X.shape)
    assert got.std() > 0.3
    assert (got - x).abs().max() <= 2e-5


@torch.no_grad()
def test_every_precision_and_the_cache_of_the_prompt_give_the_same():
    fast, exact = network(POSED), network(POSED, "reference")
    expected = exact(X, TIME, TEXT, poses_BTP=POSES)
    assert (fast(X, TIME, TEXT, poses_BTP=POSES) - expected).abs().max() <= 2e-5
    cached = fast(X, TIME, fast.precompute_cross_attention(TEXT), poses_BTP=POSES)
    assert (cached - expected).abs().max() <= 2e-5


def test_training_recomputes_the_poses_for_its_gradients():
    model = network(POSED).train()
    gradients = []
    for recompute in (False, True):
        for block in model.blocks:
            block.recompute_pointwise = recompute
        model.zero_grad()
        model(X, TIME, TEXT, poses_BTP=POSES).square().sum().backward()
        gradients.append(model.blocks[0].cam_encoder.weight.grad.clone())
    assert gradients[0].abs().max() > 0
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("poses", [POSES[:1], POSES[:, :1], POSES[..., :11]])
def test_poses_of_other_sizes_are_refused(poses):
    with pytest.raises(ValueError, match="poses: got "):
        network(POSED)(X, TIME, TEXT, poses_BTP=poses)


def test_the_published_layout_has_945_tensors_and_71_million_more_parameters():
    with torch.device("meta"):
        model = make_dit(VARIANTS["recammaster-1.3b"].dit)
        base = make_dit(VARIANTS["wan2.1-t2v-1.3b"].dit)
    assert isinstance(model, PosedModel)
    assert type(base) is WanModel
    more = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in base.parameters())
    assert (len(model.state_dict()), round(more / 1e5)) == (945, 714)
