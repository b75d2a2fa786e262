"""Outputs at several strengths of the LoRAs, one run of the pipeline for each."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from wanctl.checkpoint.resolve import ResolvedWeights
from wanctl.diffusion.phases import UNCHANGED
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.sample.outputs import OutputFolder
from wanctl.sample.pipeline import SamplingPipeline
from wanctl.sample.request import SampleRequest

FINGERPRINT_DIGITS = 16


def scaled_weights(weights: ResolvedWeights, strengths: Sequence[float]) -> list[ResolvedWeights]:
    """The weights with the strengths of all LoRAs multiplied by each factor.

    Args:
        weights: with their LoRAs.
        strengths: factors; empty: the weights as they are.

    Raises:
        UserError: there are factors and no LoRA.
    """
    if strengths and not weights.loras:
        raise UserError(
            "sample.lora_strengths: there is no LoRA: none in the run folder, none in model.loras; "
            "name one, or leave the key out"
        )
    return [_scaled(weights, factor) for factor in strengths] or [weights]


def check_phases(requests: Sequence[SampleRequest], weights: ResolvedWeights) -> None:
    """Check that phases give a strength for each LoRA.

    Raises:
        UserError: they do not, or there is no LoRA.
    """
    names = ", ".join(lora.path.name for lora in weights.loras)
    for phases in {request.phases for request in requests}:
        for index, strengths in enumerate(phase.lora_strengths for phase in phases):
            where = f"sample.phases.{index}.lora_strengths"
            if not weights.loras and strengths != UNCHANGED:
                raise UserError(
                    f"{where}: there is no LoRA: none in the run folder, none in model.loras; name "
                    "one, or leave the key out"
                )
            if isinstance(strengths, tuple) and len(strengths) != len(weights.loras):
                raise UserError(
                    f"{where}: got {len(strengths)} for the LoRAs {names}; give one for each, "
                    "or one number for all"
                )


def _scaled(weights: ResolvedWeights, factor: float) -> ResolvedWeights:
    if factor == 1:
        return weights
    text = f"{weights.fingerprint} LoRAs x {factor!r}"
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]
    loras = tuple(replace(lora, strength=lora.strength * factor) for lora in weights.loras)
    return replace(weights, loras=loras if factor else (), fingerprint=fingerprint)


def write_outputs(pipeline: SamplingPipeline, outputs: OutputFolder, *, save_latents: bool) -> None:
    """Sample outputs; write each as soon as its latents are there."""
    for clips in pipeline.clips():
        clips.write(save_latents=save_latents)
        _finish(pipeline, outputs, clips.request)
    for request, latents in pipeline.latents():
        if save_latents:
            outputs.write_latents(request, latents)
        pipeline.write(request, latents)
        _finish(pipeline, outputs, request)


def _finish(pipeline: SamplingPipeline, outputs: OutputFolder, request: SampleRequest) -> None:
    if pipeline.previews:
        pipeline.previews.remove(request)
    if len(pipeline.requests) > 1:
        log.info("%s", outputs.path(request))


def strength_notes(strengths: Sequence[float], count: int) -> Iterator[str]:
    """Label of each tile of a grid whose rows go through the strengths; empty without any."""
    for _ in range(count):
        yield from (f"LoRA x {strength:g}" for strength in strengths or ())
