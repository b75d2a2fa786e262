"""Clips in tar shards, as the webdataset library reads them.

Files of one sample stand next to each other and share a name up to the first dot: `ID.json`,
`ID.mp4`, `ID.txt`. Source: webdataset 1.0 (its reader is run in the tests); `txt` is the column
that finetrainers renames to `caption` (finetrainers/data/dataset.py, commit 1483b30d).

Equal clips give equal bytes: names in order, no times, no owners. A shard that is whole is never
made again; clips of the unfinished one are kept as files until it is.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from wanctl.atomic import replacing
from wanctl.data.export import ClipPlan, cut_clips
from wanctl.exchange.layouts import Sample
from wanctl.exchange.ledger import Ledger
from wanctl.log import Bar
from wanctl.video.worker_pool import DecodePool

WORK = ".clips"
"""Folder of clips that wait for their shard."""


def write_shards(
    folder: Path,
    plans: Sequence[ClipPlan],
    sample: Callable[[ClipPlan], Sample],
    ledger: Ledger,
    *,
    shard_bytes: int,
    pool: DecodePool,
    progress: Bar,
) -> list[str]:
    """Cut the clips and pack them, some `shard_bytes` to a shard.

    Args:
        folder: gets `shard-000000.tar` ...
        plans: the clips in their order; their files lie in `folder/WORK`.
        sample: what goes with a clip.
        ledger: of the folder; knows which clips failed before.
        shard_bytes: a shard is closed before it grows beyond this.
        pool: decodes.
        progress: moved on by one per clip.

    Returns:
        Names of all shards.
    """
    names, done = _whole_shards(folder, plans, sample, ledger)
    if names and done < len(plans):
        names.pop()  # it may be the short last shard of a smaller selection
        done = _settled(plans, names, folder)
    progress.advance(done)
    for ready in _by_size(cut_clips(plans[done:], pool, progress), ledger, shard_bytes):
        name = f"shard-{len(names):06d}.tar"
        ledger.claim([name])
        _pack(folder / name, [sample(plan) for plan in ready])
        names.append(name)
        for plan in ready:
            plan.path.unlink()
    if (folder / WORK).exists():
        for rest in (folder / WORK).glob("*.mp4"):
            rest.unlink()
        (folder / WORK).rmdir()
    return names


def record(sample: Sample) -> bytes:
    """The sample's json."""
    file = sample.file
    facts = {
        "id": file.id,
        "num_frames": file.num_frames,
        "height": file.height,
        "width": file.width,
        "fps": file.fps,
        "captions": [words._asdict() for words in sample.captions],
        **sample.facts,
    }
    return json.dumps(facts, ensure_ascii=False, sort_keys=True).encode()


def _by_size(
    cut: Iterator[tuple[ClipPlan, str]], ledger: Ledger, shard_bytes: int
) -> Iterator[list[ClipPlan]]:
    ready: list[ClipPlan] = []
    size = 0
    for plan, why in cut:
        ledger.left_out.pop(plan.id, None)
        if why:
            ledger.left_out[plan.id] = why
            continue
        num_bytes = plan.path.stat().st_size
        if ready and size + num_bytes > shard_bytes:
            yield ready
            ready, size = [], 0
        ready.append(plan)
        size += num_bytes
    if ready:
        yield ready


def _whole_shards(
    folder: Path, plans: Sequence[ClipPlan], sample: Callable[[ClipPlan], Sample], ledger: Ledger
) -> tuple[list[str], int]:
    """Shards that hold what they would hold now, and how many plans they settle."""
    names: list[str] = []
    position = 0
    while inside := _samples(folder / (name := f"shard-{len(names):06d}.tar")):
        for key, text in inside.items():
            while position < len(plans) and plans[position].id in ledger.left_out:
                position += 1
            if position == len(plans) or plans[position].id != key:
                return names, _settled(plans, names, folder)
            if record(sample(plans[position])) != text:
                return names, _settled(plans, names, folder)
            position += 1
        names.append(name)
    return names, position


def _settled(plans: Sequence[ClipPlan], names: Sequence[str], folder: Path) -> int:
    """Number of plans up to the last clip of the last of these shards."""
    if not names:
        return 0
    last = list(_samples(folder / names[-1]))[-1]
    return 1 + next(i for i, plan in enumerate(plans) if plan.id == last)


def _samples(path: Path) -> dict[str, bytes]:
    """Clip id -> its json, in the shard's order; nothing of a damaged or missing shard."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                if suffix == "json" and (stream := tar.extractfile(member)):
                    found[key] = stream.read()
    except (tarfile.TarError, FileNotFoundError):
        return {}
    return found


def _pack(path: Path, samples: Sequence[Sample]) -> None:
    with replacing(path) as temp, tarfile.open(temp, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            _add(tar, f"{sample.file.id}.json", record(sample))
            _add(tar, f"{sample.file.id}.mp4", sample.file.path.read_bytes())
            _add(tar, f"{sample.file.id}.txt", sample.caption.encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
