"""`wanctl data check` on files that are decoded: what it prints, and how it exits."""

import json
import os
import tarfile

import pytest
from PIL import Image

from tests.unit.exchange.malformed import POINTER, write_tar
from wanctl.cli.main import main
from wanctl.exchange.media import probe_media
from wanctl.video.stream import VideoError


@pytest.fixture
def check(tmp_path, capsys):
    """check(path) -> exit code, rows of standard output by name, standard error on one line."""
    (tmp_path / "r.yaml").write_text(
        "curate: {filters: {}, decode: {workers: 1}}\n"
        "train_dit: {clip_fps: 16, buckets: [{frames: 13, height: 64, width: 96}]}\n"
    )

    def run(path, *options):
        code = 0
        try:
            main(["data", "check", str(path), "--recipe", str(tmp_path / "r.yaml"), *options])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        rows = {line.partition("\t")[0]: line.split("\t") for line in out.split("\n") if line}
        return code, rows, " ".join(err.split())

    return run


def test_images_have_the_size_that_is_shown(tmp_path):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.JPG"
        Image.new("RGB", (200, 100)).save(path, "JPEG", exif=exif)
        shown = (100, 200) if orientation > 4 else (200, 100)
        media = probe_media(path)
        assert (media.width, media.height) == shown
    data = (tmp_path / "6.JPG").read_bytes()
    tar = write_tar(tmp_path / "s.tar", {"a.jpg": data})
    with tarfile.open(tar) as file:
        member = file.getmember("a.jpg")
    media = probe_media(tar, "a.jpg", (member.offset_data, member.size))
    assert (media.width, media.height) == (100, 200)


def test_members_of_shards_are_decoded_where_they_lie(tmp_path, footage, check):
    video = footage.read_bytes()
    members = {"0.mp4": video, "0.txt": b"A cat", "x/0.mp4": video[:3000], "x/0.txt": b"A dog",
               "T 2.0.mp4": video, "T 2.0.txt": b"A tree", "/abs.mp4": video}  # fmt: skip
    write_tar(tmp_path / "s.tar", members)
    code, rows, _ = check(tmp_path / "s.tar")
    assert code == 0
    states = {name: row[1] for name, row in rows.items()}
    assert states == {
        "s.tar/0.mp4": "in", "s.tar/x/0.mp4": "unreadable", "s.tar/T 2.0.mp4": "in",
        "s.tar//abs.mp4": "no caption",
    }  # fmt: skip
    assert "webdataset takes 'T 2' as its key" in rows["s.tar/T 2.0.mp4"][-1]


def test_names_that_no_terminal_shows_are_escaped(tmp_path, footage, check):
    folder = tmp_path / "f"
    folder.mkdir()
    for name in (b"a\nb.mp4", b"caf\xe9.mp4", "\u202egnp.mp4".encode(), b"t\tb.mp4"):
        path = os.fsencode(folder) + b"/" + name
        os.link(footage, path)
        with open(path[:-4] + b".txt", "w") as file:  # noqa: PTH123  a name in bytes
            file.write("A cat")
    code, rows, _ = check(folder, "--csv", str(tmp_path / "rows.csv"))
    assert code == 0
    assert sorted(rows) == ["\\u202egnp.mp4", "a\\nb.mp4", "caf\\udce9.mp4", "t\\tb.mp4"]
    assert {row[1] for row in rows.values()} == {"in"}
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8").count("\n") == 5


def test_files_that_are_none_cost_their_rows(tmp_path, footage, check):
    os.link(footage, tmp_path / "a.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    names = ["a.mp4", "empty.mp4", "folder.mp4", "loop.mp4", "pipe.mp4", "x" * 300 + ".mp4",
             "../gone.mp4", "\ud83d.mp4", "a.mp4/b.mp4"]  # fmt: skip
    rows = [{"video": name, "caption": f"Words {name}"} for name in names]
    (tmp_path / "metadata.json").write_text(json.dumps(rows))
    code, found, _ = check(tmp_path / "metadata.json")
    assert code == 0
    assert {name: row[1] for name, row in found.items()} == {
        "a.mp4": "in", **{name.replace("\ud83d", "\\ud83d"): "unreadable" for name in names[1:]},
    }  # fmt: skip
    assert all(row[2] for row in found.values() if row[1] == "unreadable"), "each says why"


def test_git_lfs_pointers_are_named_and_are_no_captions(tmp_path, footage, check):
    os.link(footage, tmp_path / "a.mp4")
    for name in ("a.txt", "b.mp4", "c.png"):
        (tmp_path / name).write_bytes(POINTER)
    code, found, _ = check(tmp_path)
    assert code == 0
    assert found["a.mp4"][1] == "no caption"
    pointed = "is a git-LFS pointer for 307 MB"
    assert f"a.txt: {pointed}" in " ".join(found["a.mp4"])
    for name in ("b.mp4", "c.png"):
        assert found[name][1] == "unreadable"
        assert pointed in found[name][2]


def test_nothing_outside_is_opened_and_a_list_of_files_is_refused(tmp_path, footage, check):
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(footage.read_bytes())
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "a.mp4").write_text(f"ffconcat version 1.0\nfile {secret}\n")
    (folder / "b.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
    write_tar(folder / "s.tar", {"c.mp4": (folder / "a.mp4").read_bytes()})
    for path in (folder / "s.tar", folder / "metadata.json"):
        (folder / "metadata.json").write_text('[{"path": "a.mp4"}, {"path": "b.mp4"}]')
        code, rows, err = check(path)
        assert code == 2
        assert {row[1] for row in rows.values()} == {"unreadable"}
        assert "nothing to train on" in err


def test_figures_of_an_index_are_compared_or_named(tmp_path, footage, check):
    os.link(footage, tmp_path / "a.mp4")
    figures = ["1e-9", "inf", "nan", "-25", "1" + "0" * 400, "25/1", "0", "25", "", "1e308"]
    rows = "".join(f"a.mp4,Words {n},{each}\n" for n, each in enumerate(figures))
    (tmp_path / "metadata.csv").write_text("video,prompt,fps\n" + rows)
    code, _, _ = check(tmp_path, "--csv", str(tmp_path / "rows.csv"))
    assert code == 0
    lines = (tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(lines) == len(figures)
    for line, figure in zip(lines, figures, strict=True):
        named = "fps: got" in line or "fps stated" in line
        assert named == (figure not in ("25", "")), line


def test_a_text_in_another_encoding_is_named_in_its_row(tmp_path, footage, check):
    for name, data in (("a", "A man’s café".encode("cp1252")), ("b", "A cat".encode("utf-16"))):
        os.link(footage, tmp_path / f"{name}.mp4")
        (tmp_path / f"{name}.txt").write_bytes(data)
    code, rows, err = check(tmp_path)
    assert code == 0
    assert (rows["a.mp4"][1], rows["b.mp4"][1]) == ("no caption", "in")
    assert "a.txt: not UTF-8" in rows["a.mp4"][-1]
    assert "1 .yaml" in err, "what is passed over is counted"


def test_a_tar_cannot_name_a_part_of_another_file(tmp_path):
    path = write_tar(tmp_path / "s.tar", {"a.mp4": b"x" * 100})
    with pytest.raises(VideoError):
        probe_media(path, "a.mp4", (10**15, 100))
