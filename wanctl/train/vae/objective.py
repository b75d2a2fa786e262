"""`train-vae`: reconstruct clips from their latents.

Loss: l1 * L1 + kl * KL + perceptual * LPIPS (Wan report, arXiv 2503.20314, section 4.1.2, with
weights 3, 3e-6 and 3) + adversarial * GAN (the report's last stage), each from a step of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from wanctl.checkpoint.find import saved_step
from wanctl.checkpoint.save import save_vae
from wanctl.device import to_device
from wanctl.errors import UserError
from wanctl.model.shapes import latent_frames
from wanctl.model.vae.autoencoder import VAEStream, WanVAE
from wanctl.train.inputs.windows import ClipWindow, Footage, read_video, to_video
from wanctl.train.objective import Losses, Network, Preview, per_sample_mean
from wanctl.train.previews import to_uint8_frames
from wanctl.train.rng import MicrobatchIndex, keyed_generator
from wanctl.train.vae import losses
from wanctl.train.vae.adversarial import Adversary
from wanctl.train.vae.chunks import Chunk, clip_chunks
from wanctl.train.vae.evaluation import VAEEvaluation, largest_windows
from wanctl.train.vae.latent_statistics import measure_latents
from wanctl.train.vae.loss_options import VAELossOptions

MODEL = "model"
DISCRIMINATOR = "discriminator"
# The bounds of the published code; they keep exp() finite early in training.
LOGVAR_RANGE = (-30.0, 20.0)


class Reconstruction(nn.Module):
    """The VAE as one function of a video and the noise of its posterior."""

    def __init__(self, vae: WanVAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(
        self, video: Tensor, noise: Tensor, stream: VAEStream | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction (not clamped), posterior mean and log-variance, of a clip or a chunk."""
        encoder, decoder = (None, None) if stream is None else (stream.encoder, stream.decoder)
        mean, logvar = self.vae.moments(video, stream=encoder)
        logvar = logvar.clamp(*LOGVAR_RANGE)
        latents = self.vae.normalise(mean + torch.exp(0.5 * logvar) * noise)
        return self.vae.decode(latents, clamp=False, stream=decoder), mean, logvar


@dataclass
class VAEBatch:
    """One micro-batch.

    Attributes:
        video: (B, T, H, W, 3) uint8, a quarter of the memory of floats while batches are queued.
        reconstructions: (B, 3, t, H, W) of each chunk, on the device, without gradient: what the
            VAE's turn leaves for the discriminator's.
    """

    video: Tensor
    reconstructions: list[Tensor] = field(default_factory=list)


