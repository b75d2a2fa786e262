"""Index files of the layouts in which every clip is a file. Each function returns name -> text.

Paths inside are relative to the export's folder wherever the reader allows it.
"""

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from wanctl.data.buckets import BucketLike, bucket_name
from wanctl.exchange.sample import ExportSample, ExportTarget

_OTHER_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


def no_index(samples: Sequence[ExportSample], target: ExportTarget) -> Mapping[str, str]:
    """No index files: the shards hold everything."""
    del samples, target
    return {}


def clips_csv(samples: Sequence[ExportSample], target: ExportTarget) -> Mapping[str, str]:
    """`clips.csv`: path, caption, id, size, frame count and frame rate of every file."""
    columns = ("path", "caption", "id", "num_frames", "height", "width", "fps")
    rows = [
        (_path(s, target), s.caption, s.file.id, s.file.num_frames, s.file.height, s.file.width,
         s.file.fps)
        for s in samples
    ]  # fmt: skip
    return {"clips.csv": _csv(columns, rows)}


def diffsynth(samples: Sequence[ExportSample], target: ExportTarget) -> Mapping[str, str]:
    """`metadata.json` with `video` and `prompt`; paths are joined to --dataset_base_path.

    No CSV: its loader reads that with pandas, which takes an empty caption, "None" or "NA" for a
    missing number. The loader keeps the file's own frames (no retiming) and shortens a clip that is
    below --num_frames to 4n+1. Source: modelscope/DiffSynth-Studio,
    diffsynth/core/data/unified_dataset.py and operators.py (version 2.1.12).
    """
    rows = [{"video": _path(sample, target), "prompt": sample.caption} for sample in samples]
    return {"metadata.json": _json(rows)}


def musubi(samples: Sequence[ExportSample], target: ExportTarget) -> Mapping[str, str]:
    """`dataset.toml` with an index per bucket, and `metadata.jsonl` with all clips.

    One `[[datasets]]` per bucket, each with its own cache folder, which the program requires, and
    its own JSONL index: a folder that several of them name would give every clip to each, whatever
    its orientation, and a video without a .txt stops the program. `head` takes one sample of each
    video; `chunk` with a target of one frame would take every frame for a still image. Within a
    bucket's area the program chooses the size by the aspect ratio of each clip. No `source_fps`:
    the files have the model's frame rate already. Source: kohya-ss/musubi-tuner,
    src/musubi_tuner/dataset/ (commit 30c658c4); issue 99.
    """
    files = {"metadata.jsonl": _json_lines([_musubi_row(sample) for sample in samples])}
    blocks = ["[general]\nbatch_size = 1\nenable_bucket = true\n"]
    for bucket, inside in _by_bucket(samples, target):
        name = bucket_name(bucket)
        files[f"{name}.jsonl"] = _json_lines([_musubi_row(sample) for sample in inside])
        blocks.append(
            "[[datasets]]\n"
            f"video_jsonl_file = {_toml(target.folder / f'{name}.jsonl')}\n"
            f"cache_directory = {_toml(target.folder / 'cache' / name)}\n"
            f"resolution = [{bucket.width}, {bucket.height}]\n"
            f"target_frames = [{bucket.frames}]\n"
            'frame_extraction = "head"\n'
        )
    return {"dataset.toml": "\n".join(blocks), **files, **_sidecars(samples, target)}


def diffusion_pipe(samples: Sequence[ExportSample], target: ExportTarget) -> Mapping[str, str]:
    """`dataset.toml` and a .txt next to every video; `captions.json` where clips have several.

    One `[[directory]]` with one size bucket for each: given several, the program looks up the
    nearest aspect ratio in a sorted list of the ratios and takes the size at that place of another
    list, so that landscape clips go into the portrait bucket. It takes the beginning of a longer
    video and skips one without a caption; a video with several captions is seen once for each. It
    retimes files to the model's rate (16 for Wan), so export at that rate. Source:
    tdrussell/diffusion-pipe, utils/dataset.py and models/base.py (commit 8f83dbf2).
    """
    blocks, files = [], {}
    for bucket, inside in _by_bucket(samples, target):
        folder = inside[0].file.path.parent
        blocks.append(
            f"[[directory]]\npath = {_toml(folder)}\nnum_repeats = 1\n"
            f"size_buckets = [[{bucket.width}, {bucket.height}, {bucket.frames}]]\n"
        )
        if any(len(sample.captions) > 1 for sample in inside):
            several = {s.file.path.name: [each.text for each in s.captions] for s in inside}
            name = (folder / "captions.json").relative_to(target.folder).as_posix()
            files[name] = _json(several)
    return {"dataset.toml": "\n".join(blocks), **files, **_sidecars(samples, target)}


