import json

from wanctl import credentials
from wanctl.data.dataset import DatasetDir
from wanctl.data.parts.rowgroups import write_rows
from wanctl.data.schemas import CLIPS, QUARANTINE, SELECTION
from wanctl.video.sources import SourceFile

SECRET = "c0rrect-h0rse"
OLD = f"https://ann:{SECRET}@host/a.mp4"
SIGNED = f"https://bucket.example/b.mp4?X-Amz-Date=1&X-Amz-Signature={SECRET}"


def old_data_set(folder):
    """A data set as versions wrote it that stored URLs as they were given."""
    import pyarrow as pa

    sources = [
        {"uri": uri, "size": 5, "mtime_ns": 0, "part": "part-00000"} for uri in (OLD, SIGNED)
    ]
    recipe = f"sample:\n  image: {OLD}\ncurate:\n  filters:\n    mine:\n      api_key: {SECRET}\n"
    record = {"format": 2, "sources": sources, "recipe": recipe, "tables": ["evidence/a@1"]}
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps(record))
    clips = [
        {"id": name * 16, "source": uri, "content_hash": name, "start_pts": 0, "end_pts": 9}
        for name, uri in (("a", OLD), ("b", SIGNED))
    ]
    failed = [{"source": OLD, "kind": "error", "error": f"{OLD}: no", "stage": "scan"}]
    for table, schema, rows in (("clips", CLIPS, clips), ("quarantine", QUARANTINE, failed)):
        path = folder / table / "part-00000.parquet"
        path.parent.mkdir()
        write_rows(path, schema, [pa.Table.from_pylist(rows, schema=schema)])
    kept = pa.Table.from_pylist([{"id": "a" * 16, "kept": True}], schema=SELECTION)
    (folder / "selections").mkdir()
    write_rows(folder / "selections" / "default.parquet", SELECTION, [kept])
    (folder / "report.html").write_text(f"<a href='{OLD}'>x</a> {SIGNED.replace('&', '&amp;')}")
    (folder / "recipe.yaml").write_text(recipe)
    (folder.parent / "log.jsonl").write_text(json.dumps({"footage": OLD}) + "\n")
    return folder


def holds(folder, text):
    """Files below a folder that hold a text."""
    return [path for path in folder.rglob("*") if path.is_file() and text in _content(path)]


def _content(path):
    if path.suffix != ".parquet":
        return path.read_text()
    import pyarrow.parquet as pq

    return str(pq.read_table(path).to_pylist())


def test_an_old_data_set_is_cleaned_when_it_is_opened_for_writing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(credentials, "_table", {})
    folder = old_data_set(tmp_path / "run" / "dataset")
    assert len(holds(tmp_path, SECRET)) == 6
    dataset = DatasetDir.create_or_open(folder)
    assert holds(tmp_path, SECRET) == []
    assert [source["uri"] for source in dataset.sources] == [
        "https://host/a.mp4",
        "https://bucket.example/b.mp4",
    ]
    assert dataset.clips(["source"])["source"].to_pylist()[0] == "https://host/a.mp4"
    assert dataset.read("quarantine")["error"].to_pylist() == ["https://host/a.mp4: no"]
    assert json.loads((folder / "dataset.json").read_text())["tables"] == ["evidence/a@1"]
    # the run that cleans it can still open its footage, and knows it again
    assert credentials.with_credentials("https://host/a.mp4") == OLD
    listed = [SourceFile(OLD, 5, 0), SourceFile(SIGNED.replace("Date=1", "Date=2"), 5, 0)]
    parts = dataset.assign_sources(listed, 1)
    assert parts == [("part-00000", ["https://host/a.mp4", "https://bucket.example/b.mp4"])]
    assert holds(tmp_path, SECRET) == []


def test_a_data_set_is_cleaned_once(tmp_path, monkeypatch):
    folder = old_data_set(tmp_path / "dataset")
    DatasetDir.create_or_open(folder)
    files = [path for path in folder.rglob("*.*") if ".lock" not in path.name]
    before = {path: path.stat().st_mtime_ns for path in files}
    monkeypatch.setattr("wanctl.data.parts.cleaning.clean_files", None)
    DatasetDir.create_or_open(folder)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_an_old_data_set_that_is_only_read_shows_no_credentials(tmp_path):
    folder = old_data_set(tmp_path / "dataset")
    dataset = DatasetDir.open(folder)
    assert SECRET not in str(dataset.sources)
    assert SECRET not in dataset.recipe
    assert SECRET not in str(dataset.clips().to_pylist())
    assert SECRET not in str(dataset.read("quarantine").to_pylist())
    coded = dataset.read("clips", ["source"], coded=["source"])
    assert SECRET not in str(coded.to_pylist())


def test_nothing_is_stored_with_credentials(tmp_path):
    dataset = DatasetDir.create_or_open(tmp_path / "set", recipe="seed: 0\n")
    dataset.assign_sources([SourceFile(OLD, 5, 0)], 1)
    dataset.write_part("clips", "part-00000", [{"id": "a", "source": OLD}])
    row = {"source": SIGNED, "error": f"token={SECRET}: {OLD} password={SECRET}"}
    dataset.write_part("quarantine", "part-00000", [row])
    assert holds(tmp_path, f"ann:{SECRET}") == []
    assert holds(tmp_path, f"Signature={SECRET}") == []
    assert holds(tmp_path, f"password={SECRET}") == []
