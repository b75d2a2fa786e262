"""`wanctl data text-images`: a data set directory of pictures of text.

TO/
  images/part-00000/00000000.png   the pictures
  metadata.jsonl                   file_name, text, captions, font, boxes, ... of each
  dataset.json, clips/, captions/, selections/   the same as one-frame clips, for training
  grounds/                         frames of footage that were written on
  text_images.json, README.md      settings, fonts and their licences, counts
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wanctl.atomic import write_bytes
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import kept_clips
from wanctl.errors import UserError
from wanctl.log import log, progress
from wanctl.recipe.load import LoadedRecipe
from wanctl.textimages.fonts import find_fonts, pick_fonts
from wanctl.textimages.render import PART, Settings, Tally, render_part
from wanctl.video.decode import read_clip
from wanctl.video.encode import write_png
from wanctl.video.frames import FrameSpec
from wanctl.video.worker_pool import DecodePool, Failure

PART_LIMIT_S = 900.0
MAX_GROUNDS = 48
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


class TextImagesError(UserError):
    """The pictures cannot be made as the recipe asks."""


def text_images(loaded: LoadedRecipe, out: Path, to: Path) -> None:
    """Draw pictures of text; goes on where an earlier run stopped.

    Args:
        loaded: the recipe; `text_images`, `seed` and `curate.decode` are used.
        out: the run folder; frames of its data set serve as grounds.
        to: becomes a data set directory.

    Raises:
        FontError: no font for a language.
        TextImagesError: the folder holds pictures of other settings.
    """
    folder = to.resolve()
    settings = _settings(loaded)
    fonts = pick_fonts(find_fonts(settings.fonts), settings.languages)
    faces = {font.name: font.licence for several in fonts.values() for font in several}
    dataset = DatasetDir.create_or_open(folder, recipe=loaded.dump())
    _check_unchanged(folder, settings, sorted(faces))
    decode = loaded.recipe.curate.decode
    numbers = range(-(-settings.num_images // PART))
    todo = [number for number in numbers if not dataset.has_part("clips", _part(number))]
    memory = int(decode.memory_gb * 2**30)
    with (
        DecodePool(decode.workers, PART_LIMIT_S, memory) as pool,
        progress(settings.num_images, "text pictures") as bar,
    ):
        if todo:
            _prepare_grounds(loaded, out, folder, pool)
        bar.advance(settings.num_images - sum(_size(settings, number) for number in todo))
        tasks = ((settings, folder, number) for number in todo)
        for index, result in pool.map(render_part, tasks):
            if isinstance(result, Failure):
                raise TextImagesError(f"text_images: {result.message}")
            rows, tally = result
            _keep(dataset, _part(todo[index]), rows, tally)
            bar.advance(_size(settings, todo[index]))
    tally = _finish(dataset, numbers, faces, settings)
    log.info(
        "%d pictures in %s; train on them with --set dataset.path=%s and a bucket of 1 frame",
        tally.made, folder, to,
    )  # fmt: skip
    for line in _told(tally):
        log.info(line)


def _settings(loaded: LoadedRecipe) -> Settings:
    section = loaded.recipe.text_images
    values: dict[str, Any] = {
        key: value for key, value in dict(section).items() if key != "grounds"
    }
    return Settings(**values, seed=loaded.recipe.seed)


def _check_unchanged(folder: Path, settings: Settings, fonts: Sequence[str]) -> None:
    """Pictures of other settings cannot be mixed with new ones; more of the same can be made."""
    path = folder / "text_images.json"
    told = json.loads(json.dumps({**asdict(settings), "fonts_used": fonts}, default=str))
    if path.exists():
        before = json.loads(path.read_bytes())
        changed = [key for key in told if before.get(key) != told[key] and key != "num_images"]
        if changed or before["num_images"] > told["num_images"]:
            raise TextImagesError(
                f"{folder}: its pictures were drawn with other text_images "
                f"({', '.join(changed or ['num_images'])}); restore them or name another folder"
            )
        if before["num_images"] % PART and before["num_images"] < told["num_images"]:
            # the last part was cut short; it is drawn again at full length
            short = _part(before["num_images"] // PART)
            (folder / "clips" / f"{short}.parquet").unlink(missing_ok=True)
    write_bytes(path, json.dumps(told, indent=1, ensure_ascii=False).encode())


def _prepare_grounds(loaded: LoadedRecipe, out: Path, folder: Path, pool: DecodePool) -> None:
    """Put pictures to write on into `grounds/`: the user's, and frames of the run's data set."""
    where = folder / "grounds"
    if where.exists():
        return
    found: dict[str, Any] = {}
    section = loaded.recipe.text_images
    if section.grounds is not None:
        if not section.grounds.is_dir():
            raise TextImagesError(f"text_images.grounds: {section.grounds}: no such folder")
        for path in sorted(section.grounds.rglob("*"))[:MAX_GROUNDS]:
            if path.suffix.lower() in PICTURES:
                with Image.open(path) as image:
                    found[path.stem] = np.asarray(image.convert("RGB"))
    path = loaded.recipe.dataset.path or out / "dataset"
    if (path / "dataset.json").is_file() and path.resolve() != folder:
        dataset = DatasetDir.open(path)
        if dataset.has_part(f"selections/{loaded.recipe.dataset.selection}", ""):
            clips = kept_clips(dataset, loaded.recipe.dataset.selection)
            clips = clips[:: max(1, len(clips) // MAX_GROUNDS)][:MAX_GROUNDS]
            found |= _frames(clips, pool)
    where.mkdir(parents=True)
    for name, picture in found.items():
        write_png(where / f"{name}.png", picture)
    log.info("text pictures: %d frames and pictures to write on", len(found))


def _frames(clips: Sequence[Mapping[str, Any]], pool: DecodePool) -> dict[str, Any]:
    spec = FrameSpec(count=1, long_side_px=1280)
    tasks = (
        (clip["source"], clip["start_pts"], clip["end_pts"], [spec], clip["width"], clip["height"])
        for clip in clips
    )
    return {
        clips[index]["id"]: result[0].frames[0]
        for index, result in pool.map(read_clip, tasks)
        if not isinstance(result, Failure)
    }


def _keep(dataset: DatasetDir, part: str, rows: Sequence[dict[str, Any]], tally: Tally) -> None:
    """Write one part: words, captions, and last the clips, which make it done."""
    text = json.dumps({"rows": rows, "tally": vars(tally)}, ensure_ascii=False)
    write_bytes(dataset.path / "words" / f"{part}.json", text.encode())
    words = [
        {"id": row["id"], "text": row[f"caption_{lang}"], "variant": lang, "backend": "rendered"}
        for row in rows
        for lang in sorted(("en", "zh"), key=lambda lang, own=row["language"]: lang != own)
    ]
    dataset.write_part("captions/rendered@v1", part, words)
    dataset.write_part("clips", part, [_clip(dataset.path, row) for row in rows])


def _clip(folder: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    """A picture as a clip of one frame; FFmpeg gives pictures 1/25 s."""
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
    dataset: DatasetDir, numbers: Iterable[int], faces: Mapping[str, str], settings: Settings
) -> Tally:
    """Write what spans the parts: metadata.jsonl, the selection, the card."""
    total = Tally()
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


def _add(total: Tally, more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict):
            getattr(total, key).update(value)
        else:
            setattr(total, key, getattr(total, key) + value)


def _told(tally: Tally) -> list[str]:
    lines = [
        f"{tally.unread} strings could not be read back, {tally.too_long} did not fit; "
        f"{tally.given_up} pictures were given up"
    ]
    for name, judged in sorted(tally.judged.items()):
        read = 1 - tally.missed[name] / judged
        lines.append(f"{name} characters: {tally.drawn[name]} drawn, {read:.1%} read back")
    return lines


def _page(
    tally: Tally, used: Mapping[str, int], faces: Mapping[str, str], settings: Settings
) -> str:
    lines = [
        f"# {tally.made} pictures of text",
        "",
        f"{settings.width}x{settings.height} pixels, languages {', '.join(settings.languages)}, "
        f"seed {settings.seed}. `metadata.jsonl` holds the exact text of each.",
        "",
        *(f"- {line}" for line in _told(tally)),
        "",
        "How often characters are used is known from the corpus in `text_images.json`; without one "
        "GB 2312's two levels stand for it (0.99 and 0.009 of all use, a convention).",
        "",
        "| font | licence | pictures |",
        "|---|---|---|",
        *(f"| {name} | {faces[name]} | {count} |" for name, count in sorted(used.items())),
    ]
    return "\n".join(lines) + "\n"


def _part(number: int) -> str:
    return f"part-{number:05d}"


def _size(settings: Settings, number: int) -> int:
    return min(settings.num_images, (number + 1) * PART) - number * PART
