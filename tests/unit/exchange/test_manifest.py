import json

import pytest

from wanctl.data.dataset import DatasetDir, DatasetError
from wanctl.exchange.manifest import ExportError, ExportManifest


@pytest.mark.parametrize(
    "text",
    ["", "[]", "5", "{", '{"files": 5}', '{"files": [], "left_out": 5}', '{"files": []}',
     '{"files": [5], "left_out": {}}', '{"files": ["../a"], "left_out": {}}', "[" * 100_000],
)  # fmt: skip
def test_a_foreign_export_json_is_one_line(tmp_path, text):
    (tmp_path / "export.json").write_text(text)
    with pytest.raises(ExportError, match="not the record of an export") as caught:
        ExportManifest(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_record_edited_on_another_system_is_read(tmp_path):
    record = json.dumps({"files": ["a.mp4"], "left_out": {"b": "why"}})
    (tmp_path / "export.json").write_bytes(record.encode("utf-16"))
    assert ExportManifest(tmp_path).left_out == {"b": "why"}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", '{"format": 2}', '{"format": 2, "sources": 5}', "[" * 100_000,
     '{"format": 2, "sources": [], "recipe": 5}', '{"format": 2, "sources": [{"uri": 5}]}'],
)  # fmt: skip
def test_a_damaged_dataset_json_is_one_line(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DatasetError, match=r"dataset\.json") as caught:
        DatasetDir.open(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_dataset_json_with_a_byte_order_mark_opens(tmp_path):
    DatasetDir.create_or_open(tmp_path / "set")
    path = tmp_path / "set" / "dataset.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert DatasetDir.open(tmp_path / "set").sources == []
