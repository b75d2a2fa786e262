"""Folders in the published layout, of models with a few thousand parameters."""

from dataclasses import replace

import torch
from safetensors.torch import load_file, save_file

from wanctl.checkpoint.expected import image_shapes, text_shapes
from wanctl.checkpoint.files.tensor_files import iterate_tensors
from wanctl.checkpoint.save import save_dit
from wanctl.model.dit.networks import make_dit
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import FaceShape, SpeechShape, Variant

FACE = FaceShape(channels=(8, 8, 12), style=10, motions=4, width=12, hidden=8, heads=2, every=2)
PUBLISHED = [name for name, variant in VARIANTS.items() if variant.hub]


def random_state(shapes, dtype=torch.float32, scale=1.0):
    generator = torch.Generator().manual_seed(7)
    return {n: (scale * torch.randn(s, generator=generator)).to(dtype) for n, s in shapes.items()}


def published_text(width, inner, hidden, layers, heads, vocabulary):
    telling = {
        "token_embedding.weight": (vocabulary, width),
        "blocks.0.attn.q.weight": (inner, width),
        "blocks.0.ffn.fc1.weight": (hidden, width),
        "blocks.0.pos_embedding.embedding.weight": (32, heads),
    }
    return text_shapes(telling | {f"blocks.{i}.norm1.weight": (width,) for i in range(layers)})


def published_image(width, hidden, layers, patch, tokens):
    telling = {
        "visual.patch_embedding.weight": (width, 3, patch, patch),
        "visual.pos_embedding": (1, tokens, width),
        "visual.transformer.0.mlp.0.weight": (hidden, width),
    }
    rows = {f"visual.transformer.{i}.norm1.weight": (width,) for i in range(layers)}
    return image_shapes(telling | rows)


def shrunken(variant: Variant) -> Variant:
    """A variant of the same kind with a few thousand parameters."""
    dit = replace(
        variant.dit,
        dim=32, ffn_dim=40, num_layers=4, num_heads=2, text_dim=16, freq_dim=8,
        image_dim=variant.dit.image_dim and 80,
        image_tokens=variant.dit.image_tokens and 10,
        vace_layers=(0, 2) if variant.dit.vace_layers else (),
        face=variant.dit.face and FACE,
        speech=SpeechShape(3, 12, 2, (0, 2)) if variant.dit.speech else None,
    )  # fmt: skip
    decoder = variant.vae.decoder_dim and 4
    return replace(variant, dit=dit, vae=replace(variant.vae, dim=4, decoder_dim=decoder))


def write_official(folder, name: str):
    """Write a folder in the published layout, of a shrunken model."""
    variant = shrunken(VARIANTS[name])
    experts = {"": 1} if variant.experts == 1 else {"high_noise_model": 1, "low_noise_model": 2}
    for place, seed in experts.items():
        model = make_dit(variant.dit).init_weights(torch.Generator().manual_seed(seed))
        generator = torch.manual_seed(seed)
        for parameter in model.parameters():  # no norm of one, no bias of zero
            width = max(parameter[0].numel(), 4)
            parameter.data = torch.randn(parameter.shape, generator=generator) * width**-0.5
        save_dit(model, folder / place)
    vae = WanVAE(variant.vae)
    shapes = {n: tuple(t.shape) for n, t in vae.state_dict().items()}
    file = "Wan2.2_VAE.pth" if variant.vae.residual else "Wan2.1_VAE.pth"
    torch.save(random_state(shapes, scale=0.3), folder / file)
    text = random_state(published_text(16, 16, 24, 2, 4, 50), torch.bfloat16)
    torch.save(text, folder / "models_t5_umt5-xxl-enc-bf16.pth")
    (folder / "google" / "umt5-xxl").mkdir(parents=True)
    (folder / "google" / "umt5-xxl" / "tokenizer.json").write_text("{}")
    if variant.dit.image_dim:
        image = random_state(published_image(80, 96, 3, 14, 5), torch.float16)
        clip = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
        torch.save(image, folder / clip)
    return folder


def contents(folder) -> dict[str, dict[str, torch.Tensor]]:
    """Folder of each network -> its tensors, over all shards."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".pth"):
            key = path.name if path.suffix == ".pth" else str(path.parent.relative_to(folder))
            found.setdefault(key, {}).update(iterate_tensors(path))
    return found


def spoil(folder, change):
    path = folder / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)
