import numpy as np
import pytest
from PIL import Image

from wanctl.data import export as export_module
from wanctl.data.clips import ClipReader
from wanctl.data.dataset import DatasetDir, DatasetError
from wanctl.data.export import ExportFormat, export_clips
from wanctl.recipe.datasets import ExportSection
from wanctl.video.encode import read_metadata, write_png, write_video
from wanctl.video.frames import Box, FrameSpec
from wanctl.video.probe import read_clip, read_window, scan
from wanctl.video.stream import VideoError
from wanctl.video.workers.worker_pool import DecodePool

METADATA = {"recipe": "seed: 3\nname: 'Übung'\n", "prompt": "a cat"}
COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 100, 50]], np.uint8
)


@pytest.fixture
def export_format():
    """Format of exported files with the recipe's quality, the clip's own size, and some changes."""

    def build(**changes):
        usual = {
            "height": None,
            "width": None,
            "crf": ExportSection().crf,
            "trim_to_latents": False,
        }
        return ExportFormat(**{**usual, **changes})

    return build


@pytest.fixture(scope="module")
def pool():
    with DecodePool(1, 60, 2**31) as made:
        yield made


@pytest.fixture
def dataset(tmp_path, video):
    """Two clips of the plain video: frames 0-12 cropped, frames 13-24 uncropped."""
    made = DatasetDir.create_or_open(tmp_path / "set")
    clip = {"source": str(video), "time_base_num": 1, "time_base_den": 12800}
    clip |= {"width": 96, "height": 64}
    spans = {"one": (0, 13 * 512), "two": (13 * 512, 25 * 512), "not": (0, 512)}
    rows = [{**clip, "id": i, "start_pts": a, "end_pts": b} for i, (a, b) in spans.items()]
    made.write_part("clips", "part-00000", rows)
    crop = {"crop_x": 0, "crop_y": 0, "crop_w": 51, "crop_h": 33}
    chosen = [{"id": "one", "kept": True, **crop}, {"id": "two", "kept": True}]
    made.write_part("selections/default", "", [*chosen, {"id": "not", "kept": False}])
    return made


def test_colours_and_metadata_survive_a_video(tmp_path):
    path = tmp_path / "out.mp4"
    picture = np.tile(COLOURS.repeat(32, 0)[None], (64, 1, 1))
    write_video(path, iter([picture] * 5), 12.5, crf=8, metadata=METADATA)
    result = scan(path)
    assert (result.info.num_frames, result.info.fps) == (5, 12.5)
    (batch,) = read_clip(path, 0, int(result.pts[4]), [FrameSpec(count=1)], 192, 64)
    seen = batch.frames[0][32, 16::32].astype(int)
    assert np.abs(seen - COLOURS).max() <= 3
    assert {key: read_metadata(path)[key] for key in METADATA} == METADATA
    boxes = path.read_bytes()
    assert boxes.index(b"moov") < boxes.index(b"mdat")


def test_odd_sides_are_raised_to_even(tmp_path):
    write_video(tmp_path / "odd.mp4", np.full((3, 33, 47, 3), 90, np.uint8), 25)
    info = scan(tmp_path / "odd.mp4").info
    assert (info.width, info.height) == (48, 34)


def test_frames_that_fail_leave_no_file(tmp_path):
    def frames():
        yield np.zeros((32, 32, 3), np.uint8)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_video(tmp_path / "out.mp4", frames(), 25)
    with pytest.raises(ValueError, match="no frames to write"):
        write_video(tmp_path / "out.mp4", iter([]), 25)
    assert list(tmp_path.iterdir()) == []


def test_images_carry_their_metadata(tmp_path):
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    write_png(tmp_path / "a.png", picture, METADATA)
    assert read_metadata(tmp_path / "a.png") == METADATA
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), picture)


def test_kept_clips_become_files(dataset, pool, tmp_path, video, export_format):
    form = export_format(fps=25, crf=10, trim_to_latents=True)
    one, two = export_clips(dataset, "default", tmp_path / "out", form=form, pool=pool)
    assert (one.id, one.num_frames, one.width, one.height) == ("one", 13, 50, 32)
    assert (two.id, two.num_frames, two.width, two.height) == ("two", 9, 96, 64)
    made = ClipReader([one, two]).read(1, 0, 9)
    source = read_window(video, 13 * 512, 25 * 512, fps=25, frames=9)
    assert np.abs(made.astype(int) - source).mean() < 2


def test_finished_files_are_kept_and_others_written_again(dataset, pool, tmp_path, export_format):
    out = tmp_path / "out"

    def export(**form):
        files = export_clips(dataset, "default", out, form=export_format(**form), pool=pool)
        return [file.path.stat().st_mtime_ns for file in files]

    first = export(fps=25, height=32, width=32)
    assert export(fps=25, height=32, width=32) == first
    (out / "one.mp4").unlink()
    again = export(fps=25, height=32, width=32)
    assert again[0] != first[0]
    assert again[1] == first[1]
    assert export(fps=12, height=32, width=32)[1] != first[1]


def test_a_clip_of_two_parts_is_exported_once(dataset, pool, tmp_path, export_format):
    dataset.write_part("clips", "part-00001", dataset.read("clips"))
    form = export_format(fps=25)
    files = export_clips(dataset, "default", tmp_path / "out", form=form, pool=pool)
    assert [file.id for file in files] == ["one", "two"]


