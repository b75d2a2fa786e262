"""Chooses the film among the video streams of a file.

Files also hold covers, thumbnails, previews and second cameras, in any order. The film is the
stream that shows the most: pixels times seconds.
"""

from typing import NamedTuple

from av.container import InputContainer
from av.video.stream import VideoStream

# So many packets tell a film from a thumbnail; files with many streams are otherwise read whole.
_COUNTED_PACKETS = 4000
# A stream with fewer frames a second is a slide show or a track of thumbnails; its duration counts
# for less.
_FILM_FPS = 5.0
# A stream with so few of the frames that another one has is no film beside it.
_FEW = 0.1
# The stream that the file marks as its default wins against one that shows up to so much more.
_DEFAULT_FACTOR = 2.0


class Shown(NamedTuple):
    """What a stream shows: number of frames and seconds."""

    frames: int
    seconds: float


def main_stream(container: InputContainer, counts: dict[int, Shown]) -> VideoStream | None:
    """The video stream that is the film; None where there is none.

    Args:
        container: the open file.
        counts: index of a stream -> what it shows; for the others the header says.
    """
    streams = _candidates(container)
    if len(streams) < 2:
        return next(iter(streams), None)

    most = max((counts.get(s.index) or _declared(s)).frames for s in streams)

    def rank(stream: VideoStream) -> tuple[bool, float]:
        shown = counts.get(stream.index) or _declared(stream)
        context = stream.codec_context
        seconds = min(shown.seconds, shown.frames / _FILM_FPS)
        marked = bool(stream.disposition & stream.disposition.default)
        score = seconds * context.width * context.height
        return shown.frames >= _FEW * most, score * (_DEFAULT_FACTOR if marked else 1.0)

    # the first of equals, as players take it
    return max(streams, key=rank)


def needs_counting(container: InputContainer) -> bool:
    """Whether there are several streams, and the header does not say what each shows."""
    streams = _candidates(container)
    silent = (not stream.frames or not stream.duration for stream in streams)
    return len(streams) > 1 and any(silent)


def count_streams(container: InputContainer) -> dict[int, Shown]:
    """Read the file, or the beginning of a long one, and count what its video streams show."""
    streams = _candidates(container)
    times: dict[int, list[float]] = {stream.index: [] for stream in streams}
    try:
        for number, packet in enumerate(container.demux(streams)):
            time = packet.pts if packet.pts is not None else packet.dts
            if packet.size:
                begin = 0.0 if time is None else float(time * (packet.time_base or 1))
                times[packet.stream_index].append(begin)
            if number == _COUNTED_PACKETS:
                break
    except (EOFError, OSError, ValueError):  # damaged further on; the scan says so
        pass
    return {index: _shown(each) for index, each in times.items()}


def _candidates(container: InputContainer) -> list[VideoStream]:
    """Streams that may be films; images where there is nothing else but no covers."""
    streams = [
        s
        for s in container.streams.video
        # a stream of an unknown codec has no context; a cover image is no video
        if s.codec_context and not s.disposition & s.disposition.attached_pic
    ]
    films = [
        s
        for s in streams
        if not s.disposition & (s.disposition.still_image | s.disposition.timed_thumbnails)
    ]
    return films or streams


def _declared(stream: VideoStream) -> Shown:
    return Shown(stream.frames, float((stream.duration or 0) * (stream.time_base or 0)))


def _shown(times: list[float]) -> Shown:
    if len(times) < 2:
        return Shown(len(times), 0.04 * len(times))
    spread = max(times) - min(times)
    return Shown(len(times), spread * len(times) / (len(times) - 1))
