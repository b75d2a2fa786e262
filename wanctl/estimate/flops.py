"""FLOPs and bytes that sampling needs, computed from shapes alone.

Counts follow the networks: a product of m x k by k x n is 2mkn operations. Activation sizes are
the measured peaks of this program (tests/bench).
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from wanctl.model.shapes import LatentShape, PixelShape, latent_shape
from wanctl.model.variants import DiTShape, FaceShape, SpeechShape, VAEShape, Variant
from wanctl.runtime.vae_tiles import overlap_factor

FP32_BYTES = 4
# umT5-XXL's encoder: parameters, and those of its embedding, which multiply nothing.
UMT5_PARAMETERS = 5_680_910_336
UMT5_EMBEDDING = 1_050_000_000
UMT5_BLOCKS = 24
UMT5_TOKENS = 512
CLIP_FILE_BYTES = 4.77e9
# Operations per pixel and frame (FlopCounterMode at the published sizes), encode and decode.
VAE21_OPS, VAE22_OPS = (5.1e6, 8.5e6), (3.5e6, 18.4e6)
VAE21_PARAMETERS, VAE22_PARAMETERS = 126_892_531, 704_700_000
# Bytes per pixel of a frame that chunked decoding holds in fp32, caches included: measured
# 31.9 kB at 192x192 (encode: 18.4 kB), plus a constant part.
VAE21_PIXEL_BYTES, VAE22_PIXEL_BYTES = 32_000, 36_000
# Below so many tokens both prompts of guidance go through the model at once (guidance.py).
BATCHED_TOKENS = 1024
# Latents of S2V's patches: three sizes for the frames before a clip, and those of poses.
SPEECH_PATCHES = 4 + 32 + 256 + 4


@dataclass(frozen=True)
class ClipWork:
    """The clips that a long video is made of.

    Attributes:
        count: of one output.
        frames: of a clip.
        sequence_frames: latent frames that the transformer reads for a clip.
    """

    count: int
    frames: int
    sequence_frames: int


@dataclass(frozen=True)
class Workload:
    """What is sampled, and with which options that decide its cost.

    Attributes:
        variant: the model.
        size: size of the output.
        steps: solver steps.
        guided: the negative prompt is used.
        guided_share: evaluations of the transformer per step beyond one, on average.
        weight_bytes: bytes per element of the large matrices in memory (1 if quantized).
        product_bytes: bytes per element of activations in matrix products.
        streamed: blocks stay in host memory and are copied to the GPU one by one.
        vae_tile: side of a VAE tile in pixels; None: no tiles.
        prompts: number of outputs.
        encodes: share of the output's frames that the VAE encodes first.
        text_parameters: parameters of the text encoder; 0: a small packaged one.
        passes: evaluations of the transformer in a guided step.
        more_frames: latent frames in its sequence beside those of the output.
        clips: of a long video; None: it is made at once.
    """

    variant: Variant
    size: PixelShape
    steps: int
    guided: bool
    guided_share: float
    weight_bytes: float
    product_bytes: int
    streamed: bool
    vae_tile: int | None
    prompts: int
    encodes: float
    text_parameters: float
    passes: int = 2
    more_frames: int = 0
    clips: ClipWork | None = None

    @property
    def latents(self) -> LatentShape:
        """Size of the latents; of a clip, of all that the transformer reads."""
        stride = self.variant.vae.spatial_stride
        if self.clips is None:
            return latent_shape(self.size, stride)
        shape = latent_shape(self.size._replace(frames=self.clips.frames), stride)
        return shape._replace(frames=self.clips.sequence_frames)

    @property
    def decoded_frames(self) -> int:
        """Frames that the VAE decodes for one output."""
        return self.clips.count * self.clips.frames if self.clips else self.size.frames

    @property
    def tokens(self) -> int:
        """Length of the transformer's sequence."""
        latents = self.latents
        return latents._replace(frames=latents.frames + self.more_frames).tokens

    @property
    def forwards(self) -> float:
        """Transformer calls per output."""
        once = self.steps * (1 + (self.guided_share if self.guided else 0))
        reading = 1 if self.variant.dit.driven else 0
        return (once + reading) * (self.clips.count if self.clips else 1)


