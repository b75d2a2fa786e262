"""A small data set to review: real footage, captions of several variants, flags, structures."""

import json
from pathlib import Path

import av
import numpy as np

from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import evidence_schema
from wanctl.data.table_order import record_tables

HOSTILE = "<img src=x onerror=window.hacked=1>.mp4"
MARKUP = "</p><script>window.hacked=1</script> & <b onmouseover='window.hacked=1'>bold</b>"
VARIANTS = ("long-formal-en", "short-poetic-en", "short-formal-zh")
FRAMES, FPS = 12, 12


def make_footage(path: Path) -> None:
    """A video of 12 frames, 64x48, with a column that moves."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(FRAMES):
            frame = np.full((48, 64, 3), 60, np.uint8)
            frame[:, 4 * index : 4 * index + 6] = 230
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))


def make_set(folder: Path, clips: int = 6, sources: int = 2) -> DatasetDir:
    """A data set of `clips` clips in two parts; the footage of the last source does not exist.

    Clip 0 has a hostile caption; every third clip a flagged one; clip 1 is not kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [HOSTILE, *(f"film {n}.mp4" for n in range(1, sources))]
    if not (folder / HOSTILE).exists():
        make_footage(folder / HOSTILE)
    dataset = DatasetDir.create_or_open(folder / "dataset")
    ids = [clip_name(number) for number in range(clips)]
    rows = [
        {
            "id": ids[n], "source": str(folder / names[n % sources]),
            "content_hash": str(n % sources), "shot": 0, "start_pts": 0,
            "end_pts": FRAMES * 1024, "time_base_num": 1, "time_base_den": FPS * 1024,
            "start_s": 0.0, "end_s": 1.0, "num_frames": FRAMES, "fps": float(FPS),
            "vfr": False, "width": 64, "height": 48, "clock": "", "first_frame": 0,
        }
        for n in range(clips)
    ]  # fmt: skip
    half = (clips + 1) // 2
    for part, several in {"part-00000": range(half), "part-00001": range(half, clips)}.items():
        dataset.write_part("clips", part, [rows[n] for n in several])
        captions, flags = [], []
        for n in several:
            for variant in VARIANTS:
                text = MARKUP if n == 0 and variant == VARIANTS[0] else f"clip {n} as {variant}"
                if n % 3 == 2 and variant == VARIANTS[1]:
                    checks = ["camera: the camera stands still", "length: 3 words"]
                    flags.append({"id": ids[n], "variant": variant, "text": text,
                                  "checks": checks, "attempts": 3})  # fmt: skip
                else:
                    captions.append({"id": ids[n], "variant": variant, "text": text,
                                     "backend": "vlm"})  # fmt: skip
        dataset.write_part("captions/vlm@1", part, captions)
        dataset.write_part("caption_flags/vlm@1", part, flags)
        dataset.write_part("captions/template@v1", part, [
            {"id": ids[n], "variant": "default", "text": f"a video, {n}"} for n in several
        ])  # fmt: skip
        dataset.write_part("structures/vlm@1", part, [
            {"id": ids[n], "structure": json.dumps(structure(n)), "model": "small"}
            for n in several
        ])  # fmt: skip
        ocr = [{"id": ids[n], "texts": ["STOP", "<i>go"] if n == 0 else []} for n in several]
        schema = evidence_schema({"texts": "strings"})
        dataset.write_part("evidence/ocr@1", part, ocr, schema=schema)
    record_tables(dataset, ["captions/vlm@1", "captions/template@v1"])
    chosen = [{"id": each, "kept": n != 1, "reasons": [], "labels": [
        {"filter": "motion", "label": "medium"}]} for n, each in enumerate(ids)]  # fmt: skip
    dataset.write_part("selections/default", "", chosen)
    return dataset


def clip_name(number: int) -> str:
    return f"{number:016x}"


def structure(number: int) -> dict:
    return {
        "action": ["a column moves to the right"],
        "camera_motion": ["still" if number % 2 else "pan left"],
        "object_counting": [{"object": "column", "count": number + 1}],
        "object_color": [{"object": "column", "color": "white"}],
        "scene": MARKUP if number == 0 else "a grey room",
    }
