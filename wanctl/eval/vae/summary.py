"""Figures of each VAE over all clips, as rows of a table and as JSON."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import torch

from wanctl.eval.vae.compare import Outcome, iter_results
from wanctl.eval.vae.cost import Cost
from wanctl.eval.vae.networks import NamedVAE
from wanctl.metrics.frechet import frechet_distance
from wanctl.metrics.latents import LatentSums, add_sums, statistics_of

MEASURES = (
    "psnr",
    "ssim",
    "ms_ssim",
    "st_lpips",
    "lpips_vgg",
    "flicker",
    "seam_time",
    "seam_space",
)


class TableRow(NamedTuple):
    """One line of the table: a figure and how it is written."""

    key: str
    label: str
    unit: str
    format: str


ROWS = (
    TableRow("psnr", "PSNR", "dB, higher is better", ".2f"),
    TableRow("ssim", "SSIM", "higher is better", ".4f"),
    TableRow("ms_ssim", "MS-SSIM", "higher is better; from 176 px", ".4f"),
    TableRow("st_lpips", "ST-LPIPS", "lower is better", ".4f"),
    TableRow("lpips_vgg", "LPIPS (VGG)", "lower is better", ".4f"),
    TableRow("flicker", "flicker", "grey levels in still areas, lower is better", ".3f"),
    TableRow("seam_time", "seams over time", "energy at chunk borders, 1 is none", ".2f"),
    TableRow("seam_space", "seams in space", "energy at block borders, 1 is none", ".2f"),
    TableRow("fvd", "rFVD", "lower is better; biased below 200 clips", ".2f"),
    TableRow("latent_mean", "latent mean", "largest of a channel, 0 is normalised", ".3f"),
    TableRow("latent_std_min", "latent deviation", "smallest of a channel, 1 is normalised", ".3f"),
    TableRow("latent_std_max", "", "largest of a channel", ".3f"),
    TableRow("correlation", "latent correlation", "mean between channels, 0 is independent", ".3f"),
    TableRow("fine_share", "fine latent detail", "power of the highest ring, 1 is noise", ".3f"),
    TableRow("encode_s", "encode", "s per megapixel", ".3g"),
    TableRow("decode_s", "decode", "s per megapixel", ".3g"),
    TableRow("encode_mib", "encode memory", "MiB per megapixel, peak", ".4g"),
    TableRow("decode_mib", "decode memory", "MiB per megapixel, peak", ".4g"),
    TableRow("parameters", "parameters", "million", ".4g"),
)


def summarise(
    vaes: Sequence[NamedVAE], outcome: Outcome, costs: Mapping[str, Cost | None]
) -> list[dict[str, Any]]:
    """One record per VAE: sizes, measures averaged over clips, latents, FVD, cost."""
    return [_record(vae, outcome, costs.get(vae.name)) for vae in vaes]


def table_rows(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The table: a line per figure, a column per VAE; figures that no VAE has are left out."""
    columns = [_figures(record) for record in records]
    rows = []
    for row in ROWS:
        values = [figures.get(row.key) for figures in columns]
        if any(value is not None for value in values):
            cells = ["-" if value is None else format(value, row.format) for value in values]
            rows.append((row.label, *cells, row.unit))
    return rows


def clip_records(outcome: Outcome) -> list[dict[str, Any]]:
    """One record per clip: source, size, and the measures of each VAE."""
    records = []
    for clip, results in outcome.results.items():
        first = next(iter(results.values()))
        same = {name: first[name] for name in ("source", "shape", "full_size", "fps")}
        measures = {name: result["measures"] for name, result in results.items()}
        records.append({"clip": clip, **same, "measures": measures})
    return records


def _record(vae: NamedVAE, outcome: Outcome, cost: Cost | None) -> dict[str, Any]:
    results = dict(iter_results(outcome, vae.name))
    shape = vae.vae.shape
    measures = {}
    for name in MEASURES:
        values = [result["measures"].get(name) for result in results.values()]
        known = [value for value in values if value is not None]
        measures[name] = statistics.fmean(known) if known else None
    sums = [LatentSums.from_lists(result["latents"]) for result in results.values()]
    return {
        "name": vae.name,
        "weights": vae.key,
        "parameters": vae.num_parameters,
        "width": shape.dim,
        "latent_channels": shape.z_dim,
        "stride": [vae.vae.temporal_stride, vae.vae.spatial_stride],
        "clips": len(results),
        "measures": measures,
        "fvd": _fvd(outcome, results),
        "latents": asdict(statistics_of(add_sums(sums))) if sums else None,
        "cost": None if cost is None else _cost(cost),
    }


def _fvd(outcome: Outcome, results: Mapping[str, Mapping[str, Any]]) -> float | None:
    """FVD between the sources and the reconstructions; None with fewer than two clips."""
    pairs = [
        (outcome.sources[clip], result["features"])
        for clip, result in results.items()
        if clip in outcome.sources and "features" in result
    ]
    if len(pairs) < 2:
        return None
    sources, features = (
        torch.tensor(each, dtype=torch.float64) for each in zip(*pairs, strict=True)
    )
    return frechet_distance(sources, features)


def _cost(cost: Cost) -> dict[str, Any]:
    """The cost with figures per megapixel of all frames."""
    bytes_per = {
        f"{name}_mib": None if value is None else value / 2**20 / cost.megapixels
        for name, value in (("encode", cost.encode_bytes), ("decode", cost.decode_bytes))
    }
    seconds = {"encode_s": cost.encode_s, "decode_s": cost.decode_s}
    per = {name: value / cost.megapixels for name, value in seconds.items()}
    speed = cost.megapixels / (cost.encode_s + cost.decode_s)
    return {
        **asdict(cost),
        "per_megapixel": {**per, **bytes_per},
        "megapixels_per_s": speed,
        "frames_per_s": cost.shape[0] / (cost.encode_s + cost.decode_s),
    }


def _figures(record: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures of the table by key."""
    figures: dict[str, float | None] = {
        **record["measures"],
        "fvd": record["fvd"],
        "parameters": record["parameters"] / 1e6,
    }
    if record["cost"] is not None:
        figures |= record["cost"]["per_megapixel"]
    if (latents := record["latents"]) is not None:
        figures |= {
            "latent_mean": max(map(abs, latents["mean"])),
            "latent_std_min": min(latents["std"]),
            "latent_std_max": max(latents["std"]),
            "correlation": _off_diagonal(latents["correlation"]),
            "fine_share": latents["spatial_spectrum"][-1],
        }
    return figures


def _off_diagonal(matrix: Sequence[Sequence[float]]) -> float | None:
    """Mean absolute value off the diagonal; None for one channel."""
    values = [abs(x) for i, row in enumerate(matrix) for j, x in enumerate(row) if i != j]
    return statistics.fmean(values) if values else None
