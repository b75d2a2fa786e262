"""What a decoding pass notes about packets, frames and errors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import av.logging
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

LOST = "packets of the transport stream are missing"


class ErrorLog:
    """The errors that a demuxer and a decoder log, as they come."""

    def __init__(self, entries: Sequence[tuple[int, str, str]], demuxer: str, decoder: str) -> None:
        self._entries = entries
        self._read = dict.fromkeys((demuxer, decoder), 0)
        self._demuxer, self._decoder = demuxer, decoder

    def of_demuxer(self) -> list[str]:
        """What the demuxer has logged since the last call; it skips damage with a warning."""
        # transport streams mark the packets themselves, and log ahead of them
        return [] if self._demuxer == "mpegts" else self._new(self._demuxer, av.logging.WARNING)

    def of_decoder(self) -> list[str]:
        """What the decoder has logged since the last call."""
        return self._new(self._decoder, av.logging.ERROR)

    def _new(self, name: str, level: int) -> list[str]:
        new = self._entries[self._read[name] :]
        self._read[name] += len(new)
        return [text.strip() for grade, source, text in new if source == name and grade <= level]


@contextmanager
def error_log(container: InputContainer, stream: VideoStream) -> Iterator[ErrorLog]:
    """Collect the errors that a file's demuxer and decoder log inside the block.

    Some decoders (FFV1's checksums, HEVC) notice damage without marking the frame. Only for
    single-threaded decoding: FFmpeg's log callback needs the interpreter lock.
    """
    level, repeated = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=True) as entries:
            yield ErrorLog(entries, container.format.name, stream.codec_context.codec.name)
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(repeated)


class DecodeStats:
    """What happened during one decoding pass over a stream, in the order of its packets.

    Attributes:
        frames: decoded frames, including damaged ones.
        corrupt: frames that the decoder marked as damaged.
        errors: packets that could not be read or decoded at all.
        coded_bytes: bytes of all packets.
        lines: errors that the decoder logged.
        packets: packets that were read.
        last_packet: number of the last packet with data.
        first_key: number of the first packet that decoding can start at; None before it is seen.
        end_byte: where the packets that were read end in the file.
        unreadable: why the container could not be read to its end; "" where it could.
        times: PTS of each packet.
        faults: (number of a packet, what is wrong) each.
        holes: (number of a packet, what the demuxer reports) where something is lost before it.
        origin: for each frame, the number of its packet.
        is_key: for each frame, whether it needs no other frame.

    Args:
        log: where errors are collected.
    """

    def __init__(self, log: ErrorLog | None = None) -> None:
        self.frames = self.corrupt = self.errors = self.lines = 0
        self.coded_bytes = self.packets = self.end_byte = 0
        self.last_packet = -1
        self.first_key: int | None = None
        self.unreadable = ""
        self.times: list[int | None] = []
        self.faults: list[tuple[int, str]] = []
        self.holes: list[tuple[int, str]] = []
        self.origin: list[int] = []
        self.is_key: list[bool] = []
        self._log = log

    def _fault(self, what: str) -> None:
        self.faults.append((self.packets, what))

    def begin(self, packet: Packet) -> None:
        """Note the next packet, before it is decoded; its frames will know it."""
        packet.opaque = self.packets
        if packet.size:  # the empty one at the end asks for the delayed frames
            self.last_packet = self.packets
        self.holes += ((self.packets, line) for line in self._log.of_demuxer()) if self._log else ()
        self.times.append(packet.pts)
        self.coded_bytes += packet.size
        self.end_byte = max(self.end_byte, (packet.pos or 0) + packet.size)
        if self.first_key is None and packet.is_keyframe:
            self.first_key = self.packets

    def last_complaints(self) -> list[str]:
        """What the demuxer reported behind the last packet."""
        late = [line for number, line in self.holes if number > self.last_packet]
        return late + (self._log.of_demuxer() if self._log else [])

    def fail(self, error: BaseException) -> None:
        """Note that the current packet cannot be decoded."""
        self.errors += 1
        self._fault(f"a packet cannot be decoded: {error}")

    def cut_short(self, what: str) -> None:
        """Note, after the last packet, that it is not whole."""
        self.faults.append((self.packets, what))

    def end(self, packet: Packet, frames: Sequence[VideoFrame]) -> None:
        """Note what became of a packet."""
        if packet.is_corrupt:
            self.errors += 1
            self._fault(LOST)
        self.flush(frames)
        for line in self._log.of_decoder() if self._log else ():
            self.lines += 1
            self._fault(f"the decoder reports: {line}")
        self.packets += 1

    def flush(self, frames: Sequence[VideoFrame]) -> None:
        """Note decoded frames."""
        for frame in frames:
            origin = frame.opaque if isinstance(frame.opaque, int) else self.packets
            self.frames += 1
            self.origin.append(origin)
            self.is_key.append(frame.key_frame)
            if frame.is_corrupt:
                self.corrupt += 1
                self.faults.append((origin, "the decoder marked a frame as damaged"))
