"""The VAE on a GPU against itself on the CPU, chunked and at once; partial softmaxes merged."""

from dataclasses import replace

import pytest
import torch

from wanctl.distributed.ring_attention import attend_partial, merge
from wanctl.model.dit.attention import attention
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import WAN22_VAE, VAEShape

# What drivers and compilers of other releases warn of is no failure.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

DEVICE = torch.device("cuda")
SHAPES = {"2.1": VAEShape(dim=16), "2.2": replace(WAN22_VAE, dim=16, decoder_dim=16)}
# fp32 convolutions take TF32, which has the digits of fp16; bf16 on the CPU: 0.014 and 0.020.
WORST = {torch.float32: 1e-2, torch.bfloat16: 0.04}


def random_vae(name) -> WanVAE:
    torch.manual_seed(0)
    return WanVAE(SHAPES[name]).eval()


def distance(a, b) -> float:
    a, b = a.float().cpu(), b.float().cpu()
    return ((a - b).norm() / b.norm()).item()


@torch.no_grad()
@pytest.mark.parametrize("dtype", WORST)
@pytest.mark.parametrize("name", SHAPES)
def test_decoding_on_the_gpu_is_that_on_the_cpu(name, dtype):
    vae = random_vae(name)
    latents = torch.randn(1, vae.shape.z_dim, 3, 6, 8)
    expected = vae.decode(latents)
    vae.to(DEVICE, dtype)
    at_once = vae.decode(latents.to(DEVICE))
    assert at_once.dtype == dtype
    assert at_once.device.type == DEVICE.type
    assert distance(at_once, expected) < WORST[dtype]
    for size in (1, 2):
        pieces = list(vae.decode_frames(latents.to(DEVICE), latent_frames=size))
        assert distance(torch.cat(pieces, dim=2), expected) < WORST[dtype]


@torch.no_grad()
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("name", SHAPES)
def test_encoding_on_the_gpu_is_that_on_the_cpu(name, chunked):
    vae = random_vae(name)
    video = torch.rand(1, 3, 9, 64, 96) * 2 - 1
    expected = vae.encode(video)
    latents_on_gpu = vae.to(DEVICE).encode(video.to(DEVICE), chunked=chunked)
    assert distance(latents_on_gpu, expected) < WORST[torch.float32]


@torch.no_grad()
@pytest.mark.parametrize("dtype", WORST)
@pytest.mark.parametrize("cuts", [(200, 200), (333, 67)])
def test_partial_softmaxes_merge_exactly(dtype, cuts):
    q, k, v = torch.randn(3, 1, 400, 4, 128, device=DEVICE, dtype=dtype).unbind()
    one, other = (
        attend_partial(q, some_k, some_v)
        for some_k, some_v in zip(k.split(cuts, 1), v.split(cuts, 1), strict=True)
    )
    assert distance(merge(one, other).output, attention(q, k, v)) < 2e-2
