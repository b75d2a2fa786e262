"""What a file is, by its first bytes: weights that can be read, or something with a name.

Names of files lie: downloads end as web pages, clones without git-LFS as pointers, and `.ckpt`,
`.pt` and `.bin` hold anything. Every reader asks here before it opens a file of weights.
"""

import re
from pathlib import Path
from typing import Literal
from zipfile import is_zipfile

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.textfiles import lfs_pointer

Format = Literal["safetensors", "torch", "torch legacy", "gguf"]

HEAD_BYTES = 512
# Larger headers are refused by the safetensors library; the published ones take 0.2 MB.
MAX_HEADER_BYTES = 100_000_000
LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # torch before 1.6: its magic number
SHOWN_CHARACTERS = 60

GGUF = b"GGUF"
# First bytes -> what the file is, and what to do.
MAGIC = {
    GGUF: "a GGUF file, which is read as a model only; take the .safetensors",
    b"ggml": "a GGML file, which is not read here; take the .safetensors of the same model",
    b"\x89HDF\r\n": "an HDF5 file of Keras; take the PyTorch weights",
    b"\x93NUMPY": "one NumPy array; need a file of named tensors",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"\x28\xb5\x2f\xfd": "a zstd archive; unpack it",
    b"\xfd7zXZ": "an xz archive; unpack it",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"Rar!": "a rar archive; unpack it",
    b"BZh": "a bzip2 archive; unpack it",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"RIFF": "a picture or video",
    b"\x1aE\xdf\xa3": "a video",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
    b"MZ": "a program",
}
TAR_OFFSET = 257


def weight_format(path: Path) -> Format:
    """The format of a file of weights, by its content.

    Raises:
        WeightsError: not there, or of no format that can be read; says what it is.
    """
    found = _format(path)
    if found is None:
        raise WeightsError(f"{path}: is {describe(path)}")
    return found


def holds_weights(path: Path) -> bool:
    """Whether a file's first bytes are those of a format that can be read."""
    return path.is_file() and _format(path) is not None


def describe(path: Path) -> str:
    """What a file that holds no weights is, and what to do; for `PATH: is ...`."""
    head = _head(path)
    if not head:
        return "empty; download or save it again"
    if pointer := lfs_pointer(head):
        return pointer
    for magic, text in MAGIC.items():
        if head.startswith(magic):
            return text
    if head[4:8] == b"ftyp":
        return "a video or picture"
    if head[TAR_OFFSET : TAR_OFFSET + 5] == b"ustar":
        return "a tar archive; unpack it"
    if path.suffix == ".onnx":
        return "an ONNX file, which is not read here; take the PyTorch weights"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "a bare pickle, not a complete file of torch.save; save the state dict again"
    return _describe_text(head)


def _format(path: Path) -> Format | None:
    head = _head(path)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= length <= MAX_HEADER_BYTES:
        return "safetensors"
    if head.startswith(GGUF):
        return "gguf"
    if head.startswith(LEGACY_TORCH):
        return "torch legacy"
    return "torch" if head.startswith(b"PK\x03\x04") and is_zipfile(path) else None


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None


def _describe_text(head: bytes) -> str:
    if head.startswith(b"PK\x03\x04"):
        return "not a complete file of torch.save; download or save it again"
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{":
        return (
            f"not a complete safetensors file: its header would take {length:,} bytes; download "
            "or save it again"
        )
    try:
        text = head.decode("utf-8-sig", errors="strict" if len(head) < HEAD_BYTES else "ignore")
    except UnicodeDecodeError:
        text = ""
    if not text or not all(letter.isprintable() or letter.isspace() for letter in text):
        return "of a format not known here; need .safetensors, or a state dict of torch.save"
    start = " ".join(text.split())[:SHOWN_CHARACTERS]
    if re.match(r"<(!doctype|html|head|\?xml|body|error)", start, re.IGNORECASE):
        return (
            "a web page, so the download failed or needs a login; download the file itself, e.g. "
            "with `hf download`"
        )
    if start.startswith(("{", "[")):
        return f"a JSON file ({start}), not weights"
    return f"a text ({start!r}), not weights"
