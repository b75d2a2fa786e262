"""VAE decode at 480x832x81 against diffusers: seconds, error, memory.

In bf16, and in fp32, which is what `wanctl sample` decodes in. `ours` decodes one latent frame at a
time like diffusers, `ours_4` four. Both hold the same weights; errors are relative distances from
a decode in fp32 without TF32. Bars (H100, bf16): at least 2x as fast, at most 1.0 s.
"""

import json
from collections.abc import Mapping

import torch
from diffusers import AutoencoderKLWan
from gpu_meter import BF16, CUDA, added_mb, distance, forget, waiting
from harness import Arm, compare
from torch import Tensor

from wanctl.checkpoint.key_tables import to_diffusers, vae_key_table
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import VAEShape

LATENTS = (1, 16, 21, 60, 104)
DTYPES = {"bf16": BF16, "fp32": torch.float32}


def run(
    shape: VAEShape = VAEShape(),  # noqa: B008
    latents: tuple[int, ...] = LATENTS,
    device: torch.device = CUDA,
    *,
    repeats: int = 5,
) -> dict[str, float]:
    """Speed as a multiple of diffusers', errors and memory in each number format."""
    torch.manual_seed(0)
    with torch.device(device):
        weights = WanVAE(shape).state_dict()
        z = torch.randn(latents)
    figures: dict[str, float] = {}
    # Convolutions are in TF32 by default.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        truth = arms_in(torch.float32, shape, weights, z)["ours"]()
    for name, dtype in DTYPES.items():
        arms = arms_in(dtype, shape, weights, z)
        for arm, call in arms.items():
            figures[f"{name}.{arm}_error"] = distance(call(), truth)
        figures |= compare(name, arms, repeats) | added_mb(name, arms, device)
        del arms
        forget(device)
    return figures


def arms_in(
    dtype: torch.dtype, shape: VAEShape, weights: Mapping[str, Tensor], z: Tensor
) -> dict[str, Arm]:
    """Normalised latents to a whole video on the device."""
    with torch.device("meta"):
        vae = WanVAE(shape)
    vae.load_state_dict(weights, assign=True)
    vae.to(dtype).eval()
    peer = peer_of(shape, weights, z.device, dtype)
    raw = vae.denormalise(z).to(dtype)
    arms: dict[str, Arm] = {
        "ours": lambda: vae.decode(z, chunked=True),
        "ours_4": lambda: torch.cat(list(vae.decode_frames(z, latent_frames=4)), dim=2),
        "diffusers": lambda: peer.decode(raw, return_dict=False)[0],
    }
    return {name: waiting(arm, z.device) for name, arm in arms.items()}


def peer_of(
    shape: VAEShape, weights: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
) -> AutoencoderKLWan:
    """diffusers' VAE with these weights."""
    with torch.device(device):
        peer = AutoencoderKLWan(base_dim=shape.dim)
    names = to_diffusers(weights, vae_key_table(shape))
    peer.load_state_dict({names[name]: tensor for name, tensor in weights.items()})
    for parameter in peer.parameters():  # its own `to` warns of things that it does not have
        parameter.data = parameter.data.to(dtype)
    return peer.eval()


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
