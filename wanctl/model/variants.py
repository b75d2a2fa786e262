"""VARIANTS: every supported model, by name. Torch-free.

A row holds the frozen shapes of the networks and the run defaults of the official command line.
To add a model, add a row; tests run over the table.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from wanctl.errors import UserError, unknown
from wanctl.model.latent_statistics import (
    WAN21_LATENT_MEAN,
    WAN21_LATENT_STD,
    WAN22_LATENT_MEAN,
    WAN22_LATENT_STD,
)

RGB_CHANNELS = 3  # of a video in pixels
NUM_TRAIN_TIMESTEPS = 1000  # noise level 1 as the transformer's timestep

# Mean and standard deviation of the pixels, 0 to 1, that CLIP was trained with.
CLIP_PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)

# Which of two transformers (Wan 2.2 A14B): the one for high or the one for low noise.
Expert = Literal["high", "low"]
HIGH: Expert = "high"
LOW: Expert = "low"

# The negative prompt of the official configuration (data, not our wording).
WAN_NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，"
    "手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
# The official configurations of 2.1's image-to-video models prepend these words.
WAN_I2V_NEGATIVE_PROMPT = "镜头晃动，" + WAN_NEGATIVE_PROMPT
WAN_FLF2V_NEGATIVE_PROMPT = "镜头切换，" + WAN_I2V_NEGATIVE_PROMPT

AREA_480P = 480 * 832


@dataclass(frozen=True)
class DiTShape:
    """Sizes of the diffusion transformer.

    Attributes:
        image_dim: width of CLIP's hidden states, for models with image tokens.
        image_tokens: number of tokens of two images, which have learned positions; None for models
            of one image.
        vace_layers: main blocks that get a hint from a control block.
        vace_channels: channels of the control.
    """

    dim: int
    ffn_dim: int
    num_layers: int
    num_heads: int
    in_channels: int = 16
    out_channels: int = 16
    text_dim: int = 4096
    text_len: int = 512
    freq_dim: int = 256
    eps: float = 1e-6
    image_dim: int | None = None
    image_tokens: int | None = None
    vace_layers: tuple[int, ...] = ()
    vace_channels: int = 96

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.num_heads


@dataclass(frozen=True)
class VAEShape:
    """Sizes of the causal video VAE and the statistics its latents are normalised with.

    Attributes:
        decoder_dim: base width of the decoder where it differs from the encoder's (Wan 2.2).
        residual: whether levels have a shortcut without parameters (Wan 2.2).
        patch: pixels per side that enter as channels (Wan 2.2).
    """

    dim: int = 96
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    latent_mean: tuple[float, ...] = WAN21_LATENT_MEAN
    latent_std: tuple[float, ...] = WAN21_LATENT_STD
    decoder_dim: int | None = None
    residual: bool = False
    patch: int = 1

    @property
    def temporal_stride(self) -> int:
        """Frames per latent frame, except the first."""
        return 2 ** sum(self.temporal_downsample)

    @property
    def spatial_stride(self) -> int:
        """Pixels per latent side."""
        return self.patch * 2 ** (len(self.dim_mult) - 1)


WAN22_VAE = VAEShape(
    dim=160,
    decoder_dim=256,
    z_dim=48,
    latent_mean=WAN22_LATENT_MEAN,
    latent_std=WAN22_LATENT_STD,
    residual=True,
    patch=2,
)


@dataclass(frozen=True)
class RunDefaults:
    """The official command line's settings for this model.

    Attributes:
        guide_scale: one number, or those of two experts (low noise, high noise).
        boundary: share of the noise levels above which the high-noise expert runs.
        small_shift: the shift of videos with at most the area of 480x832, where it differs.
    """

    steps: int
    shift: float
    guide_scale: float | tuple[float, float]
    frames: int
    fps: float
    height: int
    width: int
    solver: str = "unipc"
    negative_prompt: str = WAN_NEGATIVE_PROMPT
    boundary: float | None = None
    small_shift: float | None = None

    def shift_at(self, area: int) -> float:
        """The shift for a requested size; `area` in pixels."""
        small = self.small_shift is not None and area <= AREA_480P
        return self.small_shift if small and self.small_shift else self.shift


@dataclass(frozen=True)
class Variant:
    """One model: its networks, its text encoder and its run defaults.

    Attributes:
        tasks: rows of TASKS that it supports; the first is its default.
    """

    name: str
    dit: DiTShape
    defaults: RunDefaults
    vae: VAEShape = field(default_factory=VAEShape)
    text_encoder: str = "umt5"
    hub: str | None = None
    tasks: tuple[str, ...] = ("t2v", "t2i")

    @property
    def experts(self) -> int:
        """Number of transformers: 2 where a high-noise and a low-noise expert share the steps."""
        return 1 if self.defaults.boundary is None else 2

    @property
    def trained_tasks(self) -> tuple[str, ...]:
        """What it is trained on where a recipe names no tasks: text to video and images, if it can.

        Otherwise its first task.
        """
        return ("t2v", "t2i") if "t2v" in self.tasks else self.tasks[:1]


_1_3B = DiTShape(dim=1536, ffn_dim=8960, num_layers=30, num_heads=12)
_14B = DiTShape(dim=5120, ffn_dim=13824, num_layers=40, num_heads=40)
_5B = DiTShape(
    dim=3072, ffn_dim=14336, num_layers=30, num_heads=24, in_channels=48, out_channels=48
)
_I2V = replace(_14B, in_channels=36)
_I2V_CLIP = replace(_I2V, image_dim=1280)
_IMAGE_TASKS = ("i2v", "continuation", "interpolation")
_ALL_IMAGE_TASKS = ("i2v", "flf2v", "continuation", "interpolation")
_480P = RunDefaults(
    steps=50, shift=5.0, guide_scale=5.0, frames=81, fps=16.0, height=480, width=832
)
_720P = replace(_480P, height=720, width=1280)
_I2V_RUN = replace(_720P, steps=40, small_shift=3.0, negative_prompt=WAN_I2V_NEGATIVE_PROMPT)
_TINY = Variant(
    name="tiny",
    dit=DiTShape(dim=192, ffn_dim=768, num_layers=6, num_heads=6, text_dim=384, text_len=64),
    vae=VAEShape(dim=16, latent_mean=(0.0,) * 16, latent_std=(1.0,) * 16),
    text_encoder="minilm",
    defaults=RunDefaults(
        steps=20, shift=3.0, guide_scale=3.0, frames=17, fps=12.0, height=64, width=64,
        negative_prompt="",
    ),
    tasks=("t2v", "t2i", "ti2v", "continuation"),
)  # fmt: skip

VARIANTS: dict[str, Variant] = {
    v.name: v
    for v in (
        _TINY,
        replace(
            _TINY, name="tiny-i2v", dit=replace(_TINY.dit, in_channels=36), tasks=_ALL_IMAGE_TASKS
        ),
        replace(
            _TINY, name="tiny-vace", dit=replace(_TINY.dit, vace_layers=(0, 2, 4)), tasks=("vace",)
        ),
        replace(
            _TINY, name="tiny-experts", tasks=("t2v", "t2i"),
            defaults=replace(_TINY.defaults, guide_scale=(3.0, 4.0), boundary=0.875),
        ),
        Variant(
            name="wan2.1-t2v-1.3b", dit=_1_3B, defaults=_480P, hub="Wan-AI/Wan2.1-T2V-1.3B"
        ),
        Variant(name="wan2.1-t2v-14b", dit=_14B, defaults=_720P, hub="Wan-AI/Wan2.1-T2V-14B"),
        Variant(
            name="wan2.1-i2v-14b-480p",
            dit=_I2V_CLIP,
            defaults=replace(_I2V_RUN, height=480, width=832),
            hub="Wan-AI/Wan2.1-I2V-14B-480P",
            tasks=_IMAGE_TASKS,
        ),
        Variant(
            name="wan2.1-i2v-14b-720p",
            dit=_I2V_CLIP,
            defaults=_I2V_RUN,
            hub="Wan-AI/Wan2.1-I2V-14B-720P",
            tasks=_IMAGE_TASKS,
        ),
        Variant(
            name="wan2.1-flf2v-14b",
            dit=replace(_I2V_CLIP, image_tokens=514),
            defaults=replace(_720P, shift=16.0, negative_prompt=WAN_FLF2V_NEGATIVE_PROMPT),
            hub="Wan-AI/Wan2.1-FLF2V-14B-720P",
            tasks=("flf2v", "interpolation"),
        ),
        Variant(
            name="wan2.1-vace-1.3b",
            dit=replace(_1_3B, vace_layers=tuple(range(0, 30, 2))),
            defaults=replace(_480P, shift=16.0),
            hub="Wan-AI/Wan2.1-VACE-1.3B",
            tasks=("vace",),
        ),
        Variant(
            name="wan2.1-vace-14b",
            dit=replace(_14B, vace_layers=tuple(range(0, 40, 5))),
            defaults=replace(_720P, shift=16.0),
            hub="Wan-AI/Wan2.1-VACE-14B",
            tasks=("vace",),
        ),
        Variant(
            name="wan2.2-t2v-a14b",
            dit=_14B,
            defaults=replace(
                _720P, steps=40, shift=12.0, guide_scale=(3.0, 4.0), boundary=0.875
            ),
            hub="Wan-AI/Wan2.2-T2V-A14B",
        ),
        Variant(
            name="wan2.2-i2v-a14b",
            dit=_I2V,
            defaults=replace(_720P, steps=40, guide_scale=(3.5, 3.5), boundary=0.9),
            hub="Wan-AI/Wan2.2-I2V-A14B",
            tasks=_ALL_IMAGE_TASKS,
        ),
        Variant(
            name="wan2.2-ti2v-5b",
            dit=_5B,
            vae=WAN22_VAE,
            defaults=replace(_720P, frames=121, fps=24.0, height=704, width=1280),
            hub="Wan-AI/Wan2.2-TI2V-5B",
            tasks=("ti2v", "t2v", "t2i", "continuation"),
        ),
    )
}  # fmt: skip


def task_problem(variant: Variant | None, task: str) -> str | None:
    """Why a variant cannot do a task; None if it can.

    Args:
        variant: the variant; None: any.
        task: name from the recipe.
    """
    able = [each.name for each in VARIANTS.values() if task in each.tasks]
    if not able:
        tasks = dict.fromkeys(name for each in VARIANTS.values() for name in each.tasks)
        return unknown("task", task, tasks)
    if variant is None or task in variant.tasks:
        return None
    does = ", ".join(variant.tasks)
    return f"{variant.name} cannot do {task}, it does {does}; variants that can: {', '.join(able)}"


def get_variant(
    name: str, *, vae_width: int | None = None, latent_channels: int | None = None
) -> Variant:
    """Look a variant up, and give it a VAE of another size where one is asked for.

    Args:
        name: a row of VARIANTS.
        vae_width: channels of the VAE's first level; None: the variant's. Wan 2.2's decoder keeps
            its ratio to the encoder.
        latent_channels: of the VAE and of the transformer's inputs and outputs; None: the
            variant's.

    Raises:
        UserError: no such row; names the nearest one.
    """
    if name not in VARIANTS:
        raise UserError(f"model.variant: {unknown('variant', name, VARIANTS)}")
    variant = VARIANTS[name]
    vae = resized_vae(variant.vae, vae_width, latent_channels)
    more, dit = vae.z_dim - variant.vae.z_dim, variant.dit
    # Image variants take the latents twice: noise and known frames; so does VACE's control.
    times = dit.in_channels // variant.vae.z_dim
    dit = replace(
        dit,
        in_channels=dit.in_channels + more * times,
        out_channels=dit.out_channels + more,
        vace_channels=dit.vace_channels + 2 * more,
    )
    return replace(variant, vae=vae, dit=dit)


def resized_vae(shape: VAEShape, width: int | None, latent_channels: int | None) -> VAEShape:
    """The shape with another width or another number of latent channels; None: its own.

    The statistics of additional latent channels are not known: mean 0 and deviation 1.
    """
    if width is not None and width != shape.dim:
        decoder = shape.decoder_dim and max(1, round(width * shape.decoder_dim / shape.dim))
        shape = replace(shape, dim=width, decoder_dim=decoder)
    if latent_channels is not None and latent_channels != shape.z_dim:
        more = max(0, latent_channels - shape.z_dim)
        mean = (*shape.latent_mean[:latent_channels], *(0.0,) * more)
        std = (*shape.latent_std[:latent_channels], *(1.0,) * more)
        shape = replace(shape, z_dim=latent_channels, latent_mean=mean, latent_std=std)
    return shape
