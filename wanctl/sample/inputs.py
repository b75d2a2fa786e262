"""Input files of a sample: read, checked, and identified by a hash of their content."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch import Tensor

from wanctl.camera.options import CameraOptions
from wanctl.errors import UserError
from wanctl.model.variants import SPEECH_RATE
from wanctl.redact import public_uri
from wanctl.sample.source_video import VideoReader, image_as_video, open_source_video
from wanctl.tasks.inputs import ClipOptions, Inputs, SourceSound, SourceVideo, SpeechOptions
from wanctl.tasks.pixels import to_float
from wanctl.tasks.point_tracks import PointTracks, read_tracks
from wanctl.tasks.vace_options import VaceOptions
from wanctl.video.image_files import IMAGE_SUFFIXES, ImageFileError, read_image
from wanctl.video.probe import content_hash
from wanctl.video.sound.read import TRACK_RATE, read_sound
from wanctl.video.sources import local_copy

T = TypeVar("T")

SINGLE_FILES = (
    "image", "last_image", "video", "mask", "tracks", "face", "pose_video", "face_video", "audio",
)  # fmt: skip
MAX_CACHED = 2  # input sets kept in memory


@dataclass(frozen=True)
class InputSpec:
    """Which files a sample is made from, by the recipe's keys, and how they are used.

    Attributes:
        image: path or URL of the first frame; None: none.
        last_image: path or URL of the last frame; None: none.
        video: path or URL of the source video; None: none.
        mask: path or URL of an image or video; None: none.
        references: paths or URLs of reference images.
        known_frames: frame number -> path or URL of its image; -1 is the last frame.
        given_frames: frames taken from the video; None: the task's default.
        vace: how VACE's source video is prepared; None: unchanged.
        camera: the path of the camera; None: there is none.
        tracks: path or URL of point tracks; None: none.
        face: path or URL of the image of a face; None: none.
        fps: frame rate of the output.
        exact: images are cropped to the requested size.
        clips: how a long video is divided into clips; None: as the task does by itself.
        pose_video: path or URL of skeletons; None: none.
        face_video: path or URL of crops of a face; None: none.
        audio: path or URL of a sound, or of a video with one; None: none.
        speech: which part of the sound is used, and how the video begins; None: all of it.
    """

    image: str | None
    last_image: str | None
    video: str | None
    mask: str | None
    references: tuple[str, ...]
    known_frames: Mapping[int, str]
    given_frames: int | None
    vace: VaceOptions | None
    fps: float
    exact: bool
    camera: CameraOptions | None = None
    tracks: str | None = None
    clips: ClipOptions | None = None
    face: str | None = None
    pose_video: str | None = None
    face_video: str | None = None
    audio: str | None = None
    speech: SpeechOptions | None = None

    def files(self) -> Iterator[tuple[str, str]]:
        """Recipe key -> file, for every file that is named; known frames by their number."""
        for key in SINGLE_FILES:
            if name := getattr(self, key):
                yield key, _expand_home(name)
        if self.camera and self.camera.file:
            yield "camera.path", _expand_home(self.camera.file)
        for number, name in enumerate(self.references):
            yield f"references.{number}", _expand_home(name)
        for frame, name in sorted(self.known_frames.items()):
            yield f"known_frames.{frame}", _expand_home(name)


@dataclass(frozen=True)
class InputFiles:
    """Inputs that were read, and the files they come from.

    Attributes:
        inputs: the pixels.
        hashes: recipe key -> sha256 of the file's content.
        names: recipe key -> the file.
    """

    inputs: Inputs
    hashes: Mapping[str, str]
    names: Mapping[str, str]

    def metadata(self) -> dict[str, str]:
        """Header entries of an output."""
        if not self.names:
            return {}
        files = {
            key: {"file": public_uri(self.names[key]), "sha256": self.hashes[key]}
            for key in self.names
        }
        return {"input_files": json.dumps(files, ensure_ascii=False)}


class InputCache:
    """Reads input files and keeps the latest sets, which neighbouring prompts often share.

    Args:
        timeout_s: seconds that one decoding call may take.
        memory_bytes: address space of the process that decodes video.
    """

    def __init__(self, timeout_s: float, memory_bytes: int) -> None:
        self._reader = VideoReader(timeout_s, memory_bytes)
        self._cached: list[tuple[InputSpec, InputFiles]] = []

    def read(self, spec: InputSpec) -> InputFiles:
        """Read the files of a spec, or return them from the cache.

        Raises:
            UserError: `KEY: FILE: why it cannot be used`.
        """
        for cached, files in self._cached:
            if cached == spec:
                return files
        files = read_inputs(spec, self._reader)
        self._cached = [*self._cached, (spec, files)][-MAX_CACHED:]
        return files


def read_inputs(spec: InputSpec, reader: VideoReader) -> InputFiles:
    """Read the files of a spec.

    Args:
        spec: names them.
        reader: decodes video.

    Raises:
        UserError: `KEY: FILE: why it cannot be used`.
    """
    names = dict(spec.files())
    hashes = {key: _read_for(key, _hash, name) for key, name in names.items()}

    def image(key: str) -> Tensor | None:
        return _read_for(key, _image_tensor, names[key]) if key in names else None

    def video(key: str) -> SourceVideo | None:
        if key not in names:
            return None
        return _read_for(key, lambda name: _video(name, reader), names[key])

    inputs = Inputs(
        image=image("image"),
        last_image=image("last_image"),
        face=image("face"),
        video=video("video"),
        mask=video("mask"),
        references=tuple(
            _read_for("references", _image_tensor, names[f"references.{number}"])
            for number in range(len(spec.references))
        ),
        known_frames={
            frame: _read_for("known_frames", _image_tensor, names[f"known_frames.{frame}"])
            for frame in sorted(spec.known_frames)
        },
        given_frames=spec.given_frames,
        vace=spec.vace,
        camera=spec.camera,
        tracks=_read_for("tracks", _tracks, names["tracks"]) if "tracks" in names else None,
        clips=spec.clips,
        pose_video=video("pose_video"),
        face_video=video("face_video"),
        audio=_read_for("audio", lambda name: _sound(name, spec.speech, reader), names["audio"])
        if "audio" in names
        else None,
        speech=spec.speech,
        fps=spec.fps,
        exact=spec.exact,
    )
    return InputFiles(inputs, hashes, names)


def _expand_home(name: str) -> str:
    """A path with `~` replaced by the home folder."""
    return str(Path(name).expanduser()) if name.startswith("~") else name


def _read_for(key: str, read: Callable[[str], T], name: str) -> T:
    """Read a file; errors start with the recipe key that names it."""
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


def _image_tensor(name: str) -> Tensor:
    return to_float(_image(name))


def _video(name: str, reader: VideoReader) -> SourceVideo:
    if Path(name).suffix.lower() in IMAGE_SUFFIXES:
        return image_as_video(_image(name), name)
    return open_source_video(name, reader)


def _sound(name: str, options: SpeechOptions | None, reader: VideoReader) -> SourceSound:
    part = options or SpeechOptions()
    speech, track = reader.call(read_sound, name, SPEECH_RATE, part.start_s, part.duration_s)
    return SourceSound(speech, track, name, len(track) / TRACK_RATE)


def _tracks(name: str) -> PointTracks:
    with local_copy(name) as path:
        return read_tracks(path, name)


def _image(name: str) -> np.ndarray:
    """An image file on a disk or behind a URL as (H, W, 3) uint8."""
    with local_copy(name) as path:
        try:
            return read_image(path)
        except ImageFileError as error:
            raise UserError(str(error).replace(str(path), name)) from None