def block_parameters(shape: DiTShape) -> tuple[int, int]:
    """Parameters of a block: those of its matrices, and those of its vectors."""
    d, f = shape.dim, shape.ffn_dim
    image = 2 if shape.image_dim else 0
    matrices = (8 + image) * d * d + 2 * d * f
    vectors = (8 + image) * d + f + d + 2 * d + 6 * d + (4 + image // 2) * d
    if shape.pose_numbers:  # of the camera's encoder and the projector
        matrices, vectors = matrices + (shape.pose_numbers + d) * d, vectors + 2 * d
    if shape.sparse_attention == "vsa":
        matrices, vectors = matrices + d * d, vectors + d
    elif shape.sparse_attention:
        matrices, vectors = matrices + shape.head_dim**2, vectors + shape.head_dim
    return matrices + 6 * shape.face_rank * d, vectors


def dit_parameters(shape: DiTShape) -> int:
    """Parameters of a transformer."""
    d = shape.dim
    blocks = sum(block_parameters(shape)) * (shape.num_layers + len(shape.vace_layers))
    rest = 4 * d * (shape.in_channels + shape.out_channels) + d + 4 * shape.out_channels + 2 * d
    rest += shape.text_dim * d + d * d + 2 * d  # text embedding
    rest += shape.freq_dim * d + d * d + 2 * d + 6 * d * d + 6 * d  # time embedding
    if shape.image_dim:
        e = shape.image_dim
        rest += 2 * e + e * e + e + e * d + d + 2 * d + e * (shape.image_tokens or 0)
    if shape.vace_layers:
        rest += 4 * d * shape.vace_channels + d + (len(shape.vace_layers) + 1) * (d * d + d)
    if shape.camera_channels:
        rest += 4 * d * shape.camera_channels * shape.ray_stride**2 + d + 2 * (9 * d * d + d)
    if shape.reference_channels:
        rest += 4 * d * shape.reference_channels + d
    if shape.second_timestep:
        rest += shape.freq_dim * d + d * d + 2 * d
    if shape.frame_rates:
        rest += shape.frame_rates * d + d * d + d + 6 * d * d + 6 * d
    if shape.face:
        rest += 4 * d * shape.out_channels + d + _face_parameters(shape, shape.face)
    if shape.speech:
        rest += _speech_parameters(shape, shape.speech)
    return blocks + rest


def _face_parameters(shape: DiTShape, face: FaceShape) -> int:
    """Parameters of Animate's networks for faces."""
    d, hidden, style = shape.dim, face.hidden, face.style
    blocks = -(-shape.num_layers // face.every) * (4 * d * d + 4 * d + 2 * shape.head_dim)
    encoder = hidden * face.heads * (3 * face.width + 1) + 2 * hidden * (3 * hidden + 1)
    encoder += (hidden + 1) * d + d
    first, last = face.channels[0], face.channels[-1]
    motion = 4 * first + 16 * style * last + face.width * face.motions
    motion += 4 * style * (style + 1) + face.motions * (style + 1)
    for a, b in pairwise(face.channels):
        motion += 9 * a * a + a + 10 * a * b + b
    return blocks + encoder + motion


def _speech_parameters(shape: DiTShape, speech: SpeechShape) -> int:
    """Parameters of S2V's networks for speech, poses and the frames before a clip."""
    d, quarter, half = shape.dim, shape.dim // 4, shape.dim // 2
    reads = len(speech.blocks) * (6 * d * d + 8 * d)
    sound = speech.layers + quarter * (speech.tokens + 1) * (3 * speech.width + 1)
    sound += half * (3 * quarter + 1) + d * (3 * half + 1) + d * (d + 2)
    patches = SPEECH_PATCHES * d * shape.out_channels + 4 * d
    return reads + sound + patches + 3 * d  # and three marks


def dit_bytes(workload: Workload) -> tuple[float, float]:
    """Weight bytes of one expert: of all blocks, and of the rest."""
    shape = workload.variant.dit
    matrices, vectors = block_parameters(shape)
    count = shape.num_layers + len(shape.vace_layers)
    blocks = count * (matrices * workload.weight_bytes + vectors * FP32_BYTES)
    rest = dit_parameters(shape) - count * (matrices + vectors)
    narrow = 0
    if shape.speech:  # its attentions and patches have the dtype of the blocks' matrices
        d = shape.dim
        narrow = len(shape.speech.blocks) * 6 * d * d + SPEECH_PATCHES * d * shape.out_channels
    return blocks, (rest - narrow) * FP32_BYTES + narrow * workload.product_bytes


def dit_ops(workload: Workload) -> tuple[float, float]:
    """FLOPs of one forward pass: in products with weights, and in attention."""
    linear, attention = forward_ops(workload.variant.dit, workload.tokens)
    driving = 1 / workload.latents.frames if workload.variant.dit.driven else 0.0
    return linear, attention * (1 + driving)


def driving_bytes(workload: Workload) -> float:
    """Bytes of the keys and values of a clip's driving video in all blocks.

    In host memory they are pinned, which torch rounds up to a power of two for each tensor.
    """
    shape, latents = workload.variant.dit, workload.latents
    if not shape.driven:
        return 0.0
    frames = latents.frames - 1  # without the character's picture
    tensor = latents.tokens // latents.frames * frames * shape.dim * workload.product_bytes
    if workload.streamed:
        tensor = 1 << (tensor - 1).bit_length()
    return 2.0 * shape.num_layers * tensor


def training_ops(shape: DiTShape, tokens: int, trained_share: float) -> float:
    """FLOPs of the forward and backward pass of one sample, without what is computed twice.

    Products with weights have two of the same size in the backward pass, of which that for the
    gradient of the weights is computed for trained ones only.

    Args:
        shape: of the transformer.
        tokens: of the sample.
        trained_share: of its weights.
    """
    linear, attention = forward_ops(shape, tokens)
    return linear * (2 + trained_share) + attention * 3


def forward_ops(shape: DiTShape, tokens: int) -> tuple[float, float]:
    """FLOPs of one forward pass of one sample: in products with weights, and in attention."""
    d, f = shape.dim, shape.ffn_dim
    context = shape.text_len + (shape.image_tokens or 257 if shape.image_dim else 0)
    blocks = shape.num_layers + len(shape.vace_layers)
    linear = blocks * tokens * (12 * d * d + 4 * d * f)
    if shape.pose_numbers:
        linear += blocks * tokens * 2 * d * (d + shape.pose_numbers)
    attention = blocks * 4 * d * tokens * (tokens + context)
    return linear, attention


def dit_activation_bytes(workload: Workload) -> float:
    """Activation bytes of a forward pass: the residual stream in fp32 and one block's products."""
    shape, tokens = workload.variant.dit, workload.tokens
    batch = workload.passes if workload.guided and tokens <= BATCHED_TOKENS else 1
    stream = 3 * FP32_BYTES * shape.dim * (2 if shape.vace_layers else 1)
    products = workload.product_bytes * (shape.ffn_dim + 6 * shape.dim)
    hints = len(shape.vace_layers) * workload.product_bytes * shape.dim
    return batch * tokens * (stream + products + hints)


def vae_parameters(vae: VAEShape) -> float:
    """Parameters of the VAE, scaled from the published sizes."""
    if vae.residual:
        return VAE22_PARAMETERS * (vae.dim / 160) ** 2
    return VAE21_PARAMETERS * (vae.dim / 96) ** 2


def stored_bytes(variant: Variant) -> float:
    """Bytes of the published files: fp32; the text encoder in bf16; CLIP with its text tower."""
    text = UMT5_PARAMETERS * 2 if variant.text_encoder == "umt5" else 0
    clip = CLIP_FILE_BYTES if variant.dit.image_dim else 0
    dit = dit_parameters(variant.dit) * variant.experts
    return (dit + vae_parameters(variant.vae)) * FP32_BYTES + text + clip


def vae_ops(workload: Workload) -> tuple[float, float]:
    """FLOPs of encoding and of decoding one output, overlaps of tiles included."""
    vae, (_, height, width) = workload.variant.vae, workload.size
    per_pixel = VAE22_OPS if vae.residual else VAE21_OPS
    scale = (vae.dim / (160 if vae.residual else 96)) ** 2
    pixels = workload.decoded_frames * height * width * _overlap(workload)
    return workload.encodes * pixels * per_pixel[0] * scale, pixels * per_pixel[1] * scale


def vae_activation_bytes(workload: Workload) -> float:
    """Activation bytes of decoding one latent frame after another."""
    vae, (_, height, width) = workload.variant.vae, workload.size
    if workload.vae_tile:
        height, width = min(height, workload.vae_tile), min(width, workload.vae_tile)
    per_pixel = VAE22_PIXEL_BYTES if vae.residual else VAE21_PIXEL_BYTES
    return height * width * per_pixel * vae.dim / (160 if vae.residual else 96)


def video_bytes(workload: Workload) -> float:
    """Bytes of the output's pixels in fp32, which tiled decoding collects on the host."""
    return 3 * FP32_BYTES * math.prod(workload.size)


def _overlap(workload: Workload) -> float:
    """Average number of tiles that cover a pixel."""
    if not workload.vae_tile:
        return 1.0
    stride = workload.variant.vae.spatial_stride
    _, *sides = workload.size
    return math.prod(overlap_factor(side // stride, workload.vae_tile // stride) for side in sides)
