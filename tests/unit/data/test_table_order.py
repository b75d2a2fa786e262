import shutil

from wanctl.data.captions import read_captions
from wanctl.data.dataset import DatasetDir
from wanctl.data.table_order import latest_table, record_tables, tables_newest_first


def write(dataset, table, rows):
    dataset.write_part(table, "part-00000", [{"id": i, "text": t} for i, t in rows])


def texts(dataset, *backends):
    captions = read_captions(dataset, backends)
    return {clip: [each.text for each in several] for clip, several in captions.items()}


def test_a_copied_data_set_has_the_captions_of_the_original(tmp_path):
    dataset = DatasetDir.create_or_open(tmp_path / "set")
    for table, text in (("sidecar@b", "first"), ("sidecar@a", "second")):
        record_tables(dataset, [f"captions/{table}"])
        write(dataset, f"captions/{table}", [("clip", text)])
    assert texts(dataset) == {"clip": ["second"]}
    # a copy that writes the newest table first: its files are the oldest
    copy = tmp_path / "copy"
    shutil.copytree(dataset.path, copy, ignore=shutil.ignore_patterns("captions", ".lock*"))
    for table in ("captions/sidecar@a", "captions/sidecar@b"):
        shutil.copytree(dataset.path / table, copy / table, copy_function=shutil.copy)
    assert texts(DatasetDir.open(copy)) == {"clip": ["second"]}


def test_settings_that_were_put_back_make_their_table_the_latest_again(tmp_path):
    dataset = DatasetDir.create_or_open(tmp_path / "set")
    for table in ("evidence/blur@1", "evidence/blur@2", "evidence/ocr@1"):
        dataset.write_part(table, "part-00000", [{"id": "clip"}])
    record_tables(dataset, ["evidence/blur@1", "evidence/ocr@1"])
    record_tables(dataset, ["evidence/blur@2", "evidence/ocr@1"])
    assert latest_table(dataset, "evidence", "blur") == "evidence/blur@2"
    record_tables(dataset, ["evidence/blur@1"])
    assert tables_newest_first(dataset, "evidence", "blur") == [
        "evidence/blur@1",
        "evidence/blur@2",
    ]
    assert latest_table(dataset, "evidence", "blur", part="part-00001") is None
    assert latest_table(dataset, "evidence", "motion") is None
    # a command that is run again changes nothing, so dataset.json keeps its bytes
    before = (dataset.path / "dataset.json").read_bytes()
    record_tables(dataset, ["evidence/ocr@1", "evidence/blur@1"])
    assert (dataset.path / "dataset.json").read_bytes() == before


def test_tables_of_data_sets_without_a_record_come_last_and_in_a_fixed_order(tmp_path):
    dataset = DatasetDir.create_or_open(tmp_path / "set")
    for table, count in (("b", 2), ("a", 2), ("c", 3), ("d", 1)):
        write(dataset, f"captions/sidecar@{table}", [(f"clip{i}", table) for i in range(count)])
    order = [f"captions/sidecar@{each}" for each in "cabd"]
    assert tables_newest_first(dataset, "captions") == order
    record_tables(dataset, [order[-1]])
    assert tables_newest_first(dataset, "captions") == [order[-1], *order[:-1]]


def test_the_record_survives_new_sources_and_another_recipe(tmp_path):
    path = tmp_path / "set"
    dataset = DatasetDir.create_or_open(path, recipe="a: 1")
    record_tables(dataset, ["captions/sidecar@1"])
    del dataset
    again = DatasetDir.create_or_open(path, recipe="a: 2")
    again.assign_sources([], 4)
    write(again, "captions/sidecar@1", [("clip", "old")])
    write(again, "captions/sidecar@0", [("clip", "x"), ("clip2", "x")])
    assert latest_table(again, "captions", "sidecar") == "captions/sidecar@1"
