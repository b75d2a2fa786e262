import csv
import json
import tarfile

import pytest

from wanctl.cli.main import main
from wanctl.data.dataset import DatasetDir
from wanctl.exchange.readers import LayoutError, read_layout
from wanctl.exchange.run import UnusableError, check
from wanctl.video.encode import write_png


def rows_of(loaded, tmp_path, path=None):
    table = tmp_path / "rows.csv"
    try:
        check(loaded, tmp_path, path, table)
    except UnusableError as error:
        return str(error)
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return {row["name"]: row for row in rows}


def test_every_clip_of_a_data_set_has_a_state_and_a_reason(loaded, tmp_path, make_set):
    DatasetDir.open(tmp_path / "set")
    rows = rows_of(loaded(), tmp_path)
    assert {name: row["state"] for name, row in rows.items()} == {
        "a": "in", "b": "in", "c": "in", "d": "dropped",
    }  # fmt: skip
    assert rows["a"]["bucket"] == "13x64x96"
    assert (rows["a"]["frames"], rows["a"]["whole"], rows["a"]["used"]) == ("16", "13", "13")
    assert rows["a"]["notes"] == "25 fps retimed to 16; 3 frames past 4n+1"
    assert (rows["b"]["width"], rows["b"]["height"]) == ("112", "80")
    assert rows["d"]["why"] == "duration: lasts 0.20 s, at least 1 s wanted"
    assert rows["d"]["bucket"] == "1x64x96", "the bucket that would take it"


def test_clips_that_fit_no_bucket_are_counted_by_state(loaded, tmp_path):
    wide = '[{"frames": 81, "height": 64, "width": 96}]'
    message = rows_of(loaded(f"train_dit.buckets={wide}"), tmp_path)
    assert message.endswith("set: nothing to train on: 3 no bucket, 1 dropped")


@pytest.fixture
def folder(tmp_path, footage):
    """Three copies of one video, one of them without a caption; a truncated file; an image."""
    where = tmp_path / "theirs"
    where.mkdir()
    for name in ("a", "b", "bare"):
        (where / f"{name}.mp4").write_bytes(footage.read_bytes())
    (where / "cut.mp4").write_bytes(footage.read_bytes()[:3000])
    import numpy as np

    write_png(where / "p.png", np.zeros((64, 96, 3), np.uint8))
    for name in ("a", "b", "cut", "p"):
        (where / f"{name}.txt").write_text("words\n")
    return where


def test_a_folder_with_caption_files(loaded, tmp_path, folder):
    rows = rows_of(loaded(), tmp_path, folder)
    assert {name: row["state"] for name, row in rows.items()} == {
        "a.mp4": "in", "b.mp4": "in", "bare.mp4": "no caption", "cut.mp4": "unreadable",
        "p.png": "in",
    }  # fmt: skip
    assert rows["a.mp4"]["notes"] == (
        "25 fps, training at 16: trainers that do not retime see it at 0.64 of its speed; "
        "4 files share its caption; 3 frames past 4n+1"
    )
    assert rows["p.png"]["bucket"] == "1x64x96"


def test_index_files_of_other_trainers_are_read(tmp_path, folder):
    def names(path):
        data = read_layout(path)
        return data.layout, [(c.path.name, list(c.captions)) for c in data.clips], data.notes

    want = [("a.mp4", ["words"]), ("gone.mp4", [])]
    (tmp_path / "metadata.csv").write_text("video,prompt\ntheirs/a.mp4,words\ntheirs/gone.mp4,\n")
    assert names(tmp_path / "metadata.csv") == ("csv index", want, ())
    lines = [{"file_name": "theirs/a.mp4", "caption": "words"}, {"file_name": "theirs/gone.mp4"}]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert names(tmp_path / "metadata.jsonl") == ("jsonl index", want, ())
    (tmp_path / "videos2caption.json").write_text(
        json.dumps([{"path": "a.mp4", "cap": ["words"]}, {"path": "gone.mp4", "cap": []}])
    )
    assert names(tmp_path / "videos2caption.json") == ("fastvideo", want, ())
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "videos.txt").write_text("a.mp4\ngone.mp4\n")
    (tmp_path / "two" / "prompt.txt").write_text("words\n\n")
    assert names(tmp_path / "two") == ("finetrainers, two files", want, [])
    (tmp_path / "two" / "prompt.txt").write_text("words\n")
    with pytest.raises(LayoutError, match=r"videos.txt has 2 lines, prompt.txt 1; line N of one"):
        read_layout(tmp_path / "two")
    pipe = tmp_path / "pipe.toml"
    pipe.write_text(f"[[directory]]\npath = {str(folder)!r}\n")
    assert names(pipe)[0] == "diffusion-pipe"
    musubi = tmp_path / "musubi.toml"
    block = f"[[datasets]]\nvideo_directory = {str(folder)!r}\ncache_directory = 'c'\n"
    musubi.write_text(f"{block}target_frames = [1, 24]\n\n{block}")
    layout, clips, notes = names(musubi)
    assert (layout, len(clips)) == ("musubi-tuner", 5)
    assert notes == [
        "target_frames [24] are not 4n+1 and will be cut down",
        "cache_directory c serves two [[datasets]]; each needs its own",
    ]
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        tar.add(folder / "a.mp4", "x/0.mp4")
        tar.add(folder / "a.txt", "x/0.txt")
    (clip,) = read_layout(tmp_path / "s.tar").clips
    assert (clip.member, clip.captions) == ("x/0.mp4", ["words"])


def test_wrong_statements_about_a_file_are_noted(loaded, tmp_path, folder):
    index = folder / "metadata.csv"
    index.write_text("path,caption,num_frames,fps\na.mp4,one,81,25\na.mp4,two,75,25\n")
    rows = rows_of(loaded(), tmp_path, folder)
    assert "listed twice" in rows["a.mp4"]["notes"]
    index.write_text("path,caption,num_frames,fps\na.mp4,one,81,25\ngone.mp4,two,75,25\n")
    rows = rows_of(loaded(), tmp_path, folder)
    assert rows["a.mp4"]["notes"].startswith("num_frames stated 81, is 75; 25 fps, training at 16")
    assert (rows["gone.mp4"]["state"], rows["gone.mp4"]["why"]) == ("unreadable", "no such file")


def test_an_unreadable_layout_is_one_line_and_exit_code_2(tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(LayoutError, match="no layout that is known: wanted"):
        read_layout(tmp_path / "nothing")
    (tmp_path / "bad.csv").write_text("film,words\na.mp4,b\n")
    with pytest.raises(LayoutError, match="row 1: none of the columns video, video_path"):
        read_layout(tmp_path / "bad.csv")
    with pytest.raises(SystemExit) as stop:
        main(["data", "check", str(tmp_path / "nothing"), "--recipe", "tiny"])
    assert stop.value.code == 2
    assert "no layout that is known" in capsys.readouterr().err.replace("\n", " ")
