"""Malformed shards and Parquet indexes; the sizes that they state are not believed."""

import io
import tarfile
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.exchange import malformed
from wanctl.exchange.readers import read_layout


def tar(path, *members):
    """Write (name, bytes or TarInfo) members."""
    with tarfile.open(path, "w") as file:
        for name, data in members:
            if isinstance(data, bytes):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
            else:
                data.name = name
                file.addfile(data)
    return path


def special(kind, target=""):
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


V = b"video"
TARS = {
    "dots in names": (
        [("235342 Track 2.0 (Clean).mp4", V), ("235342 Track 2.0 (Clean).txt", b"A cat")],
        {"235342 Track 2.0 (Clean).mp4": ["A cat"]}, ["webdataset takes '235342 Track 2' as its"],
    ),
    "dots in names of two": (
        [("T 2.0 a.mp4", V), ("T 2.0 a.txt", b"A"), ("T 2.0 b.mp4", V), ("T 2.0 b.txt", b"B")],
        {"T 2.0 a.mp4": ["A"], "T 2.0 b.mp4": ["B"]}, [],
    ),
    "one text for two": (
        [("T.0.mp4", V), ("T.1.mp4", V), ("T.txt", b"A")], {"T.0.mp4": [], "T.1.mp4": []},
        ["1 caption files in the shards fit no video or several"],
    ),
    "endings of two parts": (
        [("0.video.mp4", V), ("0.txt", b"A"), ("0.meta.json", b"{}")], {"0.video.mp4": ["A"]}, [],
    ),
    "a text of two parts": (
        [("0.mp4", V), ("0.caption.txt", b"A")], {"0.mp4": ["A"]}, [],
    ),
    "two texts of two parts": (
        [("0.mp4", V), ("0.long.txt", b"A"), ("0.short.txt", b"B")], {"0.mp4": []},
        ["2 caption files in the shards fit no video or several"],
    ),
    "folders with equal names": (
        [("x/0.mp4", V), ("x/0.txt", b"A"), ("y/0.MP4", V), ("y/0.TXT", b"B")],
        {"0.mp4": ["A"], "0.MP4": ["B"]}, [],
    ),
    "members that are not side by side": (
        [("0.mp4", V), ("1.mp4", V), ("1.txt", b"B"), ("0.txt", b"A")],
        {"0.mp4": ["A"], "1.mp4": ["B"]}, [],
    ),
    "broken JSON beside a text": (
        [("0.mp4", V), ("0.json", b'{"caption": "A cat", }'), ("0.txt", b"A")], {"0.mp4": ["A"]},
        ["0.json: not JSON"],
    ),
    "JSON of the wrong kind": (
        [("0.mp4", V), ("0.json", b"[1]"), ("1.mp4", V), ("1.json", b"null")],
        {"0.mp4": [], "1.mp4": []}, ["0.json: need an object"],
    ),
    "facts that are none": (
        [("0.mp4", V), ("0.json", b'{"caption": "A", "fps": "25/1", "width": 1e400}')],
        {"0.mp4": ["A"]}, ["fps: got '25/1'", "width: got inf"],
    ),
    "links and devices": (
        [("0.mp4", special(tarfile.SYMTYPE, "/etc/passwd")), ("1.mp4", special(tarfile.CHRTYPE)),
         ("2.mp4", special(tarfile.LNKTYPE, "3.mp4")), ("3.mp4", V),
         ("4.mp4", special(tarfile.FIFOTYPE))],
        {"3.mp4": []}, ["0.mp4: is a link", "1.mp4: is a folder, a device", "2.mp4: is a link",
                        "4.mp4: is a folder"],
    ),
    "names that lead outside": (
        [("/etc/0.mp4", V), ("../../1.mp4", V)], {"0.mp4": [], "1.mp4": []}, [],
    ),
    "a thumbnail beside a video": (
        [("0.mp4", V), ("0.jpg", b"jpg"), ("0.txt", b"A")], {"0.mp4": ["A"]},
        ["1 images beside a video of the same name are not listed"],
    ),
    "a member twice": (
        [("0.mp4", V), ("0.txt", b"A"), ("0.mp4", V)], None, ["comes 2 times"],
    ),
    "texts without videos": (
        [("0.mp4", V), ("1.txt", b"B"), ("2.txt", b"C")], {"0.mp4": []},
        ["2 samples of the shards have neither video nor image"],
    ),
    "macOS attributes": ([("0.mp4", V), ("._0.mp4", b"attr")], {"0.mp4": []}, []),
}  # fmt: skip


@pytest.mark.parametrize("fault", TARS)
def test_shards(tmp_path, fault):
    members, expected, parts = TARS[fault]
    path = tar(tmp_path / "s.tar", *members)
    if expected is None:
        assert len(read_layout(path).clips) == 2
        notes = [note for clip in read_layout(path).clips for note in clip.notes]
        assert notes == ["comes 2 times"] * 2
        return
    clips, notes, _ = malformed.listing(path)
    assert clips == expected
    for part in parts:
        assert any(part in each for each in notes), (part, notes)


def test_a_damaged_shard_costs_its_own_samples(tmp_path):
    whole = tar(tmp_path / "a.tar", ("0.mp4", V), ("0.txt", b"A"), ("1.mp4", V * 1000)).read_bytes()
    (tmp_path / "b.tar").write_bytes(whole[:2048])
    (tmp_path / "c.tar").write_bytes(b"no tar" * 500)
    read = read_layout(tmp_path)
    assert [clip.name for clip in read.clips if not clip.error] == [
        "a.tar/0.mp4", "a.tar/1.mp4", "b.tar/0.mp4",
    ]  # fmt: skip
    errors = {clip.name: clip.error for clip in read.clips if clip.error}
    assert sorted(errors) == ["b.tar", "c.tar"]


