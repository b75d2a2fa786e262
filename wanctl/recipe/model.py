"""Keys of `model`: the variant, its weights, and how the networks run."""

from typing import Annotated, Any, Literal

from pydantic import Field

from wanctl.recipe.section import Section, Side, Source


class LoraSection(Section):
    """One LoRA file and its strength."""

    path: Source = Field(
        description="LoRA, DoRA, LoKr or LoHa of any trainer: a file, or a folder in PEFT's layout"
    )
    strength: float = Field(
        default=1.0, ge=-1000, le=1000, description="factor of the weight change"
    )
    expert: Literal["high", "low"] | None = Field(
        default=None, description="variants with two experts: the expert it applies to; null: both"
    )


class ModelSection(Section):
    """The model variant and its weights."""

    variant: str | None = Field(
        default=None,
        description="a row of VARIANTS; null: that of `weights`, or wan2.1-t2v-1.3b where they are "
        "not known",
    )
    checkpoint: str | None = Field(
        default=None,
        description="a row of `wanctl weights list`, where the names of `weights` or of a LoRA do "
        "not show which of several models with the same tensors it is; null: recognised",
    )
    accept_license: str | None = Field(
        default=None,
        description="a row of `wanctl weights list` whose weights are not for commercial use: its "
        "licence is accepted",
    )
    vae_width: Annotated[int, Field(gt=0, le=1024)] | None = Field(
        default=None,
        description="channels of the VAE's first level, if not the variant's (Wan 2.1: 96, 2.2: "
        "160); 16 trains on a CPU, the cost grows with its square",
    )
    latent_channels: Annotated[int, Field(gt=0, le=1024)] | None = Field(
        default=None,
        description="channels of the latents, if not the variant's (16 of Wan 2.1, 48 of 2.2); "
        "a transformer with random weights follows",
    )
    weights: Source | None = Field(
        default=None,
        description="folder or hub id in official or diffusers layout; training starts from it, "
        "sampling uses it if the run folder holds no trained weights; null: train from random "
        "weights",
    )
    low_weights: Source | None = Field(
        default=None,
        description="two experts: file or folder of the low-noise expert, if `weights` holds only "
        "the high-noise expert",
    )
    identity: Source | None = Field(
        default=None,
        description="file of Stand-In, which shows the person of `sample.face`; of two experts for "
        "the high-noise one",
    )
    low_identity: Source | None = Field(
        default=None, description="two experts: file of Stand-In for the low-noise one"
    )
    vae_weights: Source | None = Field(
        default=None,
        description="folder or file of the VAE, if it is not in `weights`; for sampling also a "
        "small one: a file of TAEHV or LightVAE, or its name alone (taew2_1, taew2_2, "
        "lighttaew2_1, lighttaew2_2, lightvaew2_1), which is looked for here and in the hub cache",
    )
    text_weights: Source | None = Field(
        default=None,
        description="folder of the text encoder and its tokenizer, if not in `weights`",
    )
    image_weights: Source | None = Field(
        default=None, description="folder or file of CLIP's vision tower, if it is not in `weights`"
    )
    audio_weights: Source | None = Field(
        default=None,
        description="folder of the audio encoder (wav2vec2) of S2V, if it is not in `weights`",
    )
    loras: tuple[LoraSection, ...] = Field(
        default=(), description="LoRA files that sampling adds to the transformer, all at once"
    )
    strict: bool = Field(
        default=False,
        description="refuse weights and LoRAs with keys of parts that the model lacks, such as the "
        "image branch on Wan 2.2, instead of leaving them out with a warning",
    )
    precision: Literal["reference", "fast"] = Field(
        default="fast", description="`reference` computes exactly as the official code does"
    )
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="number format of the transformer; auto: bf16 on CUDA, else fp32",
    )
    attention: str = Field(
        default="auto",
        description="kernel: `auto` (cuDNN's first on Hopper), `sdpa`, `cudnn`, `flash`, "
        "`efficient`, `math`; `fa3` and `sage` if their packages are installed (`sage` computes "
        "8-bit products, which changes the video); the kernel in use is logged",
    )
    compile: bool = Field(
        default=False,
        description="compile the transformer's blocks when sampling: takes half a minute, then "
        "each step reads memory fewer times",
    )
    quantize: Literal["int8", "fp8", "fp8-dynamic"] | None = Field(
        default=None,
        description="format of the transformer's matrices when sampling: half the memory of bf16; "
        "`fp8-dynamic` multiplies in fp8 too; each changes the video",
    )
    stream_blocks: bool = Field(
        default=False,
        description="keep the transformer's blocks in host memory and copy each to the GPU when it "
        "is needed; the video is the same",
    )
    vae_tile: Side | None = Field(
        default=None,
        description="side in pixels of the tiles that the VAE decodes when sampling; null: whole "
        "frames; the difference between both is below the resolution of 8 bits",
    )

    @property
    def choice(self) -> dict[str, Any]:
        """What decides which model is run, as `choose_model` takes it."""
        keys = ("variant", "checkpoint", "weights", "low_weights", "accept_license")
        loras = tuple(lora.path for lora in self.loras if lora.strength)
        return {key: getattr(self, key) for key in keys} | self.vae_sizes | {"loras": loras}

    @property
    def vae_sizes(self) -> dict[str, int | None]:
        """The sizes that differ from the variant's, as `get_variant` takes them."""
        return {"vae_width": self.vae_width, "latent_channels": self.latent_channels}
