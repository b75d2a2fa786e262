"""Reads the sound of a file, for the model and for the video that is made; imports no torch.

Shapes: N samples of the model's rate, M samples of the track's.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from wanctl.redact import public_uri
from wanctl.video.opening import VideoError, open_container

TRACK_RATE, TRACK_CHANNELS = 48_000, 2
MAX_S = 3600.0  # an hour; 0.7 GB as a track


class SoundSamples(NamedTuple):
    """A part of a sound.

    Attributes:
        speech: (N,) float32 in [-1, 1], one channel at the rate that a model hears.
        track: (M, 2) int16, two channels at TRACK_RATE.
    """

    speech: np.ndarray
    track: np.ndarray


def read_sound(
    source: str | os.PathLike[str],
    speech_rate: int,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> SoundSamples:
    """Read a part of the first sound track of a file of sound or a video.

    Args:
        source: a path, or a URL that fsspec reads.
        speech_rate: samples per second that a model hears.
        start_s: seconds that are left out.
        duration_s: seconds that are read at most; None: to the end.

    Raises:
        VideoError: no such file, no sound in it, damaged, or longer than MAX_S; one line.
    """
    end_s = start_s + (MAX_S + 1 if duration_s is None else duration_s)
    with open_container(source, sound=True) as container:
        if not container.streams.audio:
            raise VideoError(f"{public_uri(os.fspath(source))}: has no sound")
        # channels are mixed and doubled below, because FFmpeg would make them louder and quieter
        layout = "mono" if container.streams.audio[0].channels == 1 else "stereo"
        speech, track = _Part("flt", layout, speech_rate), _Part("s16", layout, TRACK_RATE)
        try:
            for frame in container.decode(audio=0):
                for part in (speech, track):
                    part.add(frame)
                if track.seconds >= end_s:
                    break
            else:
                for part in (speech, track):
                    part.add(None)
        except (av.error.FFmpegError, ValueError) as error:
            name, where = public_uri(os.fspath(source)), f"after {track.seconds:.2f} s"
            raise VideoError(f"{name}: its sound is damaged {where}; need a whole file") from error
    name = public_uri(os.fspath(source))
    if not track.seconds:
        raise VideoError(f"{name}: its sound is empty")
    if track.seconds <= start_s:
        raise VideoError(
            f"{name}: lasts {track.seconds:.2f} s; nothing of it is left after {start_s:g} s"
        )
    if duration_s is None and track.seconds - start_s > MAX_S:
        raise VideoError(f"{name}: lasts more than {MAX_S:g} s; name a part of it")
    both = track.between(start_s, end_s)
    return SoundSamples(
        speech.between(start_s, end_s).mean(axis=1),
        np.repeat(both, TRACK_CHANNELS // both.shape[1], 1),
    )


class _Part:
    """Samples in one format, as they are decoded."""

    def __init__(self, sample_format: str, layout: str, rate: int) -> None:
        self._resampler = AudioResampler(format=sample_format, layout=layout, rate=rate)
        self._channels = len(av.AudioLayout(layout).channels)
        self._rate, self._pieces, self._count = rate, list[np.ndarray](), 0

    def add(self, frame: AudioFrame | None) -> None:
        """Add a frame; None: there are no more."""
        for piece in self._samples(frame):
            self._pieces.append(piece)
            self._count += len(piece)

    def _samples(self, frame: AudioFrame | None) -> Iterator[np.ndarray]:
        for each in self._resampler.resample(frame):
            yield each.to_ndarray().reshape(-1, self._channels)

    @property
    def seconds(self) -> float:
        """Of what was added."""
        return self._count / self._rate

    def between(self, start_s: float, end_s: float) -> np.ndarray:
        """The samples of a part, (N, channels)."""
        first, last = round(start_s * self._rate), round(end_s * self._rate)
        return np.concatenate(self._pieces)[first:last]