def test_sizes_in_headers_are_not_believed(tmp_path):
    huge = 1 << 40
    tracemalloc.start()
    path = tmp_path / "s.tar"
    path.write_bytes(
        tar(tmp_path / "t.tar", ("0.mp4", V)).read_bytes()[:1024]
        + malformed.tar_header("0.txt", huge, tarfile.REGTYPE)
    )
    read = read_layout(path)
    assert [clip.name for clip in read.clips] == ["s.tar/0.mp4", "s.tar"]
    assert "'0.txt' states 1099511627776 bytes, 0 are there" in read.clips[1].error
    # a sparse member of a terabyte in one header: expanding it would fill the memory
    info = tarfile.TarInfo("0.txt")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,0",
                        "GNU.sparse.size": str(huge), "GNU.sparse.name": "0.txt"}  # fmt: skip
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(info)
        video = tarfile.TarInfo("0.mp4")
        video.size = len(V)
        file.addfile(video, io.BytesIO(V))
    clips, notes, _ = malformed.listing(path)
    assert clips == {"0.mp4": []}
    assert any("0.txt: is stored as a sparse file" in each for each in notes)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_a_text_in_a_shard_is_read_with_a_cap(tmp_path):
    big = b"x" * (17 << 20)
    path = tar(tmp_path / "s.tar", ("0.mp4", V), ("0.txt", big))
    clips, notes, _ = malformed.listing(path)
    assert clips == {"0.mp4": []}
    assert any("0.txt: has 17825792 bytes, at most 16777216 are read" in each for each in notes)


def table(folder, columns, **options):
    path = folder / "metadata.parquet"
    pq.write_table(pa.table(columns), path, **options)
    return path


TABLES = {
    "large strings": lambda: {
        "video": pa.array(["a.mp4"], pa.large_string()), "text": pa.array(["A"], pa.large_string())
    },
    "dictionaries": lambda: {
        "video": pa.array(["a.mp4"]).dictionary_encode(),
        "text": pa.array(["A"]).dictionary_encode(),
    },
    "bytes": lambda: {"video": pa.array([b"a.mp4"]), "text": pa.array([b"A"])},
    "lists": lambda: {"video": pa.array(["a.mp4"]), "caption": pa.array([["A", None]])},
    "a struct of a path": lambda: {
        "video": pa.array([{"path": "a.mp4", "bytes": None}],
                          pa.struct({"path": pa.string(), "bytes": pa.binary()})),
        "text": pa.array(["A"]),
    },
    "upper case": lambda: {"Video ": pa.array(["a.mp4"]), "TEXT": pa.array(["A"])},
    "other columns": lambda: {
        "video": pa.array(["a.mp4"]), "text": pa.array(["A"]),
        "when": pa.array([1 << 62], pa.timestamp("ns")), "latent": pa.array([b"\xff" * 9]),
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLES)
def test_parquet_columns_of_other_types(tmp_path, kind):
    clips, _, failed = malformed.listing(table(tmp_path, TABLES[kind]()))
    assert (clips, failed) == ({"a.mp4": ["A"]}, 0)


def test_parquet_cells_of_other_types_are_named(tmp_path):
    columns = {
        "video": ["a.mp4", None, "c.mp4"],
        "caption": pa.array([1, 2, None], pa.int64()),
        "fps": [float("nan"), 25.0, -1.0],
    }
    clips, notes, failed = malformed.listing(table(tmp_path, columns))
    assert (clips, failed) == ({"a.mp4": [], "c.mp4": []}, 1)
    for part in (
        "caption: got 1, need text",
        "row 2: names no file",
        "fps: got nan",
        "fps: got -1",
    ):
        assert any(part in each for each in notes), (part, notes)
    bad = pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"\xff\xfeA")],
    )
    clips, notes, failed = malformed.listing(
        table(tmp_path, {"video": ["a.mp4", "b.mp4"], "text": bad})
    )
    assert (clips, failed) == ({"a.mp4": [], "b.mp4": ["A"]}, 0)
    assert any("an unreadable value" in each for each in notes)


def test_a_damaged_row_group_costs_its_rows(tmp_path):
    names = [f"{number:05d}.mp4" for number in range(3000)]
    path = table(tmp_path, {"video": names, "text": names}, row_group_size=1000,
                 compression="snappy", use_dictionary=False)  # fmt: skip
    group = pq.read_metadata(path).row_group(1).column(1)
    data = bytearray(path.read_bytes())
    start = group.data_page_offset
    data[start : start + group.total_compressed_size] = b"\xff" * group.total_compressed_size
    path.write_bytes(data)
    clips, notes, failed = malformed.listing(path)
    assert (len(clips), failed) == (2000, 1)
    assert any("rows 1001 to 2000: row group 1 is not readable" in each for each in notes)


def test_the_first_column_that_names_a_file_counts(tmp_path):
    stored = pa.struct({"path": pa.string(), "bytes": pa.binary()})
    columns = {
        "video": pa.array(
            [{"path": None, "bytes": b"v"}, {"path": "b.mp4", "bytes": None}], stored
        ),
        "file_name": ["a.mp4", "c.mp4"],
        "text": ["A", "B"],
    }
    clips, _, failed = malformed.listing(table(tmp_path, columns))
    assert (clips, failed) == ({"a.mp4": ["A"], "b.mp4": ["B"]}, 0)
