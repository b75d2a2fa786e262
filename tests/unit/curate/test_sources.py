"""What a listing of footage leaves in a data set."""

from wanctl.curate.sources import assign_parts
from wanctl.data.dataset import DatasetDir
from wanctl.video.footage import list_footage


def test_files_that_are_no_footage_are_counted_by_their_endings(tmp_path, video, caplog):
    footage = tmp_path / "footage"
    footage.mkdir()
    (footage / "film").write_bytes(video.read_bytes())
    for name in ("a.txt", "b.TXT", "c.jpg", "readme"):
        (footage / name).write_text("words\n")
    dataset = DatasetDir.create_or_open(tmp_path / "set", recipe="seed: 0\n")
    with caplog.at_level("INFO", logger="wanctl"):
        ((_, sources),) = assign_parts(dataset, footage, list_footage(footage), 8)
    assert sources == [str(footage / "film")]
    expected = [("", 1), (".jpg", 1), (".txt", 2)]
    rows = dataset.read("passed_over").to_pylist()
    assert [(row["ending"], row["files"]) for row in rows] == expected
    assert "4 files are no footage: 2 .txt, 1 without an ending, 1 .jpg" in caplog.text
    for name in ("a.txt", "b.TXT", "c.jpg", "readme"):
        (footage / name).unlink()
    assign_parts(dataset, footage, list_footage(footage), 8)
    assert dataset.read("passed_over").num_rows == 0


def test_clips_of_an_earlier_scan_are_told(tmp_path, video, caplog):
    footage = tmp_path / "footage"
    footage.mkdir()
    (footage / "a.mp4").write_bytes(video.read_bytes())
    dataset = DatasetDir.create_or_open(tmp_path / "set", recipe="seed: 0\n")
    dataset.write_part("clips", "part-00000", [{"id": "a", "source": "x", "moving_share": 0.5}])
    assign_parts(dataset, footage, list_footage(footage), 8)
    assert "earlier version" not in caplog.text
    dataset.write_part("clips", "part-00001", [{"id": "b", "source": "y"}])
    assign_parts(dataset, footage, list_footage(footage), 8)
    assert "1 clips were scanned by an earlier version" in caplog.text
