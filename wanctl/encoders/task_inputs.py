"""The encoders of a task's inputs: the VAE, CLIP's vision tower, and wav2vec2 for sound.

Shapes: H/W pixels, F frames, C channels, T latent frames, Y/X latent rows/columns, N images,
I image tokens, E width.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import Components
from wanctl.device import free_device_memory
from wanctl.model.variants import DiTShape

if TYPE_CHECKING:
    from wanctl.encoders.clip_vision import ImageEncoder


class VideoEncoder(Protocol):
    """A VAE in any form: plain, in tiles, or divided between processes."""

    def encode(self, video: Tensor, *, chunked: bool = ...) -> Tensor:
        """Encode (B, 3, F, H, W) pixels in [-1, 1] to (B, C, T, Y, X) normalised latents."""
        ...


class InputEncoders:
    """Implements `Encoders` for one model; CLIP is loaded for each call and freed after it.

    Args:
        vae: encodes in fp32, since the whole video shows the loss of half precision here.
        dit: sizes of the transformer.
        image: weights of the vision tower; None: there are none.
        device: where the networks run.
        audio: weights of the audio encoder; None: there are none.
    """

    def __init__(
        self,
        vae: VideoEncoder,
        dit: DiTShape,
        image: Components | None,
        device: torch.device,
        audio: Components | None = None,
    ) -> None:
        self._vae = vae
        self._dit = dit
        self._image = image
        self._device = device
        self._audio = audio

    @property
    def dit(self) -> DiTShape:
        """Sizes of the transformer that reads the encoded inputs."""
        return self._dit

    def latents(self, video: Tensor) -> Tensor:
        """Encode (3, F, H, W) pixels in [-1, 1] to (C, T, Y, X) normalised latents on the CPU."""
        pixels = video[None].to(self._device)
        return self._vae.encode(pixels, chunked=True)[0].float().cpu()

    def images(self, pictures: Sequence[Tensor]) -> Tensor:
        """Encode (3, H, W) pixels in [-1, 1] to hidden states (N, I, E) on the CPU.

        Raises:
            WeightsError: the tower is missing, or belongs to another model.
        """
        encoder = self.load_image_encoder()
        hidden = encoder(pictures).cpu()
        del encoder
        free_device_memory(self._device)
        return hidden

    def sound(self, samples: np.ndarray) -> Tensor:
        """Hidden states (S, P, E) fp32 of (N,) samples at 16 kHz, on the CPU.

        Raises:
            WeightsError: the audio encoder is missing, or belongs to another model.
        """
        path = self._audio.audio_encoder if self._audio else None
        if path is None or self._dit.speech is None:
            raise WeightsError("no audio encoder; say `--set model.audio_weights=DIR`")
        from wanctl.encoders.speech import load_audio_encoder  # noqa: PLC0415

        encoder = load_audio_encoder(path, self._device)
        taken = self._dit.speech.layers, self._dit.speech.width
        if (encoder.layers, encoder.width) != taken:
            raise WeightsError(
                f"{path}: makes {encoder.layers} hidden states of width {encoder.width} and the "
                f"transformer takes {taken[0]} of width {taken[1]}; they are not of one model"
            )
        hidden = encoder(samples).cpu()
        del encoder
        free_device_memory(self._device)
        return hidden

    def load_image_encoder(self) -> "ImageEncoder":
        """CLIP's vision tower on the device: fp16 on a GPU as in the official code, else fp32.

        Raises:
            WeightsError: it is missing, or belongs to another model.
        """
        path = self.image_encoder_path()
        # transformers takes seconds to import, which models without the tower need not pay
        from wanctl.encoders.clip_vision import load_image_encoder  # noqa: PLC0415

        half = self._device.type == "cuda"
        dtype = torch.float16 if half else torch.float32
        encoder = load_image_encoder(path, self._device, dtype)
        if encoder.width != self._dit.image_dim:
            raise WeightsError(
                f"{path}: makes hidden states of width {encoder.width} and the transformer takes "
                f"{self._dit.image_dim}; they are not of one model"
            )
        return encoder

    def image_encoder_path(self) -> Path:
        """File or folder of CLIP's vision tower.

        Raises:
            WeightsError: there is none.
        """
        if self._image is None or self._image.image_encoder is None:
            raise WeightsError(
                "no CLIP vision tower, which this model looks at pictures through; need "
                "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth or image_encoder/ beside "
                "the weights, or say `--set model.image_weights=PATH`"
            )
        return self._image.image_encoder
