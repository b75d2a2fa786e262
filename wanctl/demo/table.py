"""The demo's figures: as tables on the screen and as values for demo.json."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from wanctl.demo.nearest import Match
from wanctl.demo.stages import StageTime
from wanctl.log import console


def print_table(matches: Sequence[Match], times: Sequence[StageTime]) -> None:
    """Print how close the samples are, how many are nearest to their prompt, and the times."""
    table = Table(title="Each sample and the closest training window of its prompt")
    for name in ("sample", "PSNR dB", "ST-LPIPS", "motion", "ST-LPIPS to other captions"):
        table.add_column(name, justify="left" if name == "sample" else "right")
    for match in matches:
        own = match.own
        values = (f"{own.psnr_db:.1f}", f"{own.st_lpips:.3f}", f"{own.motion:.2f}")
        table.add_row(match.name, *values, _others(match))
    console.print(table)
    num_own = sum(match.is_nearest_to_own for match in matches)
    console.print(f"{num_own} of {len(matches)} samples are nearest to their own prompt's clips.")
    costs = ", ".join(f"{each.name} {each.cpu_s:.0f}/{each.wall_s:.0f}" for each in times)
    total_cpu_s, total_wall_s = (
        sum(each.cpu_s for each in times),
        sum(each.wall_s for each in times),
    )
    console.print(f"Seconds, CPU/wall: {costs}; together {total_cpu_s:.0f}/{total_wall_s:.0f}.")


def figures(matches: Sequence[Match]) -> list[dict[str, Any]]:
    """The values of demo.json, one object per sample."""
    return [
        {
            "name": match.name,
            "prompt": match.prompt,
            "file": match.file.name,
            "clip": match.own.clip.id,
            "start_frame": match.own.start,
            "psnr_db": match.own.psnr_db,
            "st_lpips": match.own.st_lpips,
            "motion": match.own.motion,
            "nearest_caption": match.nearest_caption,
            "is_nearest_to_own": match.is_nearest_to_own,
            "st_lpips_by_caption": {
                caption: each.st_lpips for caption, each in match.by_caption.items()
            },
        }
        for match in matches
    ]


def _others(match: Match) -> str:
    others = [
        each.st_lpips for caption, each in match.by_caption.items() if caption != match.prompt
    ]
    return f"{min(others):.3f} to {max(others):.3f}" if others else "none"
