"""The sampling pipeline: prompts to latents to files, one large network in memory at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wanctl.background import run_in_background
from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.load import read_dit_shape
from wanctl.checkpoint.resolve import ResolvedWeights
from wanctl.checkpoint.tiny_decoder import load_output_vae
from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.generate import Denoising
from wanctl.diffusion.step_cache import velocity_changes, with_step_cache
from wanctl.distributed.context import DistributedContext
from wanctl.distributed.layout import ParallelOptions
from wanctl.encoders.task_inputs import InputEncoders
from wanctl.errors import ProblemsError
from wanctl.estimate.report import check_memory
from wanctl.log import progress
from wanctl.model.shapes import latent_shape
from wanctl.model.variants import Variant
from wanctl.runtime.vae_tiling import TiledVAE
from wanctl.sample.clips.loop import ClipLoop, is_clip_task
from wanctl.sample.denoise.batches import batches
from wanctl.sample.denoise.expert_loader import ExpertLoader
from wanctl.sample.denoise.noise import BatchNoise
from wanctl.sample.denoise.previews import StepPreviews
from wanctl.sample.denoise.processes import check_single_process_options, layout_of
from wanctl.sample.denoise.segments import DenoiseSegment, segments_of
from wanctl.sample.finite import check_conditions, check_latents, finite_pieces
from wanctl.sample.inputs import InputCache
from wanctl.sample.outputs import OutputFolder
from wanctl.sample.prompt_embeddings import PromptEncoder
from wanctl.sample.request import SampleRequest, prompts_to_encode, workload_of
from wanctl.tasks.api import pad_texts
from wanctl.tasks.clips.api import ClipTask
from wanctl.tasks.inputs import Inputs
from wanctl.tasks.pixels import to_frames, to_image
from wanctl.tasks.table import get_task
from wanctl.video.encode import write_png, write_video

if TYPE_CHECKING:
    from wanctl.distributed.vae_rows import VAERowParallel
    from wanctl.model.vae.autoencoder import WanVAE
    from wanctl.model.vae.tiny_vae import TinyVAE

TITLE_LENGTH = 40
# Batches that wait half done for the other expert; each holds some copies of its latents.
MAX_PENDING = 8
# Frames that wait for the video encoder: those of the next piece fit while it encodes the last.
MAX_QUEUED_FRAMES = 8


class SamplingPipeline:
    """Samples outputs of one model; requests of one kind share a batch where that is faster.

    Args:
        requests: what to sample.
        inputs: reads their images and videos.
        outputs: names their files.
        weights: of the model.
        variant: that the weights belong to.
        distributed: the processes that share the work, and their device.
        layout: how the recipe says that processes divide the work.
        batch: outputs per batch; None: as many as are faster together.

    Attributes:
        previews: writes previews while steps are computed; None: there are none.

    Raises:
        UserError: the weights do not belong together, or memory does not suffice.
        ProblemsError: the work cannot be divided in this way.
    """

    def __init__(
        self,
        requests: Sequence[SampleRequest],
        inputs: InputCache,
        outputs: OutputFolder,
        weights: ResolvedWeights,
        variant: Variant,
        distributed: DistributedContext,
        layout: ParallelOptions,
        batch: int | None,
    ) -> None:
        self.requests = requests
        self.inputs = inputs
        self.outputs = outputs
        self.batch = batch
        self.distributed = distributed
        self.weights = weights
        self.device = device = distributed.device
        self.vae = load_output_vae(weights.vae, device=device)
        self.dit_shape = shape = read_dit_shape(weights.dit)
        self._check_weights()
        self.previews: StepPreviews | None = None
        self._cached_conditions: tuple[str, Conditions] | None = None
        first = requests[0]
        kinds = {request.kind: request for request in requests}.values()
        self._uses = {rule.transformer for request in kinds for rule in request.step_rules}
        self._transformers = ExpertLoader(
            weights, first.placement, first.precision, getattr(torch, first.dtype), distributed,
            self._uses,
        )  # fmt: skip
        if distributed.num_processes > 1:
            for request in kinds:
                check_single_process_options(request)
        else:
            loaded = replace(variant, dit=shape, vae=self.vae.shape)
            for request in kinds:
                check_memory(workload_of(request, loaded, 1), device)
                self.shared_vae(request)  # refuses impossible tiles
        files = weights.dit.dit or ()
        self.distributed.set_layout(layout_of(layout, distributed, shape, requests, files))

    def _check_weights(self) -> None:
        """Check that the transformer fits the VAE and the tasks.

        Raises:
            WeightsError: it does not.
        """
        shape, dit, vae = self.dit_shape, self.weights.dit.root, self.weights.vae.root
        if shape.out_channels != self.vae.shape.z_dim:
            raise WeightsError(
                f"the transformer ({dit}) makes {shape.out_channels} channels and the "
                f"VAE ({vae}) takes {self.vae.shape.z_dim}; they are not of one model"
            )
        for task in dict.fromkeys(request.task for request in self.requests):
            if reason := get_task(task).refusal(shape):
                raise WeightsError(f"the transformer ({dit}) cannot do task {task}: {reason}")
        if not shape.sparse_attention and any(each.sparsity is not None for each in self.requests):
            raise ProblemsError([("sample.sparsity", f"{dit} has full attention; leave it out")])

    @torch.inference_mode()
    def latents(self) -> Iterator[tuple[SampleRequest, Tensor]]:
        """Denoise batch after batch; yields (1, C, T, Y, X) fp32 latents of each request.

        With two experts, MAX_PENDING batches run their high-noise steps before the low-noise expert
        is loaded, so that each expert loads once for all of them; so do phases of other strengths
        of the LoRAs.
        """
        requests = [request for request in self.requests if not is_clip_task(request)]
        if not requests:
            return
        self._conditions(requests[0])  # encode inputs while nothing else is in memory
        texts = self._embed_prompts(requests)
        planned = list(self._batches(requests))
        together = MAX_PENDING if len(self._uses) > 1 else 1
        for start in range(0, len(planned), together):
            if self.weights.dit.dit_low:
                self._transformers.release()  # the low-noise expert of the batches before
            segments = [
                segment
                for batch in planned[start : start + together]
                for segment in self._segments(batch, texts)
            ]
            segments.sort(key=lambda segment: segment.turn)
            for segment in segments:
                latents = self._run_segment(segment)
                if segment is segments[-1] and start + together >= len(planned):
                    self._transformers.release()  # the VAE has the device to itself
                if latents is not None:
                    first = segment.requests[0]
                    latents = get_task(first.task).output_latents(latents, self.inputs_of(first))
                    yield from zip(segment.requests, latents.split(1), strict=True)

    def clips(self) -> Iterator[ClipLoop]:
        """The loop of each output that is made clip by clip."""
        requests = [request for request in self.requests if is_clip_task(request)]
        if requests:
            texts = self._embed_prompts(requests)
            yield from (ClipLoop(self, self.outputs, request, texts) for request in requests)

    def denoise(
        self,
        request: SampleRequest,
        conditions: Conditions,
        texts: Mapping[str, Tensor],
        clip: int,
        label: str,
    ) -> Tensor:
        """Latents (1, C, T, Y, X) of one clip of an output.

        Args:
            request: the output.
            conditions: of the clip, without texts.
            texts: embeddings of its prompts.
            clip: its number, 0 for the first; each has noise of its own.
            label: says in the progress display which clip it is.
        """
        task = get_task(request.task)
        assert isinstance(task, ClipTask)
        # else as the published code, which draws the noise of clips in a row
        seed, skipped = (request.seed + clip, 0) if task.seeds_clips else (request.seed, clip)
        noise = self._noise([replace(request, seed=seed)])
        noise.skip(skipped)
        if request.driving_prompt is not None:
            text = self._context([texts[request.driving_prompt]])
            conditions = conditions.with_driving_context(text)
        latents = None
        for segment in self._segments([request], texts, conditions, noise):
            latents = self._run_segment(segment, label)
        assert latents is not None
        return latents

    def _embed_prompts(self, requests: Sequence[SampleRequest]) -> Mapping[str, Tensor]:
        encoder = PromptEncoder(
            self.weights, self.dit_shape, self.device, self.outputs.embeddings_folder
        )
        return self.distributed.broadcast_from_main(
            lambda: encoder.embed(prompts_to_encode(requests))
        )

    def _segments(
        self,
        batch: Sequence[SampleRequest],
        texts: Mapping[str, Tensor],
        conditions: Conditions | None = None,
        noise: BatchNoise | None = None,
    ) -> list[DenoiseSegment]:
        """Divide the steps of a batch between the transformers."""
        first = batch[0]
        rules, noise = first.step_rules, noise or self._noise(batch)
        conditions = (conditions or self._conditions(first)).to(self.device).repeated(len(batch))
        context = self._context([texts[request.prompt] for request in batch])
        negative = [texts[request.negative_prompt] for request in batch if first.guided]
        denoising = Denoising(
            noise=noise.draw(),
            step_noise=noise.draw,
            conditions=conditions.with_context(context),
            negative_context=self._context(negative) if negative else None,
            guide_scale=[rule.guide_scale for rule in rules],
            reference_scale=[rule.reference_scale for rule in rules],
            schedule=first.schedule,
            solver=with_step_cache(first.solver, first.step_cache, velocity_changes(rules)),
        )
        return list(segments_of(batch, denoising, rules))

    def _run_segment(self, segment: DenoiseSegment, label: str = "") -> Tensor | None:
        """Compute the steps of a segment; returns the latents after the last step, else None."""
        others = len(segment.requests) - 1
        title = segment.requests[0].title[:TITLE_LENGTH]
        title += f" and {others} more" if others else ""
        model = self._transformers.get(segment.expert, segment.lora_strengths)
        expert = f"{segment.expert}-noise" if segment.expert else ""
        text = " ".join(filter(None, (expert, label, title)))
        with progress(len(segment.steps), text) as bar:
            done = first = segment.steps.start

            def on_step(step: int, latents: Tensor) -> None:
                nonlocal done
                if done == first or step == segment.steps.stop:
                    check_latents(latents, segment.requests[0], step, segment.denoising.steps)
                bar.advance(step - done)
                done = step

            preview = self.previews and self.previews.of(
                segment.requests, segment.denoising.steps, self.inputs_of(segment.requests[0])
            )
            return segment.denoising.run_until(model, segment.steps.stop, on_step, preview)

    @torch.inference_mode()
    def write(self, request: SampleRequest, latents: Tensor) -> None:
        """Decode in pieces, so that memory does not grow with the video, and encode meanwhile."""
        pieces = finite_pieces(self.shared_vae(request).decode_frames(latents), request)
        if not self.distributed.is_main_process:
            for _ in pieces:
                pass
            return
        path, header = self.outputs.path(request), self.outputs.header(request)
        if path.suffix == ".png":
            write_png(path, to_image(next(pieces)[0]), header)
            return
        with progress(request.frames, "decoding") as bar:

            def decode() -> Iterator[np.ndarray]:
                for piece in pieces:
                    for frame in to_frames(piece[0]):
                        yield frame
                        bar.advance()

            def encode(frames: Iterator[np.ndarray]) -> None:
                write_video(path, frames, request.fps, crf=request.crf, metadata=header)

            run_in_background(decode(), encode, MAX_QUEUED_FRAMES)

    def _batches(self, requests: Sequence[SampleRequest]) -> Iterator[list[SampleRequest]]:
        """Group requests that differ in prompts and noise alone, as many as are faster together.

        Products of a batch are rounded differently, so `reference` never batches; several
        processes divide one output better than two.
        """
        single = self.distributed.num_processes > 1 or requests[0].precision == "reference"
        most = self.batch or (1 if single else None)
        return batches(requests, lambda request: request.kind, self._tokens, most)

    def inputs_of(self, request: SampleRequest) -> Inputs:
        """The images and videos of a request."""
        return self.inputs.read(request.input_spec).inputs

    def _tokens(self, request: SampleRequest) -> int:
        latents = latent_shape(request.size, self.vae.shape.spatial_stride)
        return latents._replace(frames=latents.frames + request.more_frames).tokens

    def _context(self, texts: Sequence[Tensor]) -> Tensor:
        return pad_texts(texts, self.dit_shape.text_len).to(self.device)

    def _conditions(self, request: SampleRequest) -> Conditions:
        """Conditions without the text, on the CPU; cached for the next request of its kind."""
        if self._cached_conditions is None or self._cached_conditions[0] != request.kind:
            no_text = torch.zeros(0, self.dit_shape.text_dim)
            inputs, encode = self.inputs_of(request), self.encoders(request)
            conditions = get_task(request.task).conditions(
                [no_text], self.dit_shape.text_len, inputs, request.size, encode
            )
            conditions = conditions.with_frame_rate(self.dit_shape, request.fps)
            check_conditions(conditions, request)
            second = self.dit_shape.second_timestep
            conditions = replace(conditions, sparsity=request.sparsity, second_timestep=second)
            self._cached_conditions = request.kind, conditions
        return self._cached_conditions[1]

    def encoders(self, request: SampleRequest) -> InputEncoders:
        """The networks that encode the inputs of a request."""
        vae, weights = self.shared_vae(request), self.weights
        return InputEncoders(vae, self.dit_shape, weights.image, self.device, weights.audio)

    def release_transformers(self) -> None:
        """Free the transformer's memory."""
        self._transformers.release()

    def _noise(self, batch: Sequence[SampleRequest]) -> BatchNoise:
        first = batch[0]
        dropped = get_task(first.task).dropped_noise(self.inputs_of(first))
        return BatchNoise(batch, self._noise_shape(first), self.distributed, dropped)

    def _noise_shape(self, request: SampleRequest) -> tuple[int, int, int, int]:
        task = get_task(request.task)
        return task.latent_shape(self.vae.shape, *request.size, self.inputs_of(request))

    def shared_vae(self, request: SampleRequest) -> "WanVAE | TinyVAE | VAERowParallel | TiledVAE":
        """The VAE in the form that runs here: in tiles, divided between processes, or plain."""
        if request.vae_tile:
            return TiledVAE(self.vae, request.vae_tile)
        return self.distributed.parallelize_vae(self.vae)
