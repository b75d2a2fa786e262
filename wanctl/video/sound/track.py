"""The sound track of a video that is written."""

from fractions import Fraction

import av
import numpy as np
from av.container import OutputContainer

from wanctl.video.sound.read import TRACK_RATE

BITS = 192_000  # per second


class SoundTrack:
    """Writes AAC between the frames, so that both can be read together.

    Args:
        container: the file.
        samples_N2: int16 at TRACK_RATE.
    """

    def __init__(self, container: OutputContainer, samples_N2: np.ndarray) -> None:
        self._container, self._samples, self._written = container, samples_N2, 0
        self._stream = container.add_stream("aac", rate=TRACK_RATE, layout="stereo")
        self._stream.bit_rate = BITS

    def write_until(self, end_s: Fraction) -> None:
        """Write the samples before a time."""
        end = min(len(self._samples), round(end_s * TRACK_RATE))
        if end == self._written:
            return
        part = np.ascontiguousarray(self._samples[self._written : end]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout="stereo")
        frame.rate, frame.pts = TRACK_RATE, self._written
        frame.time_base = Fraction(1, TRACK_RATE)
        self._container.mux(self._stream.encode(frame))
        self._written = end

    def close(self) -> None:
        """Write what the encoder holds back."""
        self._container.mux(self._stream.encode(None))
