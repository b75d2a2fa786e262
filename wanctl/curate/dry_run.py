"""What curation will take, before it starts: `wanctl curate --dry-run`.

Hours come from the headers of containers, which are read in worker processes and may lie. Speed and
disk space come from an earlier run of the same data set, or from a probe: a few short files are
curated into a temporary folder. What neither says is listed as not known.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wanctl.curate.context import Reporter
from wanctl.curate.engines.engine import CurationJob, run_local
from wanctl.curate.timing import StageCost, Timings, all_stages
from wanctl.data.dataset import DatasetDir
from wanctl.log import EventLog, log, progress, progress_display
from wanctl.progress_lines import duration
from wanctl.video.content.header import Header, read_header
from wanctl.video.footage import FootageListing
from wanctl.video.sources import SourceFile, url_of
from wanctl.video.workers.worker_pool import DecodePool, Failure

COLUMNS = ("what", "figure", "note")
SCAN = "scan"
MAX_HEADERS = 5000
"""Files whose headers are read; of more, every n-th."""
PROBED, PROBE_S, LONGEST_PROBE_S = 3, 60.0, 600.0
"""Files of a probe, their length, and the length above which not even one file is probed."""
ENOUGH_S = 60.0
"""Footage of an earlier run from which its speed is known."""
PAGE_BYTES, THUMBNAIL_BYTES, MOST_REPORT_BYTES = 500_000, 25_000, 14_000_000
"""Of report.html: without clips, per clip, and at most."""

Row = tuple[str, str, str]


@dataclass(frozen=True)
class Survey:
    """What the headers of files say.

    Attributes:
        files: the files that are to be curated.
        headers: file -> its header, of those that were read.
        failures: file -> why its header cannot be read.
    """

    files: Sequence[SourceFile]
    headers: dict[SourceFile, Header]
    failures: dict[SourceFile, str]

    @property
    def silent(self) -> list[SourceFile]:
        """Files whose header says no duration."""
        return [file for file, header in self.headers.items() if not header.duration_s]

    @property
    def stated_s(self) -> float:
        """Seconds that headers state."""
        return sum(header.duration_s for header in self.headers.values())

    @property
    def seconds(self) -> float:
        """Seconds of all files; those without a figure by their size."""
        stated = [file for file, header in self.headers.items() if header.duration_s]
        sizes = sum(file.size for file in stated)
        per_byte = self.stated_s / sizes if sizes else 0.0
        rest = sum(file.size for file in self.files) - sizes
        broken = sum(file.size for file in self.failures)
        return self.stated_s + max(0.0, rest - broken) * per_byte


@dataclass(frozen=True)
class Speed:
    """What a second of footage costs.

    Attributes:
        core_s: core seconds.
        bytes: of tables; None where it was not measured.
        clips: number of clips; None where it was not counted.
        origin: where the figures come from.
    """

    core_s: float
    bytes: float | None
    clips: float | None
    origin: str


def survey(files: Sequence[SourceFile], pool: DecodePool) -> Survey:
    """Read the headers of files in worker processes; of very many, of every n-th."""
    chosen = list(files[:: -(-len(files) // MAX_HEADERS)]) if files else []
    headers: dict[SourceFile, Header] = {}
    failures: dict[SourceFile, str] = {}
    with progress(len(chosen), "read headers") as bar:
        for index, result in pool.map(read_header, ((file.uri,) for file in chosen)):
            if isinstance(result, Failure):
                failures[chosen[index]] = result.message
            else:
                headers[chosen[index]] = result
            bar.advance()
    return Survey(files, headers, failures)


def speed_of_earlier_run(path: Path) -> Speed | None:
    """What curation has cost in this data set so far; None where it has hardly begun."""
    stages = all_stages(path)
    seconds = stages[SCAN].video_s if SCAN in stages else 0.0
    if seconds < ENOUGH_S:
        return None
    return Speed(_core_s(stages) / seconds, None, None, f"measured here on {duration(seconds)}")


def probe(surveyed: Survey, job: CurationJob) -> Speed | None:
    """Curate a few short files into a temporary folder; None where all files are long."""
    files = _short_files(surveyed)
    if not files:
        return None
    seconds = sum(surveyed.headers[file].duration_s for file in files)
    log.info("probing: %d files of together %s", len(files), duration(seconds))
    with (
        tempfile.TemporaryDirectory(prefix="wanctl-probe-") as folder,
        progress_display() as display,
    ):
        path = Path(folder) / "dataset"
        dataset = DatasetDir.create_or_open(path)
        timings = Timings(path)
        parts = dataset.assign_sources(files, len(files))
        run_local(dataset, job, parts, Reporter(timings, EventLog(None), display))
        scanned = timings.stages.get(SCAN, StageCost()).video_s
        if not scanned:
            return None
        tables = sum(each.stat().st_size for each in path.rglob("*.parquet"))
        clips = sum(dataset.count("clips", part) for part in dataset.parts("clips"))
        origin = f"by a probe of {len(files)} files, {duration(scanned)}"
        return Speed(_core_s(timings.stages) / scanned, tables / scanned, clips / scanned, origin)


def forecast(
    listing: FootageListing,
    surveyed: Survey,
    speed: Speed | None,
    job: CurationJob,
    path: Path,
) -> list[Row]:
    """The forecast as rows of COLUMNS.

    Args:
        listing: the footage.
        surveyed: the headers of the files that are not curated yet.
        speed: see `speed_of_earlier_run` and `probe`.
        job: what curation runs.
        path: the data set directory, which need not exist.
    """
    size = sum(file.size for file in listing.videos)
    rows = [("files", f"{len(listing.videos):,}", f"{_bytes(size)}{_passed(listing)}")]
    done = len(listing.videos) - len(surveyed.files)
    if done:
        rows.append(("finished already", f"{done:,}", "files of an earlier run"))
    broken = [*surveyed.failures.values(), *(why for _, _, why in listing.problems)]
    if broken:
        rows.append(("not readable", f"{len(broken):,}", f"set aside; the first: {broken[0]}"))
    if not surveyed.files:
        return rows
    rows.append(("footage", duration(surveyed.seconds), _note_on_hours(surveyed)))
    rows += _costs(surveyed, speed, job, path)
    rows.append(("not known", "", _unknown(surveyed, speed, job)))
    return rows


def _costs(surveyed: Survey, speed: Speed | None, job: CurationJob, path: Path) -> list[Row]:
    if speed is None:
        return []
    seconds, rows = surveyed.seconds, []
    if speed.clips is not None:
        rows.append(
            ("clips", f"about {seconds * speed.clips:,.0f}", f"{speed.origin}, before filters")
        )
    workers = min(job.limits.workers, os.cpu_count() or 1)
    core_s = seconds * speed.core_s
    note = f"{duration(core_s)} of one core, {speed.origin}; {workers} processes at once"
    rows.append(("time", f"about {duration(core_s / workers)}", note))
    if speed.bytes is not None:
        report = PAGE_BYTES + seconds * (speed.clips or 0.0) * THUMBNAIL_BYTES
        needed = seconds * speed.bytes + min(report, MOST_REPORT_BYTES)
        above = next((each for each in (path, *path.absolute().parents) if each.is_dir()), Path())
        free = shutil.disk_usage(above).free
        rows.append(("disk", f"about {_bytes(needed)}", f"of {_bytes(free)} free in {above}"))
        if needed > free:
            log.warning("%s: not enough space: %s of about %s", above, _bytes(free), _bytes(needed))
    return rows


def _note_on_hours(surveyed: Survey) -> str:
    read = len(surveyed.headers)
    note = f"by the headers of {read - len(surveyed.silent):,} of {len(surveyed.files):,} files"
    if surveyed.silent:
        note += f"; {len(surveyed.silent):,} state no length and count by their size"
    if read + len(surveyed.failures) < len(surveyed.files):
        note += "; the others count by their size"
    return note


def _unknown(surveyed: Survey, speed: Speed | None, job: CurationJob) -> str:
    unknown = ["how many clips are kept", "what captions, exports and training take"]
    if speed is None:
        unknown.insert(0, "time and disk: no file is short enough for a probe, and no run is there")
    elif speed.bytes is None:
        unknown.append("disk: see the size of the data set")
    if any(url_of(file.uri) for file in surveyed.files):
        unknown.append("the speed of the network")
    if job.ray.address is not None:
        unknown.append("the speed of the cluster")
    return "; ".join(unknown)


def _short_files(surveyed: Survey) -> list[SourceFile]:
    """A few files of at most PROBE_S, from all lengths; else the shortest, if it is not long."""
    lengths = {f: h.duration_s for f, h in surveyed.headers.items() if h.duration_s}
    by_length = sorted(lengths, key=lambda file: (lengths[file], file.uri))
    short = [file for file in by_length if lengths[file] <= PROBE_S]
    if short:
        step = max(1, len(short) // PROBED)
        return short[::-step][:PROBED]
    return [file for file in by_length[:1] if lengths[file] <= LONGEST_PROBE_S]


def not_curated_yet(listing: FootageListing, dataset: DatasetDir | None) -> list[SourceFile]:
    """The files that a data set, which may not be there yet, has no clips of."""
    if dataset is None:
        return listing.videos
    split = set(dataset.parts("clips"))
    done = {uri for part, uris in dataset.source_parts() if part in split for uri in uris}
    return [file for file in listing.videos if file.uri not in done]


def _core_s(stages: dict[str, StageCost]) -> float:
    return sum(stage.cpu_s for stage in stages.values())


def _passed(listing: FootageListing) -> str:
    return f"; passed over: {listing.passed_over()}" if listing.passed else ""


def _bytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
