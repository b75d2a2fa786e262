"""Tables that an earlier version wrote are read beside those of this one."""

import pyarrow as pa
import pyarrow.parquet as pq

from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import CLIPS
from wanctl.video.frames import FrameRange, range_of

NEW = ("mirrored", "damaged_share", "unplaced_share", "clock", "first_frame")


def row(name, **more):
    values = {field.name: None for field in CLIPS}
    return {**values, "id": name, "source": name, "content_hash": name, "num_frames": 9, **more}


def test_parts_without_the_new_columns_have_nulls(tmp_path):
    dataset = DatasetDir.create_or_open(tmp_path / "set")
    dataset.write_part("clips", "part-00001", [row("b", clock="dts", first_frame=4)])
    old = pa.schema([field for field in CLIPS if field.name not in NEW])
    table = pa.Table.from_pylist([row("a")], schema=old)
    pq.write_table(table, dataset.path / "clips/part-00000.parquet")
    first, second = dataset.clips().to_pylist()
    assert (first["id"], second["id"]) == ("a", "b")
    assert {first[name] for name in NEW} == {None}
    assert range_of(first) is None
    assert range_of(second) == FrameRange("dts", 4, 9)
    assert dataset.clips(["id", "clock"]).to_pylist() == [
        {"id": "a", "clock": None},
        {"id": "b", "clock": "dts"},
    ]
