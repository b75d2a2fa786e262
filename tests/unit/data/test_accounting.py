import pytest

from wanctl.data.accounting import (
    align_evidence,
    forget_failures,
    merge_rows,
    unaccounted,
    unmeasured,
)
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import evidence_schema

LEVEL = evidence_schema({"level": "float"})
TABLE = "evidence/level@1"
PART = "part-00000"


@pytest.fixture
def dataset(tmp_path):
    """Two clips of /a, one of /b; /c failed; the filter failed on the last clip."""
    made = DatasetDir.create_or_open(tmp_path / "set", recipe="seed: 0\n")
    clips = [
        {"id": name, "source": source, "content_hash": source}
        for name, source in (("z", "/a"), ("m", "/a"), ("b", "/b"))
    ]
    made.write_part("clips", PART, clips)
    made.write_part("quarantine", PART, [row("/c", "crash"), row("/a", "short shots")])
    evidence = [{"id": name, "level": 1.0} for name in "zm"]
    made.write_part(TABLE, PART, evidence, schema=LEVEL)
    made.write_part("quarantine", f"{PART}-level@1", [row("/b", "timeout", "b")])
    return made


def row(source, kind, clip=""):
    return {"source": source, "kind": kind, "clip_id": clip, "stage": "x", "error": "e"}


def test_every_file_and_clip_has_a_result(dataset):
    assert unaccounted(dataset, PART, ["/a", "/b", "/c"]) == []
    assert unaccounted(dataset, PART, ["/a", "/d"]) == ["/d"]
    assert unmeasured(dataset, PART, TABLE) == set()


def test_what_is_deleted_is_noticed(dataset):
    dataset.remove_part("quarantine", PART)
    assert unaccounted(dataset, PART, ["/a", "/b", "/c"]) == ["/c"]
    dataset.remove_part("quarantine", f"{PART}-level@1")
    assert unmeasured(dataset, PART, TABLE) == {"b"}
    assert unmeasured(dataset, PART, TABLE, ["/b"]) == set()
    dataset.remove_part(TABLE, PART)
    assert unmeasured(dataset, PART, TABLE) == {"z", "m", "b"}
    dataset.remove_part("clips", PART)
    assert unaccounted(dataset, PART, ["/a", "/b"]) == ["/a", "/b"]


def test_failures_of_a_kind_are_forgotten(dataset):
    assert forget_failures(dataset, ["error"]) == 0
    assert forget_failures(dataset, ["crash", "timeout"], ["part-00001"]) == 0
    assert forget_failures(dataset, ["crash", "timeout"], [PART]) == 2
    assert unaccounted(dataset, PART, ["/a", "/b", "/c"]) == ["/c"]
    assert unmeasured(dataset, PART, TABLE) == {"b"}
    assert not dataset.has_part("quarantine", f"{PART}-level@1")
    assert dataset.read("clips")["id"].to_pylist() == ["z", "m", "b"]


def test_a_file_with_clips_is_scanned_again_for_a_note_of_the_kind(dataset):
    assert forget_failures(dataset, ["short shots"]) == 1
    assert dataset.read("clips")["id"].to_pylist() == ["b"]
    assert unaccounted(dataset, PART, ["/a", "/b", "/c"]) == ["/a"]
    # its evidence is still there, for the case that the same clips come again
    assert dataset.read(TABLE)["id"].to_pylist() == ["z", "m"]


def test_evidence_follows_the_order_of_new_clips(dataset):
    align_evidence(dataset, PART, ["n", "m", "z"])
    assert dataset.read(TABLE)["id"].to_pylist() == ["m", "z"]
    assert not dataset.has_part("quarantine", f"{PART}-level@1")  # its clip is gone
    align_evidence(dataset, PART, [])
    assert dataset.read(TABLE).num_rows == 0
    assert dataset.read(TABLE).schema.names == ["id", "level"]


def test_rows_of_two_runs_are_in_the_order_of_the_clips(dataset):
    import pyarrow as pa

    old = dataset.read(TABLE)
    rows = [{"id": "b", "level": 2.0}, {"id": "z", "level": 3.0}]
    merged = merge_rows(old, pa.Table.from_pylist(rows, schema=old.schema), ["z", "m", "b"])
    assert merged.to_pylist() == [
        {"id": "z", "level": 3.0},
        {"id": "m", "level": 1.0},
        {"id": "b", "level": 2.0},
    ]
