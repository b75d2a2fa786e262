import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pyarrow as pa
import pytest

from wanctl.atomic import WriteError, replacing
from wanctl.data.dataset import DatasetDir, DatasetError, clip_id
from wanctl.data.schemas import CLIPS, evidence_schema
from wanctl.lock import LockedError
from wanctl.video.sources import SourceFile

ROWS = [
    {"id": "b", "source": "/x.mp4", "content_hash": "h", "start_pts": 0, "end_pts": 5},
    {"id": "a", "source": "/x.mp4", "content_hash": "h", "start_pts": 5, "end_pts": 9, "vfr": True},
]


@pytest.fixture
def dataset(tmp_path):
    return DatasetDir.create_or_open(tmp_path / "set", recipe="seed: 0\n")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_parts_come_back_in_order_and_in_the_tables_schema(dataset):
    dataset.write_part("clips", "part-00001", ROWS[1:])
    dataset.write_part("clips", "part-00000", ROWS[:1])
    table = dataset.read("clips")
    assert table.schema.equals(CLIPS)
    assert table["id"].to_pylist() == ["b", "a"]
    assert dataset.read("clips", ["end_pts"]).to_pylist() == [{"end_pts": 5}, {"end_pts": 9}]
    assert dataset.has_part("clips", "part-00001")
    assert not dataset.has_part("clips", "part-00002")


def test_equal_rows_give_equal_bytes(dataset):
    file = dataset.path / "clips" / "part-00000.parquet"
    dataset.write_part("clips", "part-00000", ROWS)
    first = digest(file)
    dataset.write_part("clips", "part-00000", pa.Table.from_pylist(ROWS, schema=CLIPS))
    assert digest(file) == first


def test_other_tools_read_the_tables(dataset):
    dataset.write_part("clips", "part-00000", ROWS)
    frame = pd.read_parquet(dataset.path / "clips")
    assert frame["end_pts"].tolist() == [5, 9]


def test_evidence_keeps_nested_lists_even_when_they_are_empty(dataset):
    schema = evidence_schema({"boxes": "polygons", "share": "floats"})
    row = {"id": "a", "boxes": [[[0.0, 1.0, 2.0]], []], "share": []}
    dataset.write_part("evidence/ocr@1234", "part-00000", [row], schema=schema)
    dataset.write_part("evidence/ocr@1234", "part-00001", [], schema=schema)
    assert dataset.read("evidence/ocr@1234").to_pylist() == [row]
    assert dataset.tables("evidence") == ["evidence/ocr@1234"]


def test_a_selection_is_one_file_that_is_replaced(dataset):
    for kept in (True, False):
        row = {"id": "a", "kept": kept, "scores": [{"filter": "blur", "score": 0.5}]}
        dataset.write_part("selections/default", "", [row])
    (row,) = dataset.read("selections/default").to_pylist()
    assert (row["kept"], row["scores"][0]["score"]) == (False, 0.5)
    assert dataset.tables("selections") == ["selections/default"]


def test_a_table_that_is_not_there_yet_is_empty(dataset):
    assert dataset.read("clips", ["id"]).num_rows == 0
    assert dataset.parts("quarantine") == []


def sources(files):
    stats = [file.stat() for file in files]
    return [
        SourceFile(str(file), stat.st_size, stat.st_mtime_ns)
        for file, stat in zip(files, stats, strict=True)
    ]


def test_sources_keep_their_parts_when_more_come(dataset, tmp_path):
    files = [tmp_path / f"{name}.mp4" for name in "abcde"]
    for file in files:
        file.write_bytes(b"x")
    names = [str(file) for file in files]
    first = dataset.assign_sources(sources(files[:3]), 2)
    assert first == [("part-00000", names[:2]), ("part-00001", names[2:3])]
    again = DatasetDir.open(dataset.path)
    assert again.assign_sources(sources(files), 2) == [*first, ("part-00002", names[3:])]
    assert again.assign_sources(sources(files[:1]), 2) == first[:1]


def test_a_source_that_changed_loses_its_own_clips(dataset, tmp_path):
    files = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for file in files:
        file.write_bytes(b"x")
    dataset.assign_sources(sources(files), 2)
    rows = [{"id": file.stem, "source": str(file), "content_hash": file.stem} for file in files]
    dataset.write_part("clips", "part-00000", rows)
    failed = [{"source": str(file), "kind": "short shots"} for file in files]
    dataset.write_part("quarantine", "part-00000", failed)
    files[0].write_bytes(b"longer")
    dataset.assign_sources(sources(files), 2)
    assert dataset.changed == [str(files[0])]
    dataset.assign_sources(sources(files), 2)
    assert dataset.changed == []
    assert dataset.read("clips")["id"].to_pylist() == ["b"]
    assert dataset.read("quarantine")["source"].to_pylist() == [str(files[1])]


