"""Files that a sample is made from: pictures and footage as they should come out, and bad ones."""

import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from wanctl.errors import UserError
from wanctl.sample import source_video
from wanctl.sample.inputs import InputSpec, read_inputs
from wanctl.sample.source_video import VideoReader, open_source_video
from wanctl.video.encode import write_video
from wanctl.video.image_files import ImageFileError, read_image
from wanctl.video.stream import VideoError

READER = VideoReader(60, 4 * 2**30)
NO_FILES = InputSpec(
    image=None, last_image=None, video=None, mask=None, references=(), known_frames={},
    given_frames=None, vace=None, fps=16.0, exact=False,
)  # fmt: skip


@pytest.fixture
def corner():
    """A picture whose corners differ: red top left, blue bottom right."""
    picture = np.full((20, 30, 3), 128, np.uint8)
    picture[:10, :10] = (255, 0, 0)
    picture[-10:, -10:] = (0, 0, 255)
    return picture


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff", "bmp"])
def test_a_picture_comes_out_as_it_is(tmp_path, corner, suffix):
    path = tmp_path / f"a.{suffix}"
    more = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(corner).save(path, **more)
    assert (read_image(path) == corner).all()


def test_a_picture_is_turned_as_its_exif_says(tmp_path, corner):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter clockwise
    Image.fromarray(corner).save(tmp_path / "a.png", exif=exif)
    assert (read_image(tmp_path / "a.png") == np.rot90(corner, -1)).all()


def test_transparent_parts_are_white(tmp_path, corner):
    alpha = np.full((20, 30), 255, np.uint8)
    alpha[:10, :10] = 0
    alpha[-1, -1] = 51
    Image.fromarray(np.dstack((corner, alpha))).save(tmp_path / "a.png")
    got = read_image(tmp_path / "a.png")
    assert (got[:10, :10] == 255).all()
    assert got[-1, -1].tolist() == [204, 204, 255]
    assert (got[10:-1] == corner[10:-1]).all()


def test_palettes_grey_and_16_bits_become_rgb(tmp_path):
    ramp = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
    expected = np.repeat(ramp[..., None], 3, axis=2)
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    palette = Image.fromarray(ramp).convert("P")
    palette.save(tmp_path / "palette.png", transparency=0)
    assert (read_image(tmp_path / "grey.png") == expected).all()
    assert (read_image(tmp_path / "deep.png") == expected).all()
    got = read_image(tmp_path / "palette.png")
    assert got[0, 0].tolist() == [255, 255, 255]  # its transparent colour
    assert (got[1:] == expected[1:]).all()


def test_of_an_animated_file_the_first_picture_is_taken(tmp_path):
    frames = [Image.new("RGB", (8, 8), (value, 0, 0)) for value in (10, 200)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert read_image(tmp_path / "a.webp")[0, 0].tolist() == [10, 0, 0]


def damaged(path, corner):
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "bmp", "gif"])
def test_a_picture_that_is_cut_off_is_one_line(tmp_path, corner, suffix):
    path = tmp_path / f"a.{suffix}"
    damaged(path, corner)
    with pytest.raises(ImageFileError, match="not a picture that can be read: ") as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_picture_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("text.png", "empty.png"):
        with pytest.raises(ImageFileError, match=f"{name}: not a picture that can be read"):
            read_image(tmp_path / name)
    with pytest.raises(ImageFileError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageFileError, match="no such file"):
        read_image(tmp_path / "nowhere.png")
    Image.new("L", (100, 100)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageFileError, match="too many pixels"):
        read_image(tmp_path / "bomb.png")


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """24 pictures at 12 fps, each of one grey that tells its number."""
    path = tmp_path_factory.mktemp("footage") / "a.mp4"
    write_video(path, (np.full((48, 64, 3), 10 * n, np.uint8) for n in range(24)), 12, crf=1)
    return path


