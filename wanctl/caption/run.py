"""`wanctl caption`: runs the backends of the recipe in order until every kept clip has a caption.

This module reads the recipe; `job.py` says what is done with it.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from wanctl.caption.backends import VLM, CaptionOptions, Sidecar, build_captioner
from wanctl.caption.captioner_run import CaptionerSettings
from wanctl.caption.engines import ENGINES
from wanctl.caption.job import EXAMPLES, CaptionJob, CaptionTotals, CaptionWorker, VlmJob
from wanctl.caption.pipeline.decode import DecodeLimits
from wanctl.caption.pipeline.retry import check_retry, forget
from wanctl.caption.pipeline.shared_captions import set_shared_aside
from wanctl.caption.structured.build import StructuredFactory, StructuredOptions, measure_evidence
from wanctl.caption.structured.clip_steps import StepsFactory
from wanctl.data.card import refresh_captions
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import report_lost
from wanctl.data.parts.shards import belongs, parse_shard
from wanctl.data.table_order import record_tables
from wanctl.distributed.ray_actors import RayResources
from wanctl.errors import UserError
from wanctl.lock import lock_description
from wanctl.log import log
from wanctl.recipe.captions.caption import CaptionSection
from wanctl.recipe.captions.chat_model import ChatModelSection
from wanctl.recipe.captions.checks import CaptionChecksSection
from wanctl.recipe.load import LoadedRecipe
from wanctl.recipe.schema import Recipe
from wanctl.vlm.chat import ChatModelOptions


def caption(
    loaded: LoadedRecipe, out: Path, shard: str | None = None, retry: Sequence[str] = ()
) -> None:
    """Caption the kept clips of a data set and log counts per backend.

    Stopped at any time and started again, it continues where it stopped.

    Args:
        loaded: the recipe; its `caption`, `dataset` and `curate.decode` sections are used.
        out: output folder; the data set is `dataset` in it unless the recipe says otherwise.
        shard: "i/n": only the parts whose number leaves i when divided by n.
        retry: what is tried again: names of checks, `flagged` for all of them, or kinds of failures
            in the quarantine, besides those of the machine, which always are.

    Raises:
        UserError: no data set, no such selection, a backend or model that cannot run, or no clip
            that got a caption.
    """
    recipe = loaded.recipe
    share = None if shard is None else parse_shard(shard)
    _check_captioners(recipe.caption)
    path = recipe.dataset.path or out / "dataset"
    DatasetDir.open(path)  # it has to be there
    dataset = DatasetDir.create_or_open(path, share=share)
    checks = check_retry(dataset, retry)
    job = _job(recipe, checks)
    parts = [each for each in dataset.first_rows() if share is None or belongs(each[0], share)]
    with CaptionWorker(dataset, job) as worker:
        record_tables(dataset, worker.table_names)
        forget(dataset, worker.tables.get(VLM), retry, [part for part, _ in parts])
        known = dataset.clips(["id"])["id"].to_pylist()
        kept = worker.kept.ids
        if kept is not None and (lost := len(kept.difference(known))):
            report_lost(dataset, recipe.dataset.selection, lost)
        totals = ENGINES[recipe.caption.engine](worker, dataset, job, parts)
        if totals.model.counts.captions:
            set_shared_aside(dataset, worker.tables[VLM], {part for part, _ in parts})
        with lock_description(dataset.path):  # the last of several shards sees all captions
            refresh_captions(dataset, set(known) if kept is None else kept)
        _log_summary(worker, job, totals)
    if totals.without and not totals.clips.total():
        raise UserError(
            f"{dataset.path}: none of {totals.without} clips got a caption from "
            f"{', '.join(job.backends)}; add sidecar files, or `template` to caption.backends"
        )


def _check_captioners(section: CaptionSection) -> None:
    """Raise UserError for mistakes of the recipe before any data set is looked at."""
    options = CaptionOptions(sidecar_dir=section.sidecar_dir)
    for name in section.backends:
        if name != VLM:
            build_captioner(name, options).check()


def chat_model_options(section: ChatModelSection, device: str) -> ChatModelOptions:
    """A model of the recipe as `build_chat_model` takes it."""
    return ChatModelOptions(**section.model_dump(), device=device)


def structured_options(section: CaptionSection) -> StructuredOptions:
    """The settings of the structured pass."""
    names = (
        "lengths", "styles", "languages", "motion", "retries", "fps", "max_frames", "slow_fast",
    )  # fmt: skip
    return StructuredOptions(
        **{name: getattr(section, name) for name in names}, max_pixels=section.model.max_pixels
    )


def decode_limits(recipe: Recipe) -> DecodeLimits:
    """Limits of the processes that decode clips."""
    decode = recipe.curate.decode
    return DecodeLimits(
        workers=decode.workers,
        timeout_s=decode.timeout_s,
        timeout_per_gb_s=decode.timeout_per_gb_s,
        memory_bytes=int(decode.memory_gb * 2**30),
    )


def _job(recipe: Recipe, retry: tuple[str, ...]) -> CaptionJob:
    section, ray = recipe.caption, recipe.caption.ray
    backends = _backends(section)
    return CaptionJob(
        backends=backends,
        options=CaptionOptions(sidecar_dir=section.sidecar_dir),
        settings=CaptionerSettings(section.quote_text, decode_limits(recipe)),
        vlm=_vlm_job(recipe, retry) if VLM in backends else None,
        selection=recipe.dataset.selection,
        ray=RayResources("caption", **ray.model_dump()),
    )


def _backends(section: CaptionSection) -> tuple[str, ...]:
    """The recipe's backends, without the model where none is named.

    Raises:
        UserError: none is left.
    """
    if VLM not in section.backends or section.model.model is not None:
        return section.backends
    others = tuple(name for name in section.backends if name != VLM)
    if not others:
        raise UserError(
            "caption.model.model: got null, and caption.backends names nothing but `vlm`; name a "
            "model (Qwen/Qwen2.5-VL-7B-Instruct, a folder), or add `sidecar` or `template`"
        )
    log.info("caption.model.model is null: no model writes captions")
    return others


def _vlm_job(recipe: Recipe, retry: tuple[str, ...]) -> VlmJob:
    section = recipe.caption
    text = section.text_model
    return VlmJob(
        model=chat_model_options(section.model, recipe.device),
        text_model=None if text is None else chat_model_options(text, recipe.device),
        factory=partial(_factory, structured_options(section), section.checks, recipe.device),
        max_bytes=int(section.memory_gb * 2**30),
        retry=retry,
    )


def _factory(
    options: StructuredOptions,
    checks: CaptionChecksSection,
    device: str,
    model: str,
    text_model: str,
) -> StepsFactory:
    needs_frames = checks.similarity is not None or checks.detector is not None
    measure = measure_evidence
    if needs_frames:
        from wanctl.caption.frame_checks.measure import build_measure  # noqa: PLC0415  (torch)

        measure = build_measure(
            similarity=checks.similarity,
            min_similarity=checks.min_similarity,
            detector=checks.detector,
            device=device,
        )
    return StructuredFactory(
        options,
        model=model,
        text_model=text_model,
        measure=measure,
        captions_need_frames=needs_frames,
    )


def _log_summary(worker: CaptionWorker, job: CaptionJob, totals: CaptionTotals) -> None:
    """Log how many clips each backend captioned, and warnings."""
    counts = ", ".join(f"{name} {totals.clips[name]}" for name in job.backends)
    log.info("captioned %d clips: %s", totals.clips.total(), counts)
    totals.model.log(VLM)
    for captioner in worker.captioners.values():
        if isinstance(captioner, Sidecar):
            captioner.log_unused_cues()
    if totals.unquoted:
        policy = job.settings.quote_text
        action = {"append": "it was added", "drop": "they were dropped"}[policy]
        log.warning(
            "%d captions did not quote the text in the picture; %s", totals.unquoted, action
        )
    for text, sources in totals.duplicates.repeated():
        log.warning("%d different sources share one caption: %.60r", sources, text)
    if totals.without:
        some = ", ".join(totals.examples[:EXAMPLES])
        log.warning(
            "%d clips have no caption and will not be trained on (%s); "
            "add sidecar files or `template` to caption.backends",
            totals.without,
            some + (", ..." if totals.without > EXAMPLES else ""),
        )
