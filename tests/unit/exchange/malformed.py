"""Writes small data sets in every layout that `data check` reads, with one fault each."""

import csv
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wanctl.exchange.readers import LayoutError, read_layout

Captions = Mapping[str, str]
Encode = Callable[[str], bytes]

TEXTS: dict[str, Encode] = {
    "plain": lambda text: text.encode(),
    "bom": lambda text: text.encode("utf-8-sig"),
    "utf16": lambda text: text.encode("utf-16"),
    "utf16be": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "utf16le without a mark": lambda text: text.encode("utf-16-le"),
    "utf16be without a mark": lambda text: text.encode("utf-16-be"),
    "utf32": lambda text: text.encode("utf-32"),
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "cr": lambda text: text.replace("\n", "\r").encode(),
}
"""Encodings and line ends in which a text means the same."""

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 306807976\n"

UNREADABLE: dict[str, Encode] = {
    "cp1252": lambda text: text.replace("猫", "é").encode("cp1252"),
    "cut off": lambda text: text.encode()[:-1] + b"\xe7\x8c",
    "binary": lambda _: bytes(range(256)) * 4,
}
"""Encodings in which a text cannot be read; the file is named."""


def files(folder: Path, captions: Captions) -> None:
    """An empty file for every video; nothing is decoded here."""
    for name in captions:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def sidecars(folder: Path, captions: Captions, encode: Encode) -> Path:
    for name, caption in captions.items():
        (folder / name).with_suffix(".txt").write_bytes(encode(caption + "\n"))
    return folder


def captions_json(folder: Path, captions: Captions, encode: Encode) -> Path:
    (folder / "captions.json").write_bytes(encode(_json({n: [c] for n, c in captions.items()})))
    return folder


def metadata_json(folder: Path, captions: Captions, encode: Encode) -> Path:
    rows = [{"video": name, "prompt": caption} for name, caption in captions.items()]
    (folder / "metadata.json").write_bytes(encode(_json(rows)))
    return folder


def mapping_json(folder: Path, captions: Captions, encode: Encode) -> Path:
    (folder / "all.json").write_bytes(encode(_json(dict(captions))))
    return folder / "all.json"


def metadata_jsonl(folder: Path, captions: Captions, encode: Encode) -> Path:
    rows = [{"file_name": name, "caption": caption} for name, caption in captions.items()]
    text = "".join(_json(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_bytes(encode(text))
    return folder


def _delimited(name: str, delimiter: str) -> Callable[[Path, Captions, Encode], Path]:
    def write(folder: Path, captions: Captions, encode: Encode) -> Path:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
        writer.writerows([("video", "prompt"), *captions.items()])
        (folder / name).write_bytes(encode(text.getvalue()))
        return folder

    return write


def two_lists(folder: Path, captions: Captions, encode: Encode) -> Path:
    (folder / "videos.txt").write_bytes(encode("".join(f"{name}\n" for name in captions)))
    (folder / "prompts.txt").write_bytes(encode("".join(f"{c}\n" for c in captions.values())))
    return folder


def musubi(folder: Path, captions: Captions, encode: Encode) -> Path:
    sidecars(folder, captions, encode)
    text = f"[[datasets]]\nvideo_directory = {json.dumps(str(folder))}\n"
    (folder / "dataset.toml").write_bytes(encode(text))
    return folder / "dataset.toml"


def diffusion_pipe(folder: Path, captions: Captions, encode: Encode) -> Path:
    captions_json(folder, captions, encode)
    text = f"[[directory]]\npath = {json.dumps(str(folder))}\n"
    (folder / "pipe.toml").write_bytes(encode(text))
    return folder / "pipe.toml"


def fastvideo(folder: Path, captions: Captions, encode: Encode) -> Path:
    rows = [{"path": name, "cap": [caption]} for name, caption in captions.items()]
    (folder / "videos2caption.json").write_bytes(encode(_json(rows)))
    return folder


def webdataset(folder: Path, captions: Captions, encode: Encode) -> Path:
    members = {}
    for name, caption in captions.items():
        members[name] = b"video"
        members[str(Path(name).with_suffix(".txt"))] = encode(caption + "\n")
    return write_tar(folder / "shard.tar", members)


def webdataset_json(folder: Path, captions: Captions, encode: Encode) -> Path:
    members = {}
    for name, caption in captions.items():
        members[name] = b"video"
        members[str(Path(name).with_suffix(".json"))] = encode(_json({"caption": caption}))
    return write_tar(folder / "shard.tar", members)


def parquet(folder: Path, captions: Captions, _encode: Encode) -> Path:
    columns = {"file_name": list(captions), "caption": list(captions.values())}
    pq.write_table(pa.table(columns), folder / "metadata.parquet")
    return folder


LAYOUTS: dict[str, Callable[[Path, Captions, Encode], Path]] = {
    "sidecars": sidecars,
    "captions.json": captions_json,
    "metadata.json": metadata_json,
    "mapping": mapping_json,
    "metadata.jsonl": metadata_jsonl,
    "csv": _delimited("metadata.csv", ","),
    "csv with semicolons": _delimited("metadata.csv", ";"),
    "csv with tabs": _delimited("metadata.tsv", "\t"),
    "two lists": two_lists,
    "musubi": musubi,
    "diffusion-pipe": diffusion_pipe,
    "fastvideo": fastvideo,
    "webdataset": webdataset,
    "webdataset with json": webdataset_json,
    "parquet": parquet,
}


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def listing(path: Path) -> tuple[dict[str, list[str]], list[str], int]:
    """Name -> captions of the clips; the texts of all notes and errors; number of failed rows."""
    read = read_layout(path)
    notes = [*read.notes, *(note for clip in read.clips for note in clip.notes)]
    notes += [f"{clip.name}: {clip.error}" for clip in read.clips if clip.error]
    clips = {clip.name.rpartition("/")[2]: list(clip.captions)
             for clip in read.clips if not clip.error}  # fmt: skip
    assert len(clips) == sum(not clip.error for clip in read.clips), "names differ"
    return clips, notes, sum(bool(clip.error) for clip in read.clips)


def one_line(path: Path) -> str:
    """The message of a data set that cannot be read."""
    with pytest.raises(LayoutError) as caught:
        read_layout(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert str(path) in message or str(path.parent) in message, "says where"
    return message


def tar_header(name: str, size: int, kind: bytes) -> bytes:
    """One tar header; a negative size is written in base 256, as tarfile reads it."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)