def test_one_process_serves_a_reader_and_ends_with_it():
    reader = VideoReader(60, 4 * 2**30)
    first, second = reader.call(os.getpid), reader.call(os.getpid)
    assert first == second != os.getpid()
    del reader
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_footage_is_read_some_pictures_at_a_time(footage, monkeypatch):
    monkeypatch.setattr(source_video, "BLOCK_BYTES", 5 * 48 * 64 * 3)
    clip = open_source_video(str(footage), READER)
    assert clip.size == (48, 64)
    assert len(clip.pictures) == 24
    np.testing.assert_allclose(clip.starts_s, np.arange(24) / 12, atol=1e-3)
    np.testing.assert_allclose(clip.ends_s, np.arange(1, 25) / 12, atol=1e-3)
    for index in (0, 3, 4, 5, 23, 7):
        picture = clip.pictures[index]
        assert picture.shape == (48, 64, 3)
        assert abs(picture.astype(int) - 10 * index).max() <= 3
    assert clip.pictures[-1].mean() == clip.pictures[23].mean()
    with pytest.raises(IndexError):
        clip.pictures[24]


def test_damaged_footage_is_one_line(footage, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(footage.read_bytes()[: footage.stat().st_size // 2])
    for path, message in ((broken, "broken.mp4"), (tmp_path / "none.mp4", "none.mp4")):
        with pytest.raises(VideoError, match=message) as caught:
            open_source_video(str(path), READER)
        assert "\n" not in str(caught.value)


def test_inputs_are_known_by_their_contents(tmp_path, corner, footage):
    for name in ("a.png", "b.png"):
        Image.fromarray(corner).save(tmp_path / name)
    a, b = (str(tmp_path / name) for name in ("a.png", "b.png"))
    spec = replace(
        NO_FILES, fps=12.0, image=a, references=(a, b), known_frames={-1: b, 0: a},
        video=str(footage), mask=b, given_frames=5,
    )  # fmt: skip
    found = read_inputs(spec, READER)
    assert found.inputs.image.shape == (3, 20, 30)
    assert list(found.inputs.known_frames) == [-1, 0]
    assert len(found.inputs.references) == 2
    assert len(found.inputs.video.pictures) == 24
    assert (found.inputs.mask.pictures[0] == corner).all()
    assert (found.inputs.given_frames, found.inputs.fps) == (5, 12.0)
    assert found.hashes["image"] == found.hashes["known_frames.-1"] != found.hashes["video"]
    assert set(found.names) == {
        "image", "references.0", "references.1", "known_frames.-1", "known_frames.0", "video",
        "mask",
    }  # fmt: skip
    assert str(footage) in found.metadata()["input_files"]
    assert read_inputs(NO_FILES, READER).metadata() == {}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"image": "no.png"}, "^image: no.png: no such file$"),
        ({"last_image": "."}, "^last_image: .: is a folder"),
        ({"references": ["no.png"]}, "^references: no.png: no such file$"),
        ({"known_frames": {4: "no.png"}}, "^known_frames: no.png: no such file$"),
        ({"video": "text.mp4"}, "^video: text.mp4: not a video"),
        ({"mask": "text.png"}, "^mask: text.png: not a picture"),
    ],
)
def test_a_bad_file_is_told_by_its_key(tmp_path, monkeypatch, section, message):
    monkeypatch.chdir(tmp_path)
    for name in ("text.mp4", "text.png"):
        (tmp_path / name).write_text("neither", encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_inputs(replace(NO_FILES, **section), VideoReader(60, 4 * 2**30))  # of this folder
    assert "\n" not in str(caught.value)


def test_a_picture_behind_a_url(corner):
    import io

    import fsspec

    data = io.BytesIO()
    Image.fromarray(corner).save(data, "PNG")
    with fsspec.open("memory://pictures/a.png", "wb") as file:
        file.write(data.getvalue())
        name = "memory://pictures/a.png"
    found = read_inputs(replace(NO_FILES, image=name), READER)
    assert found.inputs.image.shape == (3, 20, 30)
    with fsspec.open("memory://pictures/b.png", "wb") as file:
        file.write(b"no picture")
    with pytest.raises(UserError, match=r"^image: memory://pictures/b\.png: not a picture"):
        read_inputs(replace(NO_FILES, image="memory://pictures/b.png"), READER)
    with pytest.raises(UserError, match=r"^image: memory://pictures/none\.png: "):
        read_inputs(replace(NO_FILES, image="memory://pictures/none.png"), READER)
