"""Clips in tar shards, as the webdataset library reads them.

Files of one sample are adjacent and share a name up to the first dot: `ID.json`,
`ID.mp4`, `ID.txt`. Source: webdataset 1.0 (its reader is run in the tests); `txt` is the column
that finetrainers renames to `caption` (finetrainers/data/dataset.py, commit 1483b30d).

Equal clips give equal bytes: names in order, no times, no owners. A complete shard is never
written again; clips of the incomplete one stay files in `WORK` until it is complete.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from wanctl.atomic import replacing
from wanctl.data.export import ClipPlan, cut_clips
from wanctl.data.sidecars.texts import CAPTION_BYTES
from wanctl.exchange.external.archives import ArchiveError, read_member, tar_members
from wanctl.exchange.manifest import ExportManifest
from wanctl.exchange.sample import ExportSample
from wanctl.log import Bar
from wanctl.video.workers.worker_pool import DecodePool

WORK = ".clips"
"""Folder of clips that are cut and not yet packed."""


def write_shards(
    folder: Path,
    plans: Sequence[ClipPlan],
    sample: Callable[[ClipPlan], ExportSample],
    manifest: ExportManifest,
    *,
    shard_bytes: int,
    pool: DecodePool,
    progress: Bar,
) -> list[str]:
    """Cut the clips and pack them into shards of about `shard_bytes`.

    Args:
        folder: receives `shard-000000.tar` ...
        plans: the clips in their order; their files are in `folder/WORK`.
        sample: returns the captions and metadata of a clip.
        manifest: of the folder; records which clips failed before.
        shard_bytes: a shard is closed before it grows beyond this.
        pool: decodes.
        progress: advanced by one per clip.

    Returns:
        Names of all shards.
    """
    names, done = _complete_shards(folder, plans, sample, manifest)
    if names and done < len(plans):
        names.pop()  # it may be the short last shard of a smaller selection
        done = _num_packed(plans, names, folder)
    progress.advance(done)
    for ready in _by_size(cut_clips(plans[done:], pool, progress), manifest, shard_bytes):
        name = f"shard-{len(names):06d}.tar"
        manifest.record_files([name])
        _pack(folder / name, [sample(plan) for plan in ready])
        names.append(name)
        for plan in ready:
            plan.path.unlink()
    if (folder / WORK).exists():
        for rest in (folder / WORK).glob("*.mp4"):
            rest.unlink()
        (folder / WORK).rmdir()
    return names


def sample_json(sample: ExportSample) -> bytes:
    """The JSON record of a sample: file properties, captions and facts."""
    file = sample.file
    facts = {
        "id": file.id,
        "num_frames": file.num_frames,
        "height": file.height,
        "width": file.width,
        "fps": file.fps,
        "captions": [caption._asdict() for caption in sample.captions],
        **sample.facts,
    }
    return json.dumps(facts, ensure_ascii=False, sort_keys=True).encode()


def _by_size(
    cut: Iterator[tuple[ClipPlan, str]], manifest: ExportManifest, shard_bytes: int
) -> Iterator[list[ClipPlan]]:
    ready: list[ClipPlan] = []
    size = 0
    for plan, why in cut:
        manifest.left_out.pop(plan.id, None)
        if why:
            manifest.left_out[plan.id] = why
            continue
        num_bytes = plan.path.stat().st_size
        if ready and size + num_bytes > shard_bytes:
            yield ready
            ready, size = [], 0
        ready.append(plan)
        size += num_bytes
    if ready:
        yield ready


def _complete_shards(
    folder: Path,
    plans: Sequence[ClipPlan],
    sample: Callable[[ClipPlan], ExportSample],
    manifest: ExportManifest,
) -> tuple[list[str], int]:
    """Names of the leading shards whose content is up to date, and how many plans they cover."""
    names: list[str] = []
    position = 0
    while inside := _shard_records(folder / (name := f"shard-{len(names):06d}.tar")):
        for key, text in inside.items():
            while position < len(plans) and plans[position].id in manifest.left_out:
                position += 1
            if position == len(plans) or plans[position].id != key:
                return names, _num_packed(plans, names, folder)
            if sample_json(sample(plans[position])) != text:
                return names, _num_packed(plans, names, folder)
            position += 1
        names.append(name)
    return names, position


def _num_packed(plans: Sequence[ClipPlan], names: Sequence[str], folder: Path) -> int:
    """Number of plans up to and including the last clip of the last of these shards."""
    if not names:
        return 0
    last = list(_shard_records(folder / names[-1]))[-1]
    return 1 + next(i for i, plan in enumerate(plans) if plan.id == last)


def _shard_records(path: Path) -> dict[str, bytes]:
    """Clip id -> its JSON record, in the shard's order; empty for a damaged or missing shard."""
    records: dict[str, bytes] = {}
    try:
        for member in tar_members(path):
            key, _, suffix = member.name.partition(".")
            if suffix == "json":
                records[key] = read_member(path, member, CAPTION_BYTES)
    except ArchiveError:
        return {}
    return records


def _pack(path: Path, samples: Sequence[ExportSample]) -> None:
    with replacing(path) as temp, tarfile.open(temp, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            _add(tar, f"{sample.file.id}.json", sample_json(sample))
            _add(tar, f"{sample.file.id}.mp4", sample.file.path.read_bytes())
            _add(tar, f"{sample.file.id}.txt", sample.caption.encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
