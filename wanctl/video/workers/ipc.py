"""Pickled messages over a pipe: eight bytes of length, then the message."""

import pickle
import struct
from typing import IO, Any


class ChannelClosedError(Exception):
    """The other end of the pipe is closed."""


def send(stream: IO[bytes] | None, message: Any) -> None:
    """Write one message.

    Raises:
        ChannelClosedError: the reading process has ended.
    """
    assert stream is not None
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    try:
        stream.write(struct.pack("<Q", len(data)))
        stream.write(data)
        stream.flush()
    except (OSError, ValueError) as error:
        raise ChannelClosedError(str(error)) from error


def receive(stream: IO[bytes] | None) -> Any:
    """Read one message.

    Raises:
        ChannelClosedError: the stream ended before the end of the message.
    """
    assert stream is not None
    try:
        (size,) = struct.unpack("<Q", _exactly(stream, 8))
        return pickle.loads(_exactly(stream, size))
    except (OSError, ValueError) as error:
        raise ChannelClosedError(str(error)) from error


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ChannelClosedError(f"the stream ended after {len(data)} of {size} bytes")
    return data
