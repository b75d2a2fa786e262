"""`wanctl data caption-export`: reviewed captions as conversations for trainers of captioners."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wanctl.atomic import remove_leftovers, write_bytes
from wanctl.caption.clips import PartClips, read_kept
from wanctl.data.batches.holdout import hold_out
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import ClipPlan, ExportFormat, cut_clips, kept_clips, plan_clip
from wanctl.errors import UserError
from wanctl.exchange.chat.confirmed import Confirmed, confirmed_clips
from wanctl.exchange.chat.files import conversation_files
from wanctl.exchange.chat.pairs import IMAGE, Pair, Sampling, pairs_of
from wanctl.exchange.manifest import NAME, ExportManifest
from wanctl.exchange.target import check_target
from wanctl.lock import locked
from wanctl.log import log, progress
from wanctl.recipe.load import LoadedRecipe
from wanctl.video.decode import iter_window
from wanctl.video.encode import write_png
from wanctl.video.workers.worker_pool import DecodePool

CLIPS = "clips"
EVIDENCE = ("exposure", "blur", "ocr", "motion", "category", "shot_size")
"""Filters whose measurements stand in the questions, as in those of the captioner."""


def caption_export(loaded: LoadedRecipe, out: Path, to: Path, captioner: str) -> None:
    """Write clips as files, and what a captioner shall say of them.

    Files of an earlier export that still hold are kept, others of its files are deleted.

    Args:
        loaded: the recipe; `dataset`, `caption`, `export`, `curate.decode` and `holdout` of
            `train_dit` are used.
        out: the run folder.
        to: receives the files.
        captioner: `review`, or the captioner whose captions are taken.

    Raises:
        UserError: no data set or selection, nothing to export, a folder that cannot be used.
    """
    recipe = loaded.recipe
    dataset = DatasetDir.open(recipe.dataset.path or out / "dataset")
    rows = kept_clips(dataset, recipe.dataset.selection)
    folder = to.resolve()
    check_target(folder, rows)
    found = confirmed_clips(dataset, captioner, {row["id"]: None for row in rows})
    rows = [row for row in rows if row["id"] in found]
    with locked(folder):
        remove_leftovers(folder)
        pairs = _pairs(loaded, dataset, found)
        manifest = ExportManifest(folder)
        plans = _plans(loaded, rows, folder)
        media = _write_media(loaded, plans, pairs, folder, manifest)
        pairs = [pair for pair in pairs if pair.clip in media or not pair.shown]
        held = hold_out(rows, recipe.train_dit.holdout, recipe.train_dit.holdout_by)
        ids = {row["id"] for row, flag in zip(rows, held.flags, strict=True) if flag}
        files = conversation_files(pairs, media, ids)
        manifest.record_files(files)
        for name, text in files.items():
            write_bytes(folder / name, text.encode())
        manifest.remove_stale([*files, *media.values(), *(f"{CLIPS}/{p.id}.mp4" for p in plans)])
    _log(folder, pairs, ids, manifest, held.text)


def _pairs(loaded: LoadedRecipe, dataset: DatasetDir, found: Mapping[str, Confirmed]) -> list[Pair]:
    """Conversations of all clips, in the order of the data set."""
    section = loaded.recipe.caption
    sampling = Sampling(section.fps, section.max_frames)
    kept = read_kept(dataset, loaded.recipe.dataset.selection)
    pairs: list[Pair] = []
    done: set[str] = set()
    for part in dataset.parts("clips"):
        clips = PartClips(dataset, part, None, kept)
        for clip_id in clips.ids:
            if clip_id in found and clip_id not in done:
                done.add(clip_id)
                clip = clips.clip(clip_id, EVIDENCE)
                pairs += pairs_of(clip, found[clip_id], sampling)
    clear = [pair for pair in pairs if not pair.is_ambiguous]
    if len(clear) < len(pairs):
        log.warning(
            "%d conversations hold <video>, <image> or <audio> in their text, which trainers would "
            "take for media, and are left out", len(pairs) - len(clear),
        )  # fmt: skip
    return clear


def _plans(loaded: LoadedRecipe, rows: Sequence[dict[str, Any]], folder: Path) -> list[ClipPlan]:
    section = loaded.recipe.export
    form = ExportFormat(
        fps=section.fps or loaded.recipe.train_dit.clip_fps,
        height=section.height,
        width=section.width,
        crf=section.crf,
        trim_to_latents=False,
    )
    return [plan_clip(row, folder / CLIPS, form) for row in rows]


def _write_media(
    loaded: LoadedRecipe,
    plans: Sequence[ClipPlan],
    pairs: Sequence[Pair],
    folder: Path,
    manifest: ExportManifest,
) -> dict[str, str]:
    """Write the clips that are shown; clip id -> file, a PNG for a still image.

    Raises:
        UserError: none of them can be written.
    """
    shown = {pair.clip: pair.shown for pair in pairs if pair.shown}
    wanted = [plan for plan in plans if plan.id in shown]
    manifest.record_files(f"{CLIPS}/{plan.id}.mp4" for plan in wanted)
    decode = loaded.recipe.curate.decode
    pool = DecodePool(decode.workers, decode.timeout_s, int(decode.memory_gb * 2**30))
    with pool, progress(len(wanted), "export clips") as bar:
        results = list(cut_clips(wanted, pool, bar))
    manifest.left_out = {plan.id: why for plan, why in results if why}
    media = {}
    for plan, why in results:
        if not why:
            media[plan.id] = plan.path.relative_to(folder).as_posix()
            if shown[plan.id] == IMAGE:
                media[plan.id] = _first_frame(plan, manifest)
    if wanted and not media:
        first = wanted[0].id
        raise UserError(
            f"{folder}: none of {len(wanted)} clips could be written; the first, {first}: "
            f"{manifest.left_out[first]}"
        )
    return media


def _first_frame(plan: ClipPlan, manifest: ExportManifest) -> str:
    """Write the first frame of a written clip as PNG; trainers take no video of one frame."""
    name = f"{CLIPS}/{plan.id}.png"
    manifest.record_files([name])
    path = plan.path.with_suffix(".png")
    whole = 2**62
    write_png(path, next(iter_window(plan.path, 0, whole, fps=plan.form.fps, frames=1)))
    return name


def _log(
    folder: Path,
    pairs: Sequence[Pair],
    held_out: set[str],
    manifest: ExportManifest,
    how: str,
) -> None:
    clips = {pair.clip for pair in pairs if pair.shown}
    if how:
        log.info("%s", how)
    log.info(
        "%d conversations on %d clips (%d held out) and %d on structures alone in %s, for "
        "LLaMA-Factory and ms-swift",
        sum(bool(pair.shown) for pair in pairs), len(clips), len(clips & held_out),
        sum(not pair.shown for pair in pairs), folder,
    )  # fmt: skip
    if manifest.left_out:
        log.warning(
            "%d clips could not be written; %s gives the reasons", len(manifest.left_out),
            folder / NAME,
        )  # fmt: skip