class VAEObjective:
    """Reconstruction of windows; an `Objective`.

    Args:
        vae: trained in place.
        footage: source of windows.
        options: of the loss terms.
        fps: frame rate of the preview videos.
        metadata: strings saved in the header of the weights.
        keep_statistics: keep the latents' mean and deviation (published weights); otherwise they
            are measured when training ends.
        chunk_frames: longer clips are trained in chunks of so many frames, 4n+1; None: whole.
        seed: of the discriminator's random weights.

    Raises:
        UserError: the perceptual network's weights are missing or do not fit, or the decoder's last
            layer is not trained and the adversarial term's weight adapts to it.
    """

    name = "train-vae"
    judged = "l1"
    saves_with_checkpoints = False

    def __init__(
        self,
        vae: WanVAE,
        footage: Footage,
        options: VAELossOptions,
        *,
        fps: float,
        metadata: Mapping[str, str],
        keep_statistics: bool,
        chunk_frames: int | None = None,
        seed: int = 0,
    ) -> None:
        self.module = Reconstruction(vae)
        self.footage = footage
        self.options = options
        self.fps = fps
        self.metadata = dict(metadata)
        self.keep_statistics = keep_statistics
        self.chunk_frames = chunk_frames
        self.eval_split = "held-out" if footage.held_out else "training"
        term = options.perceptual
        self.distance = (
            losses.perceptual_distance(term.network, term.weights) if term.weight > 0 else None
        )
        self.evaluation = VAEEvaluation(footage, self.distance)
        self.adversary = None
        if options.adversarial.weight > 0:
            if options.adversarial.adaptive and not self._last_layer.requires_grad:
                raise UserError(
                    "train_vae.loss.adversarial.adaptive: the decoder's last layer is not trained, "
                    "so no weight can be adapted to its gradients; set adaptive: false"
                )
            self.adversary = Adversary(options.adversarial, seed)

    @property
    def networks(self) -> dict[str, Network]:
        """The VAE, and the discriminator of an adversarial loss."""
        # single images skip the layers over time
        networks = {MODEL: Network(self.module, None, averaged=True, skips_parameters=True)}
        return networks | ({DISCRIMINATOR: self.adversary.network} if self.adversary else {})

    @property
    def vae(self) -> WanVAE:
        """The network that is trained."""
        return self.module.vae

    @property
    def _last_layer(self) -> nn.Parameter:
        return self.vae.decoder.get_parameter("head.2.weight")

    def batch(self, microbatch: MicrobatchIndex) -> VAEBatch:
        """Windows of footage."""
        windows = self.footage.sample_windows(microbatch)
        videos = [torch.from_numpy(self.footage.read(window)) for window in windows]
        return VAEBatch(torch.stack(videos))

    def turns(self, step: int) -> tuple[str, ...]:
        """The VAE learns in every step, the discriminator from the adversarial term's first on."""
        adversarial = self.adversary is not None and self.options.adversarial.active(step)
        return (MODEL, DISCRIMINATOR) if adversarial else (MODEL,)

    def losses(
        self,
        turn: str,
        models: Mapping[str, nn.Module],
        batch: VAEBatch,
        microbatch: MicrobatchIndex,
        device: torch.device,
    ) -> Iterator[Losses]:
        """Weighted sum of the terms, and each of them, of every chunk of the clips.

        The discriminator's losses compare what the VAE's turn reconstructed, in the same chunks.
        """
        frames = batch.video.shape[1]
        chunks = clip_chunks(frames, self.chunk_frames, self.vae.temporal_stride)
        if turn == DISCRIMINATOR:
            assert self.adversary is not None
            for chunk, fake in zip(chunks, batch.reconstructions, strict=True):
                video = to_video(to_device(batch.video[:, chunk.frames], device))
                found = self.adversary.discriminator_losses(models[turn], video, fake, microbatch)
                yield replace(found, share=chunk.share, last=chunk.last)
            return
        generator = keyed_generator(microbatch.seed, "posterior", microbatch.step, microbatch.micro)
        noise = torch.randn(self._latent_shape(batch.video), generator=generator)
        stream = VAEStream(detach=True) if len(chunks) > 1 else None
        drawn = losses.compared_frames(self.options.perceptual.frames, frames, microbatch)
        error = torch.zeros((), device=device)
        for chunk in chunks:
            video = to_video(to_device(batch.video[:, chunk.frames], device))
            chunk_noise = to_device(noise[:, :, chunk.latents], device)
            reconstruction, mean, logvar = models[turn](video, chunk_noise, stream)
            parts = self._terms(video, reconstruction, mean.float(), logvar.float(),
                                microbatch.step, drawn, chunk)  # fmt: skip
            terms = {name: getattr(self.options, name).weight * v for name, v in parts.items()}
            total = torch.stack(list(terms.values())).sum(0)
            if self.adversary is not None and self.options.adversarial.active(microbatch.step):
                loss, more = self.adversary.generator_loss(
                    models[DISCRIMINATOR], reconstruction, total - terms.get("kl", 0),
                    self._last_layer,
                )  # fmt: skip
                total, parts = total + loss, parts | more
                batch.reconstructions.append(reconstruction.detach())
            with torch.no_grad():
                error = error + losses.squared_error(reconstruction, video) * chunk.share
                if chunk.last:  # of the clip, which is no mean of the chunks'
                    parts["psnr"] = losses.decibels(error) / chunk.share
            logged = {name: value.detach() for name, value in parts.items()}
            yield Losses(total, logged, share=chunk.share, last=chunk.last)

    def _terms(
        self,
        video: Tensor,
        reconstruction: Tensor,
        mean: Tensor,
        logvar: Tensor,
        step: int,
        drawn: Tensor | None,
        chunk: Chunk,
    ) -> dict[str, Tensor]:
        """The terms of this step by name, (B,) each, without their weights, scaled for `chunk`."""
        options = self.options
        terms = {}
        if options.l1.active(step):
            terms["l1"] = losses.l1(reconstruction, video)
        if options.kl.active(step):
            divergence = losses.kl(mean, logvar, options.kl.reduction)
            terms["kl"] = divergence * chunk.kl_scale(options.kl.reduction)
        if self.distance is not None and options.perceptual.active(step):
            frames, scale = chunk.drawn(drawn)
            distance = self.distance.to(video.device)
            if scale:
                distances = losses.perceptual(distance, reconstruction, video, frames)
            else:  # none of the drawn frames is in this chunk
                distances = per_sample_mean(reconstruction)
            terms["perceptual"] = distances * scale
        return terms

    def eval_items(self) -> list[ClipWindow]:
        """A few fixed windows."""
        return self.footage.eval_windows()

    def measure(self, item: ClipWindow, device: torch.device) -> dict[str, float]:
        """Measures of the posterior's mean of a window, see `VAEEvaluation`."""
        return self.evaluation.measure(self.vae, self._reconstruct, item, device)

    def preview_items(self) -> list[ClipWindow]:
        """Windows of the largest evaluation shape."""
        return largest_windows(self.footage)

    def preview(self, item: ClipWindow, device: torch.device) -> Preview:
        """The original over its reconstruction."""
        video = read_video(self.footage, item)[None].to(device)
        both = torch.cat((video[0], self._reconstruct(video)[0]), dim=2)
        return Preview(to_uint8_frames(both), item.clip, self.fps)

    def save(self, folder: Path, step: int, device: torch.device) -> None:
        """Measure the latents' statistics, then write the VAE."""
        (folder / "config.json").unlink(missing_ok=True)  # written last: marks a complete folder
        if not self.keep_statistics:
            windows = self.footage.training_windows()
            mean, std = measure_latents(self.vae, self.footage, windows, device)
            self.vae.shape = replace(self.vae.shape, latent_mean=mean, latent_std=std)
        save_vae(self.vae, folder, metadata={**self.metadata, "step": str(step)})

    def saved_step(self, folder: Path) -> int | None:
        """Step of the VAE in `folder`."""
        return saved_step(folder)

    def _in_chunks(self, frames: int) -> bool:
        """Whether clips of so many frames are coded in chunks outside of training, too."""
        return self.chunk_frames is not None and frames > self.chunk_frames

    def _reconstruct(self, video: Tensor) -> Tensor:
        chunked = self._in_chunks(video.shape[2])
        return self.vae.decode(self.vae.encode(video, chunked=chunked), chunked=chunked).float()

    def _latent_shape(self, frames_BTHWC: Tensor) -> tuple[int, ...]:
        batch, frames, height, width, _ = frames_BTHWC.shape
        time, space = self.vae.temporal_stride, self.vae.spatial_stride
        z_dim = self.vae.shape.z_dim
        return (batch, z_dim, latent_frames(frames, time), height // space, width // space)