def test_a_clip_that_cannot_be_read_is_left_out(dataset, pool, tmp_path, export_format):
    row = {"id": "gone", "source": "/nowhere.mp4", "start_pts": 0, "end_pts": 512}
    row |= {"time_base_num": 1, "time_base_den": 12800, "width": 96, "height": 64}
    dataset.write_part("clips", "part-00001", [row])
    dataset.write_part("selections/all", "", [{"id": i, "kept": True} for i in ("two", "gone")])
    form = export_format(fps=25, height=32, width=32)
    files = export_clips(dataset, "all", tmp_path / "out", form=form, pool=pool)
    assert [file.id for file in files] == ["two"]
    with pytest.raises(DatasetError, match=r"no selection named 'best' .there are: all, default."):
        export_clips(dataset, "best", tmp_path / "out", form=form, pool=pool)


def test_training_sees_the_frames_that_pyav_decodes(dataset, pool, tmp_path, export_format):
    form = export_format(fps=25, crf=10)
    files = export_clips(dataset, "default", tmp_path / "out", form=form, pool=pool)
    reader = ClipReader(files)
    path = files[0].path
    result = scan(path)
    end = int(result.pts[-1] + result.durations[-1])
    (expected,) = read_clip(
        path, 0, end, [FrameSpec(fps=1000)], result.info.width, result.info.height
    )
    assert np.array_equal(reader.read(0, 4, 5), expected.frames[4:9])
    assert np.array_equal(reader.read(0, 0, 13), expected.frames)
    with pytest.raises(VideoError, match=r"frames 9\.\.14 requested, it has 13"):
        reader.read(0, 9, 5)


def test_finished_files_are_known_without_opening_them(
    dataset, tmp_path, pool, monkeypatch, export_format
):
    form, out = export_format(fps=25, crf=10), tmp_path / "out"

    def export():
        return export_clips(dataset, "default", out, form=form, pool=pool)

    files, opened = export(), []
    real = export_module.read_metadata
    monkeypatch.setattr(
        export_module, "read_metadata", lambda path: opened.append(path.name) or real(path)
    )
    times = [file.path.stat().st_mtime_ns for file in files]
    assert export() == files
    assert opened == []
    (out / "index.jsonl").unlink()  # as versions without an index left the folder
    assert export() == files
    assert sorted(opened) == sorted(file.path.name for file in files)
    export()
    assert len(opened) == len(files)
    assert [file.path.stat().st_mtime_ns for file in files] == times


def test_files_that_were_truncated_or_deleted_are_written_again(
    dataset, tmp_path, pool, export_format
):
    form, out = export_format(fps=25, crf=10), tmp_path / "out"
    one, two = export_clips(dataset, "default", out, form=form, pool=pool)
    with (out / "index.jsonl").open("a") as index:
        index.write('{"id": "one", "key"')  # a run killed in the middle of a line
    intact = one.path.read_bytes(), two.path.read_bytes()
    one.path.write_bytes(intact[0][:-100])
    two.path.unlink()
    assert export_clips(dataset, "default", out, form=form, pool=pool) == [one, two]
    reader = ClipReader([one, two])
    assert reader.read(0, 0, 2).shape == (2, 32, 50, 3)
    # of the same size and unreadable: found when it is read, with what to do
    one.path.write_bytes(bytes(len(one.path.read_bytes())))
    with pytest.raises(VideoError, match="delete it and run the same command again"):
        ClipReader(export_clips(dataset, "default", out, form=form, pool=pool)).read(0, 0, 2)


def test_another_span_is_another_file(dataset, pool, tmp_path, video, export_format):
    """Frames 3 to 9 of the first clip; back to the whole clip, it is written again."""
    rows = dataset.read("clips").to_pylist()
    rows = [{**row, "start_s": row["start_pts"] / 12800, "end_s": row["end_pts"] / 12800,
             "num_frames": (row["end_pts"] - row["start_pts"]) // 512, "fps": 25.0}
            for row in rows]  # fmt: skip
    dataset.write_part("clips", "part-00000", rows)
    whole = export_clips(dataset, "default", tmp_path, form=export_format(fps=25), pool=pool)
    chosen = dataset.read("selections/default").to_pylist()
    span = {"span_start_s": 3 / 25, "span_end_s": 10 / 25}
    dataset.write_part("selections/default", "", [{**chosen[0], **span}, *chosen[1:]])
    trimmed = export_clips(dataset, "default", tmp_path, form=export_format(fps=25), pool=pool)
    assert [file.num_frames for file in whole] == [13, 12]
    assert [file.num_frames for file in trimmed] == [7, 12]
    seen = ClipReader(trimmed).read(0, 0, 7).astype(int)
    expected = read_window(video, 3 * 512, 10 * 512, fps=25, crop=Box(0, 0, 50, 32)).astype(int)
    assert np.abs(seen - expected).mean() < 3
    dataset.write_part("selections/default", "", chosen)
    again = export_clips(dataset, "default", tmp_path, form=export_format(fps=25), pool=pool)
    assert ClipReader(again).read(0, 0, 13).shape[0] == 13
