"""`wanctl eval vae`: find VAEs and clips, compare, write the table, JSON and pictures."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wanctl.atomic import replacing, write_bytes
from wanctl.data.dataset import DatasetDir
from wanctl.device import DTYPES, pick_device, pick_dtype
from wanctl.errors import UserError, unknown
from wanctl.eval.vae.chart import Point, draw_chart
from wanctl.eval.vae.clips import ClipsError, dataset_clips, held_out_ids, named_clips, spread
from wanctl.eval.vae.compare import Comparison, Networks, Outcome, fvd_fits, networks_key
from wanctl.eval.vae.cost import Cost, cost_from, cost_key, measure_cost, stored
from wanctl.eval.vae.networks import CodingOptions, NamedVAE, common_multiple, load_vaes
from wanctl.eval.vae.store import ResultStore
from wanctl.eval.vae.summary import clip_records, summarise, table_rows
from wanctl.eval.vae.windows import Clip, WindowOptions
from wanctl.lock import locked
from wanctl.log import log, progress
from wanctl.metrics.frechet import MIN_FRAMES, NAMES, VideoFeatures
from wanctl.metrics.lpips_vgg import VGGDistance
from wanctl.metrics.perceptual import PerceptualDistance
from wanctl.model.shapes import PixelShape, floor_frames, valid_frames
from wanctl.recipe.load import load_recipe
from wanctl.video.workers.worker_pool import DecodePool

JSON_FILE, CHART_FILE = "eval.json", "quality-speed.png"
WORKERS, TIMEOUT_S, MEMORY_BYTES = 2, 600.0, 4 * 2**30


@dataclass(frozen=True)
class EvalOptions:
    """What `wanctl eval vae` measures; the defaults are those of the command.

    Attributes:
        clips: files and folders of footage; empty: clips of the first run folder that is named.
        max_clips: at most so many clips, evenly spaced.
        frames: length of a window.
        size_px: limit of the shorter side.
        fps: limit of the frame rate.
        chunked: code piece by piece; None: where a window is large.
        dtype: auto, fp32, bf16 or fp16.
        device: auto, cpu, cuda or cuda:N.
        fvd: TorchScript file of the network for FVD.
        lpips: files with the weights of LPIPS-VGG; empty: not measured.
    """

    clips: tuple[str, ...]
    max_clips: int
    frames: int
    size_px: int
    fps: float
    chunked: bool | None
    dtype: str
    device: str
    fvd: Path | None
    lpips: tuple[Path, ...]


def eval_vae(refs: Sequence[str], options: EvalOptions, out: Path) -> dict[str, Any]:
    """Compare VAEs; writes `eval.json`, `quality-speed.png` and `clips/NAME.png` to `out`.

    Args:
        refs: run folders, weights folders, files or hub ids.
        options: what is measured.
        out: output folder; what an earlier run measured there is kept.

    Returns:
        What `eval.json` holds.

    Raises:
        UserError: a VAE, clips or a network cannot be read, no clip could be measured, or the
            folder cannot be written.
    """
    _check_frames(options.frames)
    device = pick_device(options.device)
    if options.dtype not in (*DTYPES, "auto"):
        raise UserError(f"--dtype: {unknown('number format', options.dtype, [*DTYPES, 'auto'])}")
    coding = CodingOptions(device, pick_dtype(options.dtype, device), options.chunked)
    vaes = load_vaes(refs, coding.dtype)
    window = WindowOptions(options.frames, options.fps, options.size_px, common_multiple(vaes))
    clips, origin = _find_clips(refs, options)
    networks, notes = _networks(options, window, device)
    with locked(out):
        pool = DecodePool(WORKERS, TIMEOUT_S, MEMORY_BYTES)
        with pool:
            outcome = Comparison(vaes, coding, window, networks, out).run(clips, pool)
        _report_failures(outcome, clips)
        costs = _costs(vaes, _usual_shape(outcome), coding, out)
        result = {
            "measured": _describe(outcome, origin, coding),
            "notes": notes,
            "settings": _settings(options, window, coding),
            "vaes": summarise(vaes, outcome, costs),
            "clips": clip_records(outcome),
            "failed": [{"clip": clip, "vae": vae, "why": why} for clip, vae, why in outcome.failed],
        }
        write_bytes(out / JSON_FILE, json.dumps(result, indent=1, allow_nan=False).encode())
        _write_chart(result, out)
    for line in (result["measured"], *notes):
        log.info("%s", line)
    log.info("look at %s and %s", out / CHART_FILE, out / "clips")
    return result


def columns_and_rows(result: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The table of a result: headers and rows."""
    names = [record["name"] for record in result["vaes"]]
    return ("measure", *names, ""), table_rows(result["vaes"])


