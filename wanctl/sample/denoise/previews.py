"""Previews while an output is sampled: the predicted clean video through a tiny decoder.

Every few steps a small video, or a picture, is written beside the output's place and replaces the
one before; when the output is written, its preview is removed.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from wanctl.checkpoint.files.published import published_file
from wanctl.checkpoint.tiny_decoder import load_tiny_vae, tiny_decoder_files
from wanctl.diffusion.generate import OnPrediction
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.model.vae.tiny_vae import TinyVAE
from wanctl.model.variants import VAEShape
from wanctl.sample.outputs import OutputFolder
from wanctl.sample.request import SampleRequest
from wanctl.tasks.inputs import Inputs
from wanctl.tasks.pixels import to_frames, to_image
from wanctl.tasks.table import get_task
from wanctl.video.encode import write_png, write_video

MAX_SIDE = 320  # pixels; larger previews are shrunk
CRF = 23


class StepPreviews:
    """Writes the previews of a run's outputs; only the main process has one.

    Args:
        decoder: of the latents that are sampled.
        every: steps from one preview to the next.
        outputs: names the files.
    """

    def __init__(self, decoder: TinyVAE, every: int, outputs: OutputFolder) -> None:
        self._decoder = decoder
        self._every = every
        self._outputs = outputs
        self._announced: set[Path] = set()

    def of(self, batch: Sequence[SampleRequest], steps: int, inputs: Inputs) -> OnPrediction:
        """What `Denoising` calls for a batch.

        Args:
            batch: its requests.
            steps: of the whole schedule; the last one is followed by the output itself.
            inputs: what the batch is made from.
        """

        def on_prediction(step: int, latents: Tensor) -> None:
            done = step + 1
            if done % self._every == 0 and done < steps:
                shown = get_task(batch[0].task).output_latents(latents, inputs)
                for request, each in zip(batch, shown.split(1), strict=True):
                    self._write(request, each, done, steps)

        return on_prediction

    def remove(self, request: SampleRequest) -> None:
        """Delete the preview of an output that is written."""
        self._path(request).unlink(missing_ok=True)

    @torch.inference_mode()
    def _write(self, request: SampleRequest, latents: Tensor, done: int, steps: int) -> None:
        path = self._path(request)
        header = {**self._outputs.header(request), "preview_step": f"{done} of {steps}"}
        pieces = (_shrunk(piece[0]) for piece in self._decoder.decode_frames(latents))
        if path.suffix == ".png":
            write_png(path, to_image(next(pieces)), header)
        else:
            frames = (frame for piece in pieces for frame in to_frames(piece))
            write_video(path, frames, request.fps, crf=CRF, metadata=header)
        if path not in self._announced:
            self._announced.add(path)
            log.info("preview of step %d of %d: %s; replaced every %d steps, removed at the end",
                     done, steps, path, self._every)  # fmt: skip

    def _path(self, request: SampleRequest) -> Path:
        path = self._outputs.path(request)
        return path.with_name(f"{path.stem}.preview{path.suffix}")


def load_previews(
    ref: str, every: int, vae: VAEShape, outputs: OutputFolder, device: torch.device
) -> StepPreviews:
    """Load the decoder of `sample.preview_decoder`.

    Args:
        ref: a file or folder, or the name of a published file.
        every: `sample.preview_every`.
        vae: the VAE whose latents are sampled.
        outputs: names the files.
        device: where the decoder runs.

    Raises:
        UserError: there is no tiny decoder, or it decodes latents of another form.
    """
    path = published_file(ref) or Path(ref).expanduser()
    files = tiny_decoder_files(path)
    if files is None:
        raise UserError(
            f"sample.preview_decoder: {path} holds no tiny decoder; need a file of TAEHV, e.g. "
            "taew2_1.safetensors, or a folder of `wanctl train-vae` with "
            "train_vae.network: tiny_decoder"
        )
    decoder = load_tiny_vae(files, device=device)
    takes, gives = (
        (shape.z_dim, shape.temporal_stride, shape.spatial_stride) for shape in (decoder.shape, vae)
    )
    if takes != gives:
        raise UserError(
            "sample.preview_decoder: {} has {} latent channels, {} frames and {} pixels per "
            "latent; the VAE has {}, {} and {}".format(path, *takes, *gives)
        )
    return StepPreviews(decoder, every, outputs)


def _shrunk(video: Tensor) -> Tensor:
    """(3, T, H, W) with sides of at most MAX_SIDE."""
    scale = MAX_SIDE / max(video.shape[2:])
    if scale >= 1:
        return video
    size = [max(1, round(side * scale)) for side in video.shape[2:]]
    return F.interpolate(video.transpose(0, 1), size, mode="area").transpose(0, 1)