def test_a_file_of_other_content_and_the_same_size_and_time_is_noticed(dataset, tmp_path):
    files = [tmp_path / f"{name}.mp4" for name in "abc"]
    for file in files:
        file.write_bytes(bytes(300_000))
    known = sources(files)
    dataset.assign_sources(known, 2)
    stat = files[0].stat()
    files[0].write_bytes(bytes(299_999) + b"x")
    os.utime(files[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    files[1].chmod(0o600)  # another ctime, the same content
    assert sources(files) == known
    dataset.assign_sources(sources(files), 2)
    assert dataset.changed == [str(files[0])]
    # an older version recorded no sample
    record = json.loads((dataset.path / "dataset.json").read_text())
    for source in record["sources"]:
        del source["sample"], source["ctime_ns"]
    (dataset.path / "dataset.json").write_text(json.dumps(record))
    dataset.assign_sources(sources(files), 2)
    assert dataset.changed == []


def test_clips_of_a_file_that_is_gone_do_not_count_until_it_is_back(dataset, tmp_path):
    files = [tmp_path / f"{name}.mp4" for name in "abc"]
    for file in files:
        file.write_bytes(b"x")
    known = sources(files)
    dataset.assign_sources(known, 2)
    # b is a copy of a
    rows = [
        {"id": each, "source": str(file), "content_hash": each}
        for each, file in zip("aac", files, strict=True)
    ]
    dataset.write_part("clips", "part-00000", rows[:1])
    dataset.write_part("clips", "part-00001", rows[1:])
    assert dataset.clips(["source"])["source"].to_pylist() == [str(files[0]), str(files[2])]
    dataset.assign_sources(known[1:], 2, removed=[str(files[0])])
    again = DatasetDir.open(dataset.path)
    assert again.removed == {str(files[0])}
    assert again.clips(["source"])["source"].to_pylist() == [str(files[1]), str(files[2])]
    dataset.assign_sources(known, 2)
    assert dataset.removed == set()
    assert dataset.clips(["source"])["source"].to_pylist() == [str(files[0]), str(files[2])]


def test_folders_that_are_no_data_set_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="`wanctl curate FOLDER` makes one"):
        DatasetDir.open(tmp_path)
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(DatasetError, match="not empty and holds no dataset"):
        DatasetDir.create_or_open(tmp_path)
    (tmp_path / "dataset.json").write_text('{"format": 9}')
    with pytest.raises(DatasetError, match="format 9, but this wanctl reads format"):
        DatasetDir.open(tmp_path)


def test_a_damaged_part_names_the_file_to_delete(dataset):
    dataset.write_part("clips", "part-00000", ROWS)
    file = dataset.path / "clips" / "part-00000.parquet"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DatasetError, match=r"part-00000.parquet: not readable .* delete it"):
        dataset.read("clips")


def test_one_writer_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path):
    script = (
        "import sys, time; from pathlib import Path\n"
        "from wanctl.data.dataset import DatasetDir\n"
        "held = DatasetDir.create_or_open(Path(sys.argv[1])); print('held', flush=True)\n"
        "time.sleep(100)\n"
    )
    folder = tmp_path / "set"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(LockedError, match=f"in use by another wanctl .process {holder.pid}."):
        DatasetDir.create_or_open(folder)
    DatasetDir.open(folder)  # reading is free
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    DatasetDir.create_or_open(folder)


def test_a_run_killed_while_writing_ends_with_the_same_files(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from wanctl.data.dataset import DatasetDir\n"
        "data = DatasetDir.create_or_open(Path(sys.argv[1]), recipe='seed: 0')\n"
        "for part in range(int(sys.argv[2])):\n"
        "    name = f'part-{part:05d}'\n"
        "    rows = [{'id': f'{part}-{i}', 'source': 'x' * 50} for i in range(500)]\n"
        "    if not data.has_part('clips', name):\n"
        "        data.write_part('clips', name, rows)\n"
    )

    def start(folder, parts):
        return subprocess.Popen([sys.executable, "-c", script, str(folder), str(parts)])

    killed, uninterrupted = tmp_path / "killed", tmp_path / "uninterrupted"
    run = start(killed, 10)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and len(list((killed / "clips").glob("part-*"))) < 3:
        time.sleep(0.002)
    run.kill()
    run.wait()
    (killed / "clips" / ".part-00099.parquet.tmp-999999-0badcafe.parquet").write_bytes(b"half")
    assert start(killed, 10).wait() == 0
    assert start(uninterrupted, 10).wait() == 0
    files = sorted(path.relative_to(uninterrupted) for path in uninterrupted.rglob("*.parquet"))
    assert files == sorted(path.relative_to(killed) for path in killed.rglob("*.parquet"))
    assert all(digest(uninterrupted / file) == digest(killed / file) for file in files)
    assert digest(uninterrupted / "dataset.json") == digest(killed / "dataset.json")
    assert not list(killed.rglob(".*tmp*"))


