"""A small data set of three kept clips, and a recipe that trains on it."""

import av
import numpy as np
import pytest

from wanctl.curate.registry import build_filters
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import evidence_schema
from wanctl.recipe.load import load_recipe


@pytest.fixture(scope="session")
def footage(tmp_path_factory):
    """A video of 75 frames at 25 fps, 128x96; a bright column marks the frame number."""
    path = tmp_path_factory.mktemp("footage") / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        for index in range(75):
            frame = np.full((96, 128, 3), 60, np.uint8)
            frame[:, index : index + 8] = 230
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def make_set(footage):
    """make_set(path) writes clips `a`, `b` (cropped) and `c` of 25 frames; `d` is dropped."""

    def make(path):
        dataset = DatasetDir.create_or_open(path)
        base = {"source": str(footage), "time_base_num": 1, "time_base_den": 12800}
        base |= {"width": 128, "height": 96, "fps": 25.0, "num_frames": 25, "vfr": False}
        frame_ranges = {"a": (0, 25), "b": (25, 50), "c": (50, 75), "d": (0, 5)}
        rows = [
            {**base, "id": i, "start_pts": s * 512, "end_pts": e * 512, "shot": 0}
            | {"start_s": s / 25, "end_s": e / 25, "num_frames": e - s}
            for i, (s, e) in frame_ranges.items()
        ]
        dataset.write_part("clips", "part-00000", rows)
        (duration,) = build_filters({"duration": {"min_s": 1}})
        measured = [
            {"id": r["id"], "duration_s": r["end_s"] - r["start_s"], "num_frames": r["num_frames"]}
            for r in rows
        ]
        schema = evidence_schema(duration.filter.evidence)
        dataset.write_part(duration.table, "part-00000", measured, schema=schema)
        crop = {"crop_x": 8, "crop_y": 8, "crop_w": 112, "crop_h": 80}
        chosen = [
            {"id": "a", "kept": True, "reasons": [], "weight": 0.5,
             "labels": [{"filter": "motion", "label": "medium"}]},
            {"id": "b", "kept": True, "reasons": [], **crop},
            {"id": "c", "kept": True, "reasons": []},
            {"id": "d", "kept": False, "reasons": ["duration: lasts 0.20 s, at least 1 s wanted"]},
        ]  # fmt: skip
        dataset.write_part("selections/default", "", chosen)
        captions = [
            {"id": "a", "text": 'A cat, "Tom"', "variant": "long", "backend": "sidecar"},
            {"id": "a", "text": "猫", "variant": "short", "backend": "sidecar"},
            {"id": "b", "text": "A dog.", "variant": "default", "backend": "sidecar"},
        ]
        dataset.write_part("captions/sidecar@v1", "part-00000", captions)
        captions = [{"id": i, "text": f"A video {i}."} for i in "abc"]
        dataset.write_part("captions/template@v1", "part-00000", captions)
        return dataset

    return make


@pytest.fixture
def loaded(tmp_path, make_set):
    """loaded(*overrides) -> a recipe that uses a data set in `set`."""
    make_set(tmp_path / "set")
    text = f"""
dataset: {{path: {tmp_path / "set"}}}
curate: {{filters: {{duration: {{min_s: 1}}}}, decode: {{workers: 1}}}}
train_dit:
  clip_fps: 16
  buckets:
    - {{frames: 1, height: 64, width: 96}}
    - {{frames: 13, height: 64, width: 96}}
    - {{frames: 13, height: 96, width: 64}}
"""

    def load(*overrides):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return load_recipe(str(path), overrides)

    return load
