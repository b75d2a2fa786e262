"""`wanctl data text-images`: a data set directory of images of text.

TO/
  images/part-00000/00000000.png   the images
  metadata.jsonl                   file_name, text, captions, font, boxes, ... of each
  dataset.json, clips/, captions/, selections/   the images as one-frame clips, for training
  grounds/                         backgrounds: frames of footage and the user's images
  words/part-00000.json            rows and counts of each finished part
  text_images.json, README.md      settings, fonts and their licences, counts
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from wanctl.atomic import write_bytes
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import kept_clips
from wanctl.errors import UserError
from wanctl.log import log, progress
from wanctl.recipe.load import LoadedRecipe
from wanctl.textimages.fonts import find_fonts, pick_fonts
from wanctl.textimages.render import PART, RenderCounts, RenderSettings, render_part
from wanctl.textimages.strings import Corpus
from wanctl.video.decode import read_clip
from wanctl.video.encode import write_png
from wanctl.video.frames import FrameSpec, range_of
from wanctl.video.image_files import read_image
from wanctl.video.workers.worker_pool import DecodePool, Failure

PART_LIMIT_S = 900.0
MAX_BACKGROUNDS = 48
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


class TextImagesError(UserError):
    """The images cannot be made with the settings of the recipe."""


def text_images(loaded: LoadedRecipe, out: Path, to: Path) -> None:
    """Draw images of text; an interrupted run is continued.

    Args:
        loaded: the recipe; `text_images`, `seed` and `curate.decode` are used.
        out: the run folder; frames of its data set serve as backgrounds.
        to: becomes a data set directory.

    Raises:
        FontError: no font for a language.
        TextImagesError: the folder holds images that were drawn with other settings.
    """
    folder = to.resolve()
    settings = _settings(loaded)
    fonts = pick_fonts(find_fonts(settings.fonts), settings.languages)
    Corpus(settings.corpus)  # bad files are found before anything is written
    grounds = loaded.recipe.text_images.grounds
    if grounds is not None and not grounds.is_dir():
        raise TextImagesError(f"text_images.grounds: {grounds}: no such folder")
    faces = {font.name: font.licence for several in fonts.values() for font in several}
    dataset = DatasetDir.create_or_open(folder, recipe=loaded.dump())
    _check_unchanged(folder, settings, sorted(faces))
    decode = loaded.recipe.curate.decode
    numbers = range(-(-settings.num_images // PART))
    todo = [number for number in numbers if not dataset.has_part("clips", _part(number))]
    memory = int(decode.memory_gb * 2**30)
    with (
        DecodePool(decode.workers, PART_LIMIT_S, memory) as pool,
        progress(settings.num_images, "text images") as bar,
    ):
        if todo:
            _prepare_backgrounds(loaded, out, folder, pool)
        bar.advance(settings.num_images - sum(_size(settings, number) for number in todo))
        tasks = ((settings, folder, number) for number in todo)
        for index, result in pool.map(render_part, tasks):
            if isinstance(result, Failure):
                raise TextImagesError(f"text_images: {result.message}")
            rows, counts = result
            _write_part(dataset, _part(todo[index]), rows, counts)
            bar.advance(_size(settings, todo[index]))
    counts = _finish(dataset, numbers, faces, settings)
    if not counts.made:
        raise TextImagesError(
            f"{folder}: OCR reads none of {settings.num_images} images well enough; raise "
            "text_images.max_error, or say `text_images.check: false`"
        )
    log.info(
        "%d images in %s; train on them with --set dataset.path=%s and a bucket of 1 frame",
        counts.made, folder, to,
    )  # fmt: skip
    for line in _summary(counts):
        log.info(line)


def _settings(loaded: LoadedRecipe) -> RenderSettings:
    section = loaded.recipe.text_images
    values: dict[str, Any] = {
        key: value for key, value in dict(section).items() if key != "grounds"
    }
    return RenderSettings(**values, seed=loaded.recipe.seed)


def _check_unchanged(folder: Path, settings: RenderSettings, fonts: Sequence[str]) -> None:
    """Refuse to mix images of different settings; only `num_images` may grow."""
    path = folder / "text_images.json"
    current = json.loads(json.dumps({**asdict(settings), "fonts_used": fonts}, default=str))
    if path.exists():
        before = json.loads(path.read_bytes())
        changed = [
            key for key in current if before.get(key) != current[key] and key != "num_images"
        ]
        if changed or before["num_images"] > current["num_images"]:
            raise TextImagesError(
                f"{folder}: its images were drawn with other text_images "
                f"({', '.join(changed or ['num_images'])}); restore them or name another folder"
            )
        if before["num_images"] % PART and before["num_images"] < current["num_images"]:
            # the last part was incomplete; it is drawn again at full length
            short = _part(before["num_images"] // PART)
            (folder / "clips" / f"{short}.parquet").unlink(missing_ok=True)
    write_bytes(path, json.dumps(current, indent=1, ensure_ascii=False).encode())


def _prepare_backgrounds(loaded: LoadedRecipe, out: Path, folder: Path, pool: DecodePool) -> None:
    """Write backgrounds into `grounds/`: the user's images, and frames of the run's data set."""
    where = folder / "grounds"
    if where.exists():
        return
    images: dict[str, Any] = {}
    section = loaded.recipe.text_images
    if section.grounds is not None:
        found = sorted(section.grounds.rglob("*"))
        usable = [each for each in found if each.suffix.lower() in IMAGE_SUFFIXES]
        images |= read_backgrounds(usable[:MAX_BACKGROUNDS])
    path = loaded.recipe.dataset.path or out / "dataset"
    if (path / "dataset.json").is_file() and path.resolve() != folder:
        dataset = DatasetDir.open(path)
        if dataset.has_part(f"selections/{loaded.recipe.dataset.selection}", ""):
            clips = kept_clips(dataset, loaded.recipe.dataset.selection)
            clips = clips[:: max(1, len(clips) // MAX_BACKGROUNDS)][:MAX_BACKGROUNDS]
            images |= _frames(clips, pool)
    where.mkdir(parents=True)
    for name, image in images.items():
        write_png(where / f"{name}.png", image)
    log.info("text images: %d backgrounds from frames and images", len(images))


def read_backgrounds(paths: Sequence[Path]) -> dict[str, np.ndarray]:
    """Images by name; equal names of different folders or endings are told apart by a number."""
    images: dict[str, np.ndarray] = {}
    counts: Counter[str] = Counter()
    for path in paths:
        counts[path.stem] += 1
        name = path.stem if counts[path.stem] == 1 else f"{path.stem}-{counts[path.stem]}"
        while name in images:  # a file that has this very name
            name += "-"
        images[name] = read_image(path)
    return images


def _frames(clips: Sequence[Mapping[str, Any]], pool: DecodePool) -> dict[str, Any]:
    spec = FrameSpec(count=1, long_side_px=1280)
    tasks = (
        (
            clip["source"], clip["start_pts"], clip["end_pts"], [spec], clip["width"],
            clip["height"], range_of(clip),
        )
        for clip in clips
    )  # fmt: skip
    return {
        clips[index]["id"]: result[0].frames[0]
        for index, result in pool.map(read_clip, tasks)
        if not isinstance(result, Failure)
    }


def _write_part(
    dataset: DatasetDir, part: str, rows: Sequence[dict[str, Any]], counts: RenderCounts
) -> None:
    """Write one part: rows and counts, captions, and last the clips, which mark it as complete."""
    text = json.dumps({"rows": rows, "tally": vars(counts)}, ensure_ascii=False)
    write_bytes(dataset.path / "words" / f"{part}.json", text.encode())
    captions = [
        {"id": row["id"], "text": row[f"caption_{lang}"], "variant": lang, "backend": "rendered"}
        for row in rows
        for lang in sorted(("en", "zh"), key=lambda lang, own=row["language"]: lang != own)
    ]
    dataset.write_part("captions/rendered@v1", part, captions)
    dataset.write_part("clips", part, [_clip(dataset.path, row) for row in rows])


def _clip(folder: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    """An image as a clip of one frame; FFmpeg gives images a duration of 1/25 s."""
    size = {"width": row["width"], "height": row["height"]}
    return {
        "id": row["id"], "source": str(folder / row["file_name"]),
        "content_hash": row["content_hash"], "shot": 0, "start_pts": 0, "end_pts": 1,
        "time_base_num": 1, "time_base_den": 25, "start_s": 0.0, "end_s": 0.04, "num_frames": 1,
        "fps": 25.0, "vfr": False, **size, "coded_width": row["width"],
        "coded_height": row["height"], "rotation": 0, "sar_num": 1, "sar_den": 1, "codec": "png",
        "pix_fmt": "rgb24", "has_audio": False, "audio_rate": 0, "corrupt_share": 0.0,
    }  # fmt: skip


def _finish(
    dataset: DatasetDir, numbers: Iterable[int], faces: Mapping[str, str], settings: RenderSettings
) -> RenderCounts:
    """Write metadata.jsonl, the selection and the card of all parts; returns the total counts."""
    total = RenderCounts()
    lines, used = [], Counter[str]()
    for number in numbers:
        data = json.loads((dataset.path / "words" / f"{_part(number)}.json").read_bytes())
        _add(total, data["tally"])
        used.update(row["font"] for row in data["rows"])
        lines += [json.dumps(row, ensure_ascii=False) + "\n" for row in data["rows"]]
    write_bytes(dataset.path / "metadata.jsonl", "".join(lines).encode())
    ids = dataset.clips(["id"])["id"].to_pylist()
    chosen = [{"id": each, "kept": True, "reasons": [], "weight": 1.0} for each in ids]
    dataset.write_part("selections/default", "", chosen)
    page = _page(total, used, faces, settings)
    write_bytes(dataset.path / "README.md", page.encode())
    return total


def _add(total: RenderCounts, more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict):
            getattr(total, key).update(value)
        else:
            setattr(total, key, getattr(total, key) + value)


def _summary(counts: RenderCounts) -> list[str]:
    lines = [
        f"{counts.unread} strings could not be read back, {counts.too_long} did not fit; "
        f"{counts.given_up} images were given up"
    ]
    for name, judged in sorted(counts.judged.items()):
        read = 1 - counts.missed[name] / judged
        lines.append(f"{name} characters: {counts.drawn[name]} drawn, {read:.1%} read back")
    return lines


def _page(
    counts: RenderCounts,
    used: Mapping[str, int],
    faces: Mapping[str, str],
    settings: RenderSettings,
) -> str:
    lines = [
        f"# {counts.made} images of text",
        "",
        f"{settings.width}x{settings.height} pixels, languages {', '.join(settings.languages)}, "
        f"seed {settings.seed}. `metadata.jsonl` holds the exact text of each.",
        "",
        *(f"- {line}" for line in _summary(counts)),
        "",
        "How often characters are used is known from the corpus in `text_images.json`; without one "
        "GB 2312's two levels stand for it (0.99 and 0.009 of all use, a convention).",
        "",
        "| font | licence | images |",
        "|---|---|---|",
        *(f"| {name} | {faces[name]} | {count} |" for name, count in sorted(used.items())),
    ]
    return "\n".join(lines) + "\n"


def _part(number: int) -> str:
    return f"part-{number:05d}"


def _size(settings: RenderSettings, number: int) -> int:
    return min(settings.num_images, (number + 1) * PART) - number * PART