def test_a_full_disk_leaves_the_old_file_and_no_rest(dataset, monkeypatch):
    dataset.write_part("clips", "part-00000", ROWS)
    before = digest(dataset.path / "clips" / "part-00000.parquet")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("wanctl.data.parts.rowgroups.pq.ParquetWriter.write_table", full)
    with pytest.raises(WriteError, match="the disk is full; free some space"):
        dataset.write_part("clips", "part-00000", ROWS[:1])
    assert digest(dataset.path / "clips" / "part-00000.parquet") == before
    assert not list(dataset.path.rglob(".*tmp*"))


def test_a_block_that_fails_writes_nothing(tmp_path):
    target = tmp_path / "file.txt"

    def write():
        with replacing(target) as temp:
            temp.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_clip_ids_depend_on_content_and_span():
    assert clip_id("ab", 0, 5) == clip_id("ab", 0, 5)
    assert len({clip_id("ab", 0, 5), clip_id("ab", 0, 6), clip_id("ac", 0, 5)}) == 3
    assert len(clip_id("ab", 0, 5)) == 16


def test_copies_in_other_parts_count_once(dataset):
    dataset.write_part("clips", "part-00000", ROWS)
    dataset.write_part("clips", "part-00001", [{"id": "c"}, {**ROWS[0], "source": "/copy.mp4"}])
    dataset.write_part("clips", "part-00002", ROWS)
    assert dataset.clips(["id", "source"]).to_pylist() == [
        {"id": "b", "source": "/x.mp4"}, {"id": "a", "source": "/x.mp4"},
        {"id": "c", "source": None},
    ]  # fmt: skip
    assert [(p, t["id"].to_pylist()) for p, t in dataset.clips_by_part(["id"])] == [
        ("part-00000", ["b", "a"]), ("part-00001", ["c"]), ("part-00002", []),
    ]  # fmt: skip
    assert dataset.copies() == 3
    assert dataset.clips().schema.equals(CLIPS)


def test_a_set_without_clips_has_none(dataset):
    assert dataset.clips(["id"]).num_rows == 0
    assert dataset.copies() == 0


HOLDER = (
    "import sys; from pathlib import Path\n"
    "from wanctl.data.dataset import DatasetDir\n"
    "share = (int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 2 else None\n"
    "held = DatasetDir.create_or_open(Path(sys.argv[1]), share=share); print('held', flush=True)\n"
    "sys.stdin.read()\n"
)


@pytest.fixture
def hold(tmp_path):
    """hold(*share) -> a process that works on the folder, or on a shard of the work."""
    started = []

    def start(*share):
        command = [sys.executable, "-c", HOLDER, str(tmp_path / "set"), *map(str, share)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_shards_are_locked_at_once_and_the_folder_by_one_process(hold, tmp_path):
    folder = tmp_path / "set"
    first = hold(0, 2)
    other = DatasetDir.create_or_open(folder, share=(1, 2))
    with pytest.raises(LockedError, match=f"shard 0/2 is being worked on .process {first.pid}."):
        DatasetDir.create_or_open(folder, share=(0, 2))
    with pytest.raises(LockedError, match="--shard 0/3 while shard 0/2 is running"):
        DatasetDir.create_or_open(folder, share=(0, 3))
    with pytest.raises(LockedError, match=r"in use by other wanctls \(shards 0/2, 1/2\)"):
        DatasetDir.create_or_open(folder)
    first.kill()
    first.wait()
    del other
    alone = DatasetDir.create_or_open(folder)
    assert alone.path == folder


def test_shards_wait_for_a_process_that_works_on_all(hold, tmp_path):
    hold()
    with pytest.raises(LockedError, match="works on all of it"):
        DatasetDir.create_or_open(tmp_path / "set", share=(0, 2))


def test_processes_that_list_the_same_files_give_them_the_same_parts(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from wanctl.data.dataset import DatasetDir\n"
        "from wanctl.video.sources import SourceFile\n"
        "data = DatasetDir.create_or_open(Path(sys.argv[1]), share=(int(sys.argv[2]), 4))\n"
        "files = [SourceFile(f'/f/{i}.mp4', i, 0) for i in range(2000)]\n"
        "data.assign_sources(files, 16)\n"
    )
    folder = tmp_path / "set"
    runs = [subprocess.Popen([sys.executable, "-c", script, str(folder), str(i)]) for i in range(4)]
    assert [run.wait() for run in runs] == [0] * 4
    parts = DatasetDir.open(folder).source_parts()
    assert len(parts) == 125
    assert [uri for _, uris in parts for uri in uris] == [f"/f/{i}.mp4" for i in range(2000)]
