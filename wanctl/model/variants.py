"""What a row of VARIANTS holds: sizes of the networks and run defaults. Torch-free."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from wanctl.model.latent_statistics import (
    WAN21_LATENT_MEAN,
    WAN21_LATENT_STD,
    WAN22_LATENT_MEAN,
    WAN22_LATENT_STD,
)
from wanctl.model.shapes import SPATIAL_STRIDE

RGB_CHANNELS = 3  # of a video in pixels
SPEECH_RATE = 16_000  # samples per second that audio encoders hear
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


# Sizes of DiTShape that came later. They are named only where they are set, because the names of
# samples and the checkpoints of training hold a shape as text.
LATER_SIZES = (
    "camera_channels",
    "reference_channels",
    "pose_numbers",
    "driven",
    "face_rank",
    "face",
    "speech",
    "second_timestep",
    "sparse_attention",
    "frame_rates",
    "camera_stride",
)


@dataclass(frozen=True)
class FaceShape:
    """Sizes of Animate's networks for faces.

    Attributes:
        channels: of the motion encoder at each size of the picture, from the largest to 4 x 4.
        style: width of the motion encoder.
        motions: number of directions of motion.
        width: of a vector of motion.
        hidden: width of the face encoder.
        heads: of the face encoder, each of which makes a token.
        every: a face block follows every so many blocks, the first among them.
    """

    channels: tuple[int, ...] = (32, 64, 128, 256, 512, 512, 512, 512)
    style: int = 512
    motions: int = 20
    width: int = 512
    hidden: int = 1024
    heads: int = 4
    every: int = 5

    @property
    def side(self) -> int:
        """Of the pictures of a face, pixels."""
        return 4 * 2 ** (len(self.channels) - 1)


@dataclass(frozen=True)
class SpeechShape:
    """Sizes of S2V's networks for speech.

    Attributes:
        layers: hidden states of the audio encoder, which are mixed.
        width: of a hidden state.
        tokens: made of the sound of a latent frame, beside a learned one.
        blocks: numbers of the blocks after which the video's tokens read the sound.
    """

    layers: int = 25
    width: int = 1024
    tokens: int = 4
    blocks: tuple[int, ...] = (0, 4, 8, 12, 16, 20, 24, 27, 30, 33, 36, 39)


@dataclass(frozen=True, repr=False)
class DiTShape:
    """Sizes of the diffusion transformer.

    Attributes:
        image_dim: width of CLIP's hidden states, for models with image tokens.
        image_tokens: number of tokens of two images, which have learned positions; None for models
            of one image.
        vace_layers: main blocks that get a hint from a control block.
        vace_channels: channels of the control.
        camera_channels: channels of the rays of a camera path, for models with an adapter for one
            (Fun Camera: 24, six for each of four frames).
        camera_stride: pixels of the rays per latent row and column where it is not 8 (Fun 5B: 16).
        reference_channels: latent channels of a reference picture, for models that read one as
            tokens before the video (`ref_conv`).
        pose_numbers: of a camera's pose, which every block reads for each latent frame
            (ReCamMaster: 12, a 3 x 4 matrix).
        face: sizes of networks that read poses and a face (Animate).
        driven: whether the tokens attend to those of a driving video as well (Animate 2).
        face_rank: rank of the matrices for the tokens of a face, which the video's tokens attend
            to (Stand-In).
        speech: sizes of networks that read speech, and the frames before the video (S2V).
        second_timestep: whether the network also takes the noise level to which a step goes
            (MeanFlow).
        sparse_attention: how self-attention leaves out tokens, `vsa` (FastWan) or `sla`
            (TurboDiffusion); empty: it leaves out none.
        frame_rates: number of frame rates that the model tells apart (SkyReels-V2: 16 per second,
            and others).
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
    camera_channels: int = 0
    reference_channels: int = 0
    pose_numbers: int = 0
    driven: bool = False
    face_rank: int = 0
    face: FaceShape | None = None
    speech: SpeechShape | None = None
    second_timestep: bool = False
    sparse_attention: Literal["", "vsa", "sla"] = ""
    frame_rates: int = 0
    camera_stride: int = 0

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.num_heads

    @property
    def ray_stride(self) -> int:
        """Pixels of a camera's rays per latent row and column."""
        return self.camera_stride or SPATIAL_STRIDE

    @property
    def sizes(self) -> dict[str, Any]:
        """Name -> size, without later ones that are not set."""
        return {k: v for k, v in asdict(self).items() if v or k not in LATER_SIZES}

    def __repr__(self) -> str:
        """As a dataclass is written, without later sizes that are not set."""
        return f"DiTShape({', '.join(f'{k}={v!r}' for k, v in self.sizes.items())})"


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
        levels: noise levels that the model was distilled for, 1 to 0 without the final 0; where
            they are set, `steps` is their number and `shift` is not used.
        reference_guide_scale: scale of guidance by reference images; None: there is none.
        driving_prompt: describes the driving video, for models that read one (Animate 2).
        first_frame_log_scale: of the attention to the output's first frame, for those models.
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
    levels: tuple[float, ...] = ()
    reference_guide_scale: float | None = None
    driving_prompt: str = ""
    first_frame_log_scale: float = 0.0

    def shift_at(self, area: int) -> float:
        """The shift for a requested size; `area` in pixels."""
        small = self.small_shift is not None and area <= AREA_480P
        return self.small_shift if small and self.small_shift else self.shift


@dataclass(frozen=True)
class Variant:
    """One model: its networks, its text encoder and its run defaults.

    Attributes:
        hub: hub id of the model.
        tasks: rows of TASKS that it supports; the first is its default.
        base_hub: hub id of the model whose VAE and encoders it uses, where its own files hold a
            transformer alone.
    """

    name: str
    dit: DiTShape
    defaults: RunDefaults
    vae: VAEShape = field(default_factory=VAEShape)
    text_encoder: str = "umt5"
    hub: str | None = None
    tasks: tuple[str, ...] = ("t2v", "t2i")
    base_hub: str | None = None

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


# Sizes and run defaults that several rows share.
DIT_1_3B = DiTShape(dim=1536, ffn_dim=8960, num_layers=30, num_heads=12)
DIT_14B = DiTShape(dim=5120, ffn_dim=13824, num_layers=40, num_heads=40)
DIT_5B = DiTShape(
    dim=3072, ffn_dim=14336, num_layers=30, num_heads=24, in_channels=48, out_channels=48
)
RUN_480P = RunDefaults(
    steps=50, shift=5.0, guide_scale=5.0, frames=81, fps=16.0, height=480, width=832
)
RUN_720P = replace(RUN_480P, height=720, width=1280)


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
