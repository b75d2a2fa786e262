"""The VAE on a GPU against itself on the CPU, with gradients; partial softmaxes merged."""

from dataclasses import replace

import pytest
import torch

from wanctl.distributed.ring_attention import attend_partial, merge
from wanctl.model.dit.attention import attention
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder, shape_for
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


def gradients_of(vae, video) -> dict[str, torch.Tensor]:
    """Of the mean squared error; that of L1 would jump where a rounding changes a sign."""
    vae.zero_grad()
    reconstruction = vae.decode(vae.encode(video), clamp=False)
    (reconstruction - video).square().mean().backward()
    return {name: p.grad.cpu() for name, p in vae.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_gradients_on_the_gpu_are_those_on_the_cpu(name, checkpointing):
    vae = random_vae(name).train()
    vae.checkpointing = checkpointing
    video = torch.rand(1, 3, 5, 32, 48) * 2 - 1
    expected = gradients_of(vae, video)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = gradients_of(vae.to(DEVICE), video.to(DEVICE))
    assert found.keys() == expected.keys()
    for parameter, gradient in expected.items():
        assert distance(found[parameter], gradient) < 1e-3, parameter


@torch.no_grad()
@pytest.mark.parametrize("dtype", WORST)
@pytest.mark.parametrize("name", SHAPES)
def test_tiny_decoders_on_the_gpu_are_those_on_the_cpu(name, dtype):
    torch.manual_seed(0)
    decoder = TinyDecoder(shape_for(SHAPES[name], 32)).eval()
    latents = torch.randn(1, SHAPES[name].z_dim, 3, 6, 8)
    expected = decoder.decode(latents)
    decoder.to(DEVICE, dtype)
    pieces = list(decoder.decode_frames(latents.to(DEVICE)))
    for found in (decoder.decode(latents.to(DEVICE)), torch.cat(pieces, dim=2)):
        assert found.dtype == dtype
        assert distance(found, expected) < WORST[dtype]


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
