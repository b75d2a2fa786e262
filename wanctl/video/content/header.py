"""What the header of a container says of a file, without decoding a frame. Runs in a worker."""

from dataclasses import dataclass
from fractions import Fraction

from av import time_base
from av.container import InputContainer
from av.video.stream import VideoStream

from wanctl.video.opening import VideoError, open_container
from wanctl.video.stream_choice import main_stream

LONGEST_S = 7 * 24 * 3600.0
"""A header that says more is not believed."""


@dataclass(frozen=True)
class Header:
    """What a header says; decoding may find something else.

    Attributes:
        duration_s: seconds; 0 where the header says nothing that can be believed.
        width: pixels as stored.
        height: pixels as stored.
        codec: name of the video codec.
    """

    duration_s: float
    width: int
    height: int
    codec: str


def read_header(source: str) -> Header:
    """Read the header of a source on a disk or behind a URL.

    Raises:
        VideoError: not a video, or one that cannot be opened.
        SourceError: the URL cannot be read.
    """
    with open_container(source) as container:
        stream = main_stream(container, {})
        if stream is None:
            raise VideoError(f"{source}: no video stream")
        return Header(
            duration_s=_duration_s(container, stream),
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            codec=stream.codec_context.name,
        )


def _duration_s(container: InputContainer, stream: VideoStream) -> float:
    """Of the stream where it is stated, else of the file."""
    stated = [0.0]
    if stream.duration and stream.time_base:
        stated.append(float(stream.duration * Fraction(stream.time_base)))
    elif container.duration:
        stated.append(container.duration / time_base)
    return stated[-1] if 0 < stated[-1] <= LONGEST_S else 0.0
