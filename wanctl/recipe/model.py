"""Keys of `model`: which network, where its weights come from, and how they run."""

from typing import Literal

from pydantic import Field, PositiveInt

from wanctl.recipe.section import Section


class LoraSection(Section):
    """One LoRA and how strongly it counts."""

    path: str = Field(description="a .safetensors file of any trainer, or PEFT's folder")
    strength: float = Field(default=1.0, description="factor of the change")
    expert: Literal["high", "low"] | None = Field(
        default=None, description="of two transformers the one it is for; null: both"
    )


class ModelSection(Section):
    """Which network, and where its weights come from."""

    variant: str = Field(default="wan2.1-t2v-1.3b", description="a row of VARIANTS")
    weights: str | None = Field(
        default=None,
        description="folder or hub id in official or diffusers layout; training starts from it, "
        "sampling uses it where the run folder holds nothing trained; null: train from nothing",
    )
    low_weights: str | None = Field(
        default=None,
        description="two experts: file or folder of the low-noise one, where `weights` holds the "
        "high-noise one alone",
    )
    vae_weights: str | None = Field(
        default=None, description="another folder or file for the VAE alone"
    )
    text_weights: str | None = Field(
        default=None, description="another folder for the text encoder and its tokenizer alone"
    )
    image_weights: str | None = Field(
        default=None, description="another folder or file for CLIP's vision tower alone"
    )
    loras: tuple[LoraSection, ...] = Field(
        default=(), description="small changes of the transformer when sampling, all at once"
    )
    precision: Literal["reference", "fast"] = Field(
        default="fast", description="`reference` follows the official numbers exactly"
    )
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="number format of the transformer; auto: bf16 on CUDA else fp32",
    )
    attention: str = Field(
        default="auto",
        description="kernel: `auto` (cuDNN's first on Hopper), `sdpa`, `cudnn`, `flash`, "
        "`efficient`, `math`; `fa3` and `sage` where their packages are installed (`sage` takes "
        "8-bit products, which changes the video); the one that runs is printed",
    )
    compile: bool = Field(
        default=False,
        description="compile the transformer's blocks when sampling: half a minute at first, then "
        "fewer passes over memory",
    )
    quantize: Literal["int8", "fp8", "fp8-dynamic"] | None = Field(
        default=None,
        description="the transformer's matrices in 8 bits when sampling: half the memory of bf16; "
        "`fp8-dynamic` multiplies in fp8 as well; each changes the video",
    )
    stream_blocks: bool = Field(
        default=False,
        description="leave the transformer's blocks in host memory and pass them through the GPU "
        "as they are needed; the video is the same",
    )
    vae_tile: PositiveInt | None = Field(
        default=None,
        description="side in pixels of the tiles that the VAE works on when sampling; null: the "
        "whole picture; pixels differ from the whole's by less than 8 bits show",
    )
