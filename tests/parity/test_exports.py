"""Exports as the loaders of other trainers read them: `make parity`, docs/exports.md.

Every loader runs in `.venv-parity` (`loaders.py`). Footage whose grey level counts the frames shows
which frames of a clip arrive.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest

from wanctl.data.dataset import DatasetDir
from wanctl.exchange.layouts import LAYOUTS
from wanctl.exchange.run import export
from wanctl.recipe.load import load_recipe

pytestmark = pytest.mark.parity

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-parity" / "bin" / "python"
SOURCES = {
    "musubi-tuner": "kohya-ss/musubi-tuner at 30c658c4",
    "diffusion-pipe": "tdrussell/diffusion-pipe at 8f83dbf2",
}
FPS = 16
TICKS = 1024  # of a frame


class Clip(NamedTuple):
    """A clip of the data set; `end` is the first frame behind it."""

    footage: str
    start: int
    end: int
    captions: tuple[str, ...]
    crop: tuple[int, int, int, int] | None = None


CLIPS = {
    f"{1:016x}": Clip("wide", 0, 14, ('A "cat", walking', "猫")),
    f"{2:016x}": Clip("tall", 0, 19, ("A dog\nruns.",)),
    f"{3:016x}": Clip("wide", 20, 21, ("None",)),
    f"{4:016x}": Clip("wide", 22, 28, ("A short one.",)),
    f"{5:016x}": Clip("wide", 3, 36, ("A long one, cropped.",), (0, 0, 64, 96)),
    f"{6:016x}": Clip("wide", 4, 20, ()),
}
WIDE, TALL, STILL, SHORT, LONG, SILENT = CLIPS
SIZES = {"wide": (96, 160), "tall": (160, 96)}


class Sample(NamedTuple):
    """What a loader is to yield; `first` and `last` are frames of the footage."""

    caption: str
    size: tuple[int, int, int]
    first: int
    last: int


def sample(clip: str, size: tuple[int, int, int], caption: str | None = None) -> Sample:
    first = CLIPS[clip].start
    text = caption if caption is not None else next(iter(CLIPS[clip].captions), "")
    return Sample(text, size, first, first + size[0] - 1)


ONE_SIZE = [
    *(sample(clip, (13, 64, 96)) for clip in (WIDE, TALL, LONG, SILENT)),
    sample(STILL, (1, 64, 96)), sample(SHORT, (5, 64, 96)),
]  # fmt: skip
"""Of trainers that are given one size for all clips."""

BUCKETS = [
    sample(WIDE, (13, 64, 96)), sample(TALL, (13, 96, 64)), sample(STILL, (1, 64, 96)),
    sample(LONG, (13, 96, 64)), sample(SILENT, (13, 64, 96)),
]  # fmt: skip
"""Of trainers with buckets: the short clip fills none."""

FILES = [
    sample(WIDE, (13, 96, 160)), sample(TALL, (17, 160, 96)), sample(STILL, (1, 96, 160)),
    sample(SHORT, (5, 96, 160)), sample(LONG, (33, 96, 64)), sample(SILENT, (13, 96, 160)),
]  # fmt: skip
"""The exported files themselves."""

CAPTIONED = [each for each in BUCKETS if each.caption] + [sample(WIDE, (13, 64, 96), "猫")]
"""diffusion-pipe passes over a clip without a caption and has an entry for each caption."""


def write_footage(path: Path, height: int, width: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for index in range(36):
            frame = np.full((height, width, 3), 20 + 6 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Folder with an export in every layout."""
    folder = tmp_path_factory.mktemp("train-test")  # `datasets` is not to take it for a split
    for name, size in SIZES.items():
        write_footage(folder / f"{name}.mp4", *size)
    dataset = DatasetDir.create_or_open(folder / "set")
    rows, kept, captions = [], [], []
    for name, clip in CLIPS.items():
        height, width = SIZES[clip.footage]
        rows.append({
            "id": name, "source": str(folder / f"{clip.footage}.mp4"), "shot": 0, "vfr": False,
            "time_base_num": 1, "time_base_den": FPS * TICKS, "width": width, "height": height,
            "fps": float(FPS), "num_frames": clip.end - clip.start,
            "start_pts": clip.start * TICKS, "end_pts": clip.end * TICKS,
            "start_s": clip.start / FPS, "end_s": clip.end / FPS,
        })  # fmt: skip
        keys = ("crop_x", "crop_y", "crop_w", "crop_h")
        crop = dict(zip(keys, clip.crop, strict=True)) if clip.crop else {}
        # only some clips have a label: the shards' JSON records differ
        labels = [{"filter": "motion", "label": "medium"}] if name == TALL else []
        kept.append({"id": name, "kept": True, "reasons": [], "labels": labels, **crop})
        captions += [
            {"id": name, "text": text, "variant": str(number), "backend": "sidecar"}
            for number, text in enumerate(clip.captions)
        ]
    dataset.write_part("clips", "part-00000", rows)
    dataset.write_part("selections/default", "", kept)
    dataset.write_part("captions/sidecar@v1", "part-00000", captions)
    recipe = folder / "recipe.yaml"
    recipe.write_text(f"""
dataset: {{path: {folder / "set"}}}
curate: {{decode: {{workers: 1}}}}
train_dit:
  clip_fps: {FPS}
  buckets:
    - {{frames: 1, height: 64, width: 96}}
    - {{frames: 13, height: 64, width: 96}}
    - {{frames: 13, height: 96, width: 64}}
""")
    for layout in LAYOUTS:
        export(load_recipe(str(recipe), ()), folder, folder / layout, layout)
    return folder


def checkout(name: str) -> list[str]:
    """The folder of a trainer that is not on the package index, as an argument of `loaders.py`."""
    if not name:
        return []
    root = os.environ.get("PARITY_SOURCES", "")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"{name} NOT CHECKED: PARITY_SOURCES={root!r} has no checkout of "
                    f"{SOURCES[name]}")  # fmt: skip
    return [str((Path(root) / name).resolve())]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("loader", "layout", "source", "expected"),
    [
        ("musubi", "musubi", "musubi-tuner", BUCKETS),
        ("diffusion-pipe", "diffusion-pipe", "diffusion-pipe", CAPTIONED),
        ("finetrainers", "finetrainers", "", BUCKETS),
        ("finetrainers-webdataset", "webdataset", "", FILES),
        ("diffsynth", "diffsynth", "", ONE_SIZE),
        ("fastvideo", "fastvideo", "", ONE_SIZE),
        ("fastvideo-merge", "fastvideo", "", ONE_SIZE),
    ],
)
def test_a_trainer_sees_each_clip_once(exports, tmp_path, loader, layout, source, expected):
    arguments = [loader, str(exports / layout), *checkout(source)]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"),
           "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}  # fmt: skip
    ran = subprocess.run(
        [PYTHON, HERE / "loaders.py", *arguments],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = [
        Sample(row["caption"], tuple(row["size"]), *(round((n - 18.5) / 6) for n in row["levels"]))
        for row in json.loads(ran.stdout.splitlines()[-1])
    ]
    assert sorted(found) == sorted(expected)


def test_the_loaders_of_every_layout_are_covered():
    # mp4 is for no program: files and a table
    assert set(LAYOUTS) - {"mp4"} == {
        "musubi", "diffusion-pipe", "finetrainers", "webdataset", "diffsynth", "fastvideo",
    }  # fmt: skip