def _check_frames(frames: int) -> None:
    if not valid_frames(frames):
        low = floor_frames(max(1, frames))
        raise UserError(f"--frames: got {frames}; must be 4n+1, e.g. {low} or {low + 4}")


def _find_clips(refs: Sequence[str], options: EvalOptions) -> tuple[list[Clip], str]:
    """The clips, and where they come from."""
    if options.clips:
        clips, origin = named_clips(options.clips), ", ".join(options.clips)
    else:
        clips, origin = _clips_of_run(refs)
    chosen = spread(clips, options.max_clips)
    if len(chosen) < len(clips):
        log.info("%d of %d clips are taken, evenly spaced; --max-clips takes more",
                 len(chosen), len(clips))  # fmt: skip
    return chosen, origin


def _clips_of_run(refs: Sequence[str]) -> tuple[list[Clip], str]:
    """Clips of the first reference that is a run folder with a data set.

    Raises:
        ClipsError: there is none.
        RecipeError: the recipe beside its VAE is none of this version.
    """
    for ref in refs:
        run = Path(ref).expanduser()
        recipe_file = run / "vae" / "recipe.yaml"
        loaded = load_recipe(str(recipe_file)) if recipe_file.is_file() else None
        path = loaded.recipe.dataset.path if loaded else None
        if not ((path or run / "dataset") / "dataset.json").is_file():
            continue
        dataset = DatasetDir.open(path or run / "dataset")
        if loaded is None:
            (selection, *_) = _selections(dataset)
            return dataset_clips(dataset, selection, None), f"kept clips of {dataset.path}"
        section, selection = loaded.recipe.train_vae, loaded.recipe.dataset.selection
        held_out = held_out_ids(
            dataset,
            selection,
            section.buckets,
            section.clip_fps,
            section.holdout,
            section.holdout_by,
        )
        kind = "held-out" if held_out else "kept"
        return (
            dataset_clips(dataset, selection, held_out or None), f"{kind} clips of {dataset.path}",
        )  # fmt: skip
    raise ClipsError(
        f"no clips: {', '.join(refs)} is no run folder with a data set; name footage with --clips"
    )


def _selections(dataset: DatasetDir) -> list[str]:
    """Names of the selections, the default one first.

    Raises:
        ClipsError: there is none.
    """
    names = [table.partition("/")[2] for table in dataset.tables("selections")]
    if not names:
        raise ClipsError(f"{dataset.path}: no selection; `wanctl data select` makes one")
    return sorted(names, key=lambda name: (name != "default", name))


def _networks(
    options: EvalOptions, window: WindowOptions, device: torch.device
) -> tuple[Networks, list[str]]:
    """The networks that measure, and a line for what is not measured."""
    notes = []
    features = None
    if options.fvd is None:
        notes.append(f"rFVD was not measured: name I3D as TorchScript, {NAMES}, with --fvd FILE")
    elif not fvd_fits(window):
        notes.append(f"rFVD was not measured: needs --frames of at least {MIN_FRAMES}")
    else:
        features = VideoFeatures(options.fvd, device)
    distances: dict[str, nn.Module] = {"st_lpips": PerceptualDistance()}
    if options.lpips:
        distances["lpips_vgg"] = VGGDistance(options.lpips)
    else:
        notes.append(
            "LPIPS with VGG16 was not measured: name the weights of VGG16 and of its heads, "
            "vgg16-397923af.pth and vgg.pth, with --lpips FILE each"
        )
    for distance in distances.values():
        distance.to(device)
    key = networks_key([*options.lpips, *([options.fvd] if features and options.fvd else [])])
    return Networks(distances, features, key), notes


