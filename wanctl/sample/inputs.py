"""The files a sample is made from: read, checked and known by their contents."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch import Tensor

from wanctl.errors import UserError
from wanctl.recipe.schema import DecodeSection, SampleSection
from wanctl.recipe.vace import VaceSection
from wanctl.sample.image_files import IMAGE_SUFFIXES, ImageFileError, read_image
from wanctl.sample.source_video import VideoReader, image_as_video, open_source_video
from wanctl.tasks.inputs import Inputs, SourceVideo
from wanctl.tasks.sizing import to_float
from wanctl.tasks.vace_options import Track, VaceOptions
from wanctl.video.probe import content_hash
from wanctl.video.sources import local_copy

T = TypeVar("T")

# Of the section that decide what is read, and how many different ones are kept in memory.
KEYS = (
    "image", "last_image", "video", "mask", "references", "known_frames", "given_frames", "vace",
    "fit",
)  # fmt: skip
KEPT = 2


@dataclass(frozen=True)
class InputFiles:
    """What was read, and of which files.

    Attributes:
        inputs: the pixels.
        hashes: recipe key -> sha256 of the file's content.
        names: recipe key -> the file.
    """

    inputs: Inputs
    hashes: Mapping[str, str]
    names: Mapping[str, str]

    def metadata(self) -> dict[str, str]:
        """For an output's header."""
        if not self.names:
            return {}
        values = {key: {"file": self.names[key], "sha256": self.hashes[key]} for key in self.names}
        return {"input_files": json.dumps(values, ensure_ascii=False)}


class InputCache:
    """Reads what lines of a file of prompts name, and keeps what the last ones named.

    Args:
        decode: limits of the process that reads footage.
    """

    def __init__(self, decode: DecodeSection) -> None:
        self._reader = VideoReader(decode.timeout_s, int(decode.memory_gb * 2**30))
        self._kept: dict[str, InputFiles] = {}

    def read(self, section: SampleSection, fps: float) -> InputFiles:
        """See `read_inputs`."""
        key = section.model_dump_json(include=set(KEYS)) + f" {fps}"
        if key not in self._kept:
            while len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = read_inputs(section, fps, self._reader)
        return self._kept[key]


def read_inputs(section: SampleSection, fps: float, reader: VideoReader) -> InputFiles:
    """Read what the recipe names.

    Args:
        section: the recipe's `sample`.
        fps: of the output.
        reader: reads footage.

    Raises:
        UserError: `KEY: FILE: why it cannot be used`.
    """
    names = dict(_named(section))
    hashes = {key: _at(key, _hash, name) for key, name in names.items()}

    def picture(key: str) -> Tensor | None:
        return _at(key, _values, names[key]) if key in names else None

    def clip(key: str) -> SourceVideo | None:
        return _at(key, lambda name: _clip(name, reader), names[key]) if key in names else None

    inputs = Inputs(
        image=picture("image"),
        last_image=picture("last_image"),
        video=clip("video"),
        mask=clip("mask"),
        references=tuple(
            _at("references", _values, names[f"references.{number}"])
            for number in range(len(section.references))
        ),
        known_frames={
            frame: _at("known_frames", _values, names[f"known_frames.{frame}"])
            for frame in sorted(section.known_frames)
        },
        given_frames=section.given_frames,
        vace=_vace_options(section.vace),
        fps=fps,
        exact=section.fit == "exact",
    )
    return InputFiles(inputs, hashes, names)


def _vace_options(section: VaceSection) -> VaceOptions | None:
    """What the recipe says of VACE's sources; None where it says nothing."""
    if section == VaceSection():
        return None
    tracks = tuple(Track(track.boxes, track.colour) for track in section.layout)
    values = {key: value for key, value in section if key != "layout"}
    return VaceOptions(layout=tracks, **values)


def _named(section: SampleSection) -> Iterator[tuple[str, str]]:
    """Recipe key -> file, for every file that is named."""
    for key in ("image", "last_image", "video", "mask"):
        if name := getattr(section, key):
            yield key, _home(name)
    for number, name in enumerate(section.references):
        yield f"references.{number}", _home(name)
    for frame, name in sorted(section.known_frames.items()):
        yield f"known_frames.{frame}", _home(name)


def _home(name: str) -> str:
    """A path with `~` spelt out."""
    return str(Path(name).expanduser()) if name.startswith("~") else name


def _at(key: str, read: Callable[[str], T], name: str) -> T:
    """Read a file; a complaint says which key named it."""
    try:
        return read(name)
    except UserError as error:
        raise UserError(f"{key.partition('.')[0]}: {error}") from None


def _hash(name: str) -> str:
    try:
        with local_copy(name) as path:
            return content_hash(path)
    except IsADirectoryError:
        raise UserError(f"{name}: is a folder; need a file") from None
    except OSError as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"{name}: {why}") from None


def _values(name: str) -> Tensor:
    return to_float(_picture(name))


def _clip(name: str, reader: VideoReader) -> SourceVideo:
    if Path(name).suffix.lower() in IMAGE_SUFFIXES:
        return image_as_video(_picture(name), name)
    return open_source_video(name, reader)


def _picture(name: str) -> np.ndarray:
    """A picture on a disk or behind a URL."""
    with local_copy(name) as path:
        try:
            return read_image(path)
        except ImageFileError as error:
            raise UserError(str(error).replace(str(path), name)) from None
