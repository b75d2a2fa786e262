"""`train-vae` with `network: tiny_decoder`: a small decoder learns what a VAE's decoder gives.

The VAE is frozen. Loss: l1 * L1 + perceptual * LPIPS between both decodes of the posterior's mean,
so that the tiny decoder repeats the VAE's colours and errors and adds no detail of its own.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from wanctl.checkpoint.find import saved_step
from wanctl.checkpoint.tiny_decoder import save_tiny_decoder
from wanctl.device import to_device
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder, TinyDecoderShape
from wanctl.train.inputs.windows import ClipWindow, Footage, read_video, to_video
from wanctl.train.objective import Losses, Network, Preview
from wanctl.train.previews import to_uint8_frames
from wanctl.train.rng import MicrobatchIndex, keyed_seed
from wanctl.train.vae import losses
from wanctl.train.vae.evaluation import largest_windows
from wanctl.train.vae.loss_options import VAELossOptions

NETWORK = "tiny_decoder"


def start_tiny_decoder(shape: TinyDecoderShape, seed: int) -> TinyDecoder:
    """A decoder with random weights that keep the size of what passes through (arXiv 1502.01852).

    Blocks start near the identity, growth over time as repetition, the picture as grey. After 100
    steps a decoder of width 64 is 20.6 dB from its VAE's decodes; with torch's own start, whose
    output hardly depends on the latents after 30 layers, 17.9 dB (AdamW; Muon 21.8 and 21.2).
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(keyed_seed(seed, NETWORK))
        decoder = TinyDecoder(shape)
        last = f"decoder.{len(decoder.decoder) - 1}."
        for name, values in decoder.named_parameters():
            if name.endswith(".bias"):
                values.fill_(0.5 if name.startswith(last) else 0.0)  # of pixels in [0, 1]
                continue
            nn.init.kaiming_normal_(values, nonlinearity="relu")
            if name.endswith(".conv.weight"):  # growth over time
                growth, width = len(values) // values.shape[1], values.shape[1]
                values.copy_(torch.eye(width).repeat(growth, 1)[:, :, None, None])
            elif name.startswith(last):
                values.mul_(0.3)
            elif name.endswith(".conv.4.weight"):  # the end of a block
                values.mul_(0.1)
    return decoder


class DistillObjective:
    """A tiny decoder that repeats a VAE's decoder on windows; an `Objective`.

    Args:
        decoder: trained in place.
        vae: frozen; encodes windows and decodes their latents.
        footage: source of windows.
        options: of the loss terms; L1 and perceptual are used.
        fps: frame rate of the preview videos.
        metadata: strings saved in the header of the weights.
    """

    name = "train-vae"
    judged = "l1"
    saves_with_checkpoints = False

    def __init__(
        self,
        decoder: TinyDecoder,
        vae: WanVAE,
        footage: Footage,
        options: VAELossOptions,
        *,
        fps: float,
        metadata: Mapping[str, str],
    ) -> None:
        self.decoder = decoder
        self.vae = vae.eval().requires_grad_(requires_grad=False)
        self.footage = footage
        self.options = options
        self.fps = fps
        self.metadata = dict(metadata)
        self.eval_split = "held-out" if footage.held_out else "training"
        term = options.perceptual
        self.distance = (
            losses.perceptual_distance(term.network, term.weights) if term.weight > 0 else None
        )

    @property
    def networks(self) -> dict[str, Network]:
        """The tiny decoder."""
        return {NETWORK: Network(self.decoder)}

    def batch(self, microbatch: MicrobatchIndex) -> Tensor:
        """(B, T, H, W, 3) uint8."""
        windows = self.footage.sample_windows(microbatch)
        return torch.stack([torch.from_numpy(self.footage.read(window)) for window in windows])

    def turns(self, step: int) -> tuple[str, ...]:  # noqa: ARG002
        """The tiny decoder learns in every step."""
        return (NETWORK,)

    def losses(
        self,
        turn: str,
        models: Mapping[str, nn.Module],
        batch: Tensor,
        microbatch: MicrobatchIndex,
        device: torch.device,
    ) -> Iterator[Losses]:
        """Weighted sum of the terms, and each of them."""
        latents, target = self._teach(to_video(to_device(batch, device)))
        decoded = models[turn](latents)
        parts: dict[str, Tensor] = {}
        if self.options.l1.active(microbatch.step):
            parts["l1"] = losses.l1(decoded, target)
        if self.distance is not None and self.options.perceptual.active(microbatch.step):
            frames = losses.compared_frames(
                self.options.perceptual.frames, target.shape[2], microbatch
            )
            distance = self.distance.to(device)
            parts["perceptual"] = losses.perceptual(distance, decoded, target, frames)
        total = torch.stack([getattr(self.options, n).weight * v for n, v in parts.items()]).sum(0)
        with torch.no_grad():
            parts["psnr"] = losses.psnr(decoded, target)
        yield Losses(total, {name: value.detach() for name, value in parts.items()})

    def eval_items(self) -> list[ClipWindow]:
        """A few fixed windows."""
        return self.footage.eval_windows()

    def measure(self, item: ClipWindow, device: torch.device) -> dict[str, float]:
        """L1, PSNR and LPIPS to the VAE's decodes; PSNR of both decoders to the footage."""
        video = read_video(self.footage, item)[None].to(device)
        target, decoded = self._decode_both(video)
        figures = {
            "l1": losses.l1(decoded, target),
            "psnr": losses.psnr(decoded, target),
            "footage_psnr": losses.psnr(decoded, video),
            "vae_footage_psnr": losses.psnr(target, video),
        }
        if self.distance is not None:
            distance = self.distance.to(device)
            figures["perceptual"] = losses.perceptual(distance, decoded, target, None)
        return {name: value.item() for name, value in figures.items()}

    def preview_items(self) -> list[ClipWindow]:
        """Windows of the largest evaluation shape."""
        return largest_windows(self.footage)

    def preview(self, item: ClipWindow, device: torch.device) -> Preview:
        """From top to bottom: footage, the VAE, the tiny decoder."""
        video = read_video(self.footage, item)[None].to(device)
        rows = torch.cat([video, *self._decode_both(video)], dim=3)
        return Preview(to_uint8_frames(rows[0]), item.clip, self.fps)

    def save(self, folder: Path, step: int, device: torch.device) -> None:  # noqa: ARG002
        """Write the tiny decoder."""
        (folder / "config.json").unlink(missing_ok=True)  # written last: marks a complete folder
        save_tiny_decoder(self.decoder, folder, metadata={**self.metadata, "step": str(step)})

    def saved_step(self, folder: Path) -> int | None:
        """Step of the tiny decoder in `folder`."""
        return saved_step(folder)

    @torch.no_grad()
    def _teach(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised latents of a video, and what the VAE decodes from them, in [-1, 1]."""
        vae = self.vae.to(video.device)
        latents = vae.encode(video)
        return latents, vae.decode(latents).float()

    def _decode_both(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """The VAE's decode and the tiny decoder's."""
        latents, target = self._teach(video)
        return target, self.decoder.decode(latents).float()