def _report_failures(outcome: Outcome, clips: Sequence[Clip]) -> None:
    """Name what was left out.

    Raises:
        UserError: no VAE could be measured on any clip; says why for the first.
    """
    lines = [(f"{clip}, {vae}" if vae else clip, why) for clip, vae, why in outcome.failed]
    if not any(outcome.results.values()):
        where, why = lines[0]
        raise UserError(f"none of {len(clips)} clips could be measured; {where}: {why}")
    for where, why in lines:
        log.warning("%s is left out: %s", where, why)


def _costs(
    vaes: Sequence[NamedVAE], shape: PixelShape, coding: CodingOptions, out: Path
) -> dict[str, Cost | None]:
    """Name of each VAE -> what it costs at a shape; from an earlier run where that measured it."""
    store, costs = ResultStore(out), {}
    with progress(len(vaes), "seconds and memory") as bar:
        for vae in vaes:
            key = cost_key(shape, coding)
            if known := store.get(vae.key, key):
                costs[vae.name] = cost_from(known)
            elif cost := measure_cost(vae, shape, coding):
                store.put(vae.key, key, stored(cost))
                costs[vae.name] = cost
            bar.advance(note=vae.name)
    return costs


def _usual_shape(outcome: Outcome) -> PixelShape:
    """The most frequent shape of the windows; of equally frequent ones the largest."""
    shapes = Counter(
        tuple(next(iter(results.values()))["shape"]) for results in outcome.results.values()
    )
    return PixelShape(*max(shapes, key=lambda shape: (shapes[shape], shape)))


def _describe(outcome: Outcome, origin: str, coding: CodingOptions) -> str:
    """One line: what was measured."""
    first = [next(iter(results.values())) for results in outcome.results.values()]
    sizes = Counter(f"{w}x{h}" for _, h, w in (each["shape"] for each in first))
    rates = sorted({round(each["fps"], 3) for each in first})
    cropped = sum(each["full_size"] != each["shape"][:0:-1] for each in first)
    in_chunks = {coding.in_chunks(PixelShape(*each["shape"])) for each in first}
    form = " and ".join("in chunks" if each else "whole" for each in sorted(in_chunks))
    text = ", ".join(f"{size} ({count})" for size, count in sizes.most_common(5))
    more = f" and {len(sizes) - 5} other sizes" if len(sizes) > 5 else ""
    rate = f"{rates[0]:g}" if len(rates) == 1 else f"{rates[0]:g} to {rates[-1]:g}"
    dtype = str(coding.dtype).removeprefix("torch.")
    return (
        f"measured {len(first)} clips ({origin}), {first[0]['shape'][0]} frames at {rate} fps, "
        f"{text}{more}, {cropped} cropped at the centre; coded {form} in {dtype} on {coding.device}"
    )


def _settings(options: EvalOptions, window: WindowOptions, coding: CodingOptions) -> dict[str, Any]:
    return {
        "frames": window.frames,
        "fps": window.fps,
        "size_px": window.size_px,
        "multiple": window.multiple,
        "chunked": coding.chunked,
        "dtype": str(coding.dtype).removeprefix("torch."),
        "device": str(coding.device),
        "fvd": None if options.fvd is None else str(options.fvd),
        "lpips": [str(path) for path in options.lpips],
    }


def _write_chart(result: dict[str, Any], out: Path) -> None:
    """Draw quality against speed of the VAEs that have both."""
    points = [
        Point(
            record["name"], record["cost"]["megapixels_per_s"], record["measures"]["psnr"],
            record["parameters"],
        )
        for record in result["vaes"]
        if record["cost"] is not None and record["measures"]["psnr"] is not None
    ]  # fmt: skip
    if points:
        cost = next(each["cost"] for each in result["vaes"] if each["cost"] is not None)
        size = "x".join(map(str, cost["shape"]))
        with replacing(out / CHART_FILE) as temp:
            draw_chart(points, f"Reconstruction of {size} on {cost['hardware']}").save(temp)