def finetrainers(samples: Sequence[ExportSample], target: ExportTarget) -> Mapping[str, str]:
    """`metadata.jsonl` with `file_name` and `caption`, and a file for --dataset_config.

    Read through Hugging Face's `videofolder`, which requires the column `file_name`, and takes a
    file for the whole split whose name says `train` or `training`: the configuration has another
    name than in the examples. Its buckets are (frames, height, width). It spreads the frames of a
    bucket over the whole of a longer video, which speeds it up: the videos are as long as their
    bucket. Source: a-r-r-o-w/finetrainers, finetrainers/data/dataset.py and functional/video.py
    (version 0.2.0), with datasets 3.6.
    """
    rows = [{"file_name": _path(s, target), "caption": s.caption} for s in samples]
    buckets = sorted({(b.frames, b.height, b.width) for b in target.buckets})
    config = {
        "datasets": [
            {
                "data_root": str(target.folder),
                "dataset_type": "video",
                "id_token": None,
                "video_resolution_buckets": [list(bucket) for bucket in buckets],
                "reshape_mode": _reshape_mode(samples, buckets),
                "remove_common_llm_caption_prefixes": False,
            }
        ]
    }
    return {"metadata.jsonl": _json_lines(rows), "dataset_config.json": _json(config)}


def fastvideo(samples: Sequence[ExportSample], target: ExportTarget) -> Mapping[str, str]:
    """`videos2caption.json` next to `videos/`, and `merge.txt` for its older scripts.

    This is the input of its preprocessing (`dataset_type: merged`), which writes Parquet files of
    latents. `cap` is a list; size, rate and duration save it a probe. The older scripts split the
    line of `merge.txt` at commas, so that a folder with one in its name has none. Source:
    hao-ai-lab/FastVideo, fastvideo/workflow/preprocess/components.py and
    fastvideo/dataset/preprocessing_datasets.py (version 0.2.1).
    """
    rows = [
        {
            "path": sample.file.path.name,
            "resolution": {"width": sample.file.width, "height": sample.file.height},
            "fps": sample.file.fps,
            "duration": _duration_s(sample.file.num_frames, sample.file.fps),
            "num_frames": sample.file.num_frames,
            "cap": [caption.text for caption in sample.captions] or [""],
        }
        for sample in samples
    ]
    files = {"videos2caption.json": _json(rows)}
    if "," not in str(target.folder):
        videos, index = target.folder / "videos", target.folder / "videos2caption.json"
        files["merge.txt"] = f"{videos},{index}\n"
    return files


def _by_bucket(
    samples: Sequence[ExportSample], target: ExportTarget
) -> list[tuple[BucketLike, list[ExportSample]]]:
    """Each bucket that is filled, in the recipe's order, with its clips; every clip once."""
    inside: dict[int, list[ExportSample]] = {}
    for sample in samples:
        file = sample.file
        bucket = target.bucket(file.num_frames, file.height, file.width)
        if bucket is not None:
            inside.setdefault(list(target.buckets).index(bucket), []).append(sample)
    return [(target.buckets[index], inside[index]) for index in sorted(inside)]


def _musubi_row(sample: ExportSample) -> Mapping[str, str]:
    return {"video_path": str(sample.file.path), "caption": sample.caption}


def _reshape_mode(samples: Sequence[ExportSample], buckets: Sequence[tuple[int, int, int]]) -> str:
    """`resize_crop`, which keeps the aspect ratio; `bicubic`, which does not, where that fails.

    The program cuts the resized sides down to whole pixels, so that some are one pixel short of
    the bucket (7 % of all sizes up to 1920x1080 for 832x480), and stops there.
    """
    for file in (sample.file for sample in samples):
        for frames, height, width in buckets:
            scale = max(height / file.height, width / file.width)
            short = int(file.height * scale) < height or int(file.width * scale) < width
            if short and frames == file.num_frames:
                return "bicubic"
    return "resize_crop"


def _duration_s(num_frames: int, fps: float) -> float:
    """Duration that times the rate is not above the number of frames, which FastVideo rounds up."""
    duration_s = num_frames / fps
    while fps * duration_s > num_frames:
        duration_s = math.nextafter(duration_s, 0)
    return duration_s


def _path(sample: ExportSample, target: ExportTarget) -> str:
    return sample.file.path.relative_to(target.folder).as_posix()


def _sidecars(samples: Sequence[ExportSample], target: ExportTarget) -> dict[str, str]:
    return {
        _path(sample, target).removesuffix(".mp4") + ".txt": sample.caption + "\n"
        for sample in samples
        if sample.caption
    }


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(columns)
    for row in rows:
        # Python before 3.13 leaves a cell with a carriage return unquoted, and readers end the row
        (quoted if any("\r" in str(cell) for cell in row) else plain).writerow(row)
    return text.getvalue()


def _json_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """One object per line; characters that some readers take for line ends are escaped."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return _OTHER_LINE_ENDS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _toml(path: object) -> str:
    # a JSON string is a TOML basic string
    return json.dumps(str(path))
