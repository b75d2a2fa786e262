"""Index files of the layouts in which every clip is a file. Each function returns name -> text.

Paths inside are relative to the export's folder wherever the reader allows it.
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

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
    """`metadata.csv` with `video` and `prompt`; paths are joined to --dataset_base_path.

    Its loader keeps the file's own frames (no retiming) and shortens a clip that is below
    --num_frames to 4n+1. Source: modelscope/DiffSynth-Studio, diffsynth/core/data/
    unified_dataset.py (commit 030ebe64) and operators.py (006372b3).
    """
    rows = [(_path(sample, target), sample.caption) for sample in samples]
    return {"metadata.csv": _csv(("video", "prompt"), rows)}


def musubi(samples: Sequence[ExportSample], target: ExportTarget) -> Mapping[str, str]:
    """`dataset.toml`, a .txt next to every video, and `metadata.jsonl` with the same captions.

    One `[[datasets]]` per frame size, each with its own cache folder, which the program requires.
    No `source_fps`: the files have the model's frame rate already. A clip with fewer frames than
    a target frame count yields no sample there. Source: kohya-ss/musubi-tuner,
    docs/dataset_config.md (commit 01d5904f); issue 99.
    """
    rows = [{"video_path": str(s.file.path), "caption": s.caption} for s in samples]
    sizes: dict[tuple[int, int], list[int]] = {}
    for bucket in target.buckets:
        sizes.setdefault((bucket.width, bucket.height), []).append(bucket.frames)
    blocks = [
        "[general]\n"
        'caption_extension = ".txt"\nbatch_size = 1\n'
        "enable_bucket = true\nbucket_no_upscale = true\n"
    ]
    for (width, height), frames in sorted(sizes.items()):
        cache = target.folder / "cache" / f"{width}x{height}"
        blocks.append(
            "[[datasets]]\n"
            f"video_directory = {_toml(target.folder / 'videos')}\n"
            f"cache_directory = {_toml(cache)}\n"
            f"resolution = [{width}, {height}]\n"
            f"target_frames = {sorted(set(frames))}\n"
            'frame_extraction = "chunk"\n'
        )
    text = "\n".join(blocks)
    return {
        "dataset.toml": text,
        "metadata.jsonl": _json_lines(rows),
        **_sidecars(samples),
    }


def diffusion_pipe(samples: Sequence[ExportSample], target: ExportTarget) -> Mapping[str, str]:
    """`dataset.toml` and a .txt next to every video; `captions.json` where a clip has several.

    The program puts a video into the size bucket with the nearest aspect ratio that is not longer
    than the video, never into a bucket of one frame, and skips it where it has no caption. It
    retimes files to the model's rate (16 for Wan), so export at that rate. Source:
    tdrussell/diffusion-pipe, utils/dataset.py (commit 0784ca8b) and examples/dataset.toml
    (5145971c).
    """
    shapes = sorted({(b.width, b.height, b.frames) for b in target.buckets}, key=lambda s: s[::-1])
    files = {
        "dataset.toml": f"size_buckets = {[list(shape) for shape in shapes]}\n"
        f"frame_buckets = {sorted({1, *(shape[2] for shape in shapes)})}\n\n"
        f"[[directory]]\npath = {_toml(target.folder / 'videos')}\nnum_repeats = 1\n",
        **_sidecars(samples),
    }
    if any(len(sample.captions) > 1 for sample in samples):
        several = {s.file.path.name: [caption.text for caption in s.captions] for s in samples}
        files["videos/captions.json"] = _json(several)
    return files


def finetrainers(samples: Sequence[ExportSample], target: ExportTarget) -> Mapping[str, str]:
    """`metadata.jsonl` with `file_name` and `caption`, and `training.json` for --dataset_config.

    Read through Hugging Face's `videofolder`, which requires the column `file_name`. Its buckets
    are (frames, height, width). Source: a-r-r-o-w/finetrainers, docs/dataset/README.md and
    finetrainers/data/dataset.py (commit 1483b30d).
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
                "reshape_mode": "bicubic",
                "remove_common_llm_caption_prefixes": False,
            }
        ]
    }
    return {"metadata.jsonl": _json_lines(rows), "training.json": _json(config)}


def fastvideo(samples: Sequence[ExportSample], target: ExportTarget) -> Mapping[str, str]:
    """`videos2caption.json` next to `videos/`, and `merge.txt` for its older scripts.

    This is the input of its preprocessing (`dataset_type: merged`), which writes Parquet files of
    latents. `cap` is a list; size, rate and duration save it a probe. Source: hao-ai-lab/FastVideo,
    docs/training/data_preprocess.md (commit 4117696a) and the README of its first release.
    """
    rows = [
        {
            "path": sample.file.path.name,
            "resolution": {"width": sample.file.width, "height": sample.file.height},
            "fps": sample.file.fps,
            "duration": sample.file.num_frames / sample.file.fps,
            "num_frames": sample.file.num_frames,
            "cap": [caption.text for caption in sample.captions] or [""],
        }
        for sample in samples
    ]
    merge = f"{target.folder / 'videos'},{target.folder / 'videos2caption.json'}\n"
    return {"videos2caption.json": _json(rows), "merge.txt": merge}


def _path(sample: ExportSample, target: ExportTarget) -> str:
    return sample.file.path.relative_to(target.folder).as_posix()


def _sidecars(samples: Sequence[ExportSample]) -> dict[str, str]:
    return {
        f"videos/{sample.file.path.stem}.txt": sample.caption + "\n"
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
