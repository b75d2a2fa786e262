"""Image files of strangers: read whatever lies beside the pixels, or refused in one line."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from wanctl.exchange.media import probe_media
from wanctl.video.encode import read_metadata, write_png
from wanctl.video.image_files import ImageFileError, image_size, read_image
from wanctl.video.opening import VideoError

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
HUGE = "node " * 800_000  # 4 MB


def png(**save) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", **save)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(*chunks: bytes, behind: bool = False) -> bytes:
    """A PNG with more chunks, before its pixels or behind them."""
    data = png()
    at = data.index(b"IEND") - 4 if behind else data.index(b"IDAT") - 4
    return data[:at] + b"".join(chunks) + data[at:]


PACKED = zlib.compress(HUGE.encode())
BOMB = zlib.compress(bytes(200 << 20), 9)
TEXTS = {
    "tEXt": chunk(b"tEXt", b"workflow\0" + HUGE.encode()),
    "zTXt": chunk(b"zTXt", b"workflow\0\0" + PACKED),
    "iTXt": chunk(b"iTXt", b"workflow\0\0\0\0\0" + HUGE.encode()),
    "iTXt packed": chunk(b"iTXt", b"prompt\0\1\0\0\0" + PACKED),
    "bomb": chunk(b"zTXt", b"workflow\0\0" + BOMB),
    "exif bomb": chunk(b"zTXt", b"Raw profile type exif\0\0" + BOMB),
    "XMP bomb": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB),
    "colour profile": chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(5 << 20))),
    "damaged profile": chunk(b"iCCP", b"profile\0\0not zlib"),
    "damaged text": chunk(b"zTXt", b"workflow\0\0not zlib"),
    "much exif": chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0\0\0\0\0" + bytes(3 << 20)),
    "unknown chunk": chunk(b"prVt", bytes(3 << 20)),
    "a hundred": b"".join(chunk(b"tEXt", b"k%d\0" % i + bytes([65]) * 900_000) for i in range(100)),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("name", TEXTS)
def test_what_lies_beside_the_pixels_does_not_matter(tmp_path, name, behind):
    path = tmp_path / "a.png"
    path.write_bytes(with_chunks(TEXTS[name], behind=behind))
    assert (read_image(path) == PIXELS).all()
    assert image_size(path) == (60, 40)
    info = probe_media(path)
    assert (info.width, info.height) == (60, 40)


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "TIFF", "AVIF"])
def test_large_profiles_and_exif_of_other_formats_are_read(tmp_path, form):
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    path = tmp_path / "a.img"
    Image.fromarray(PIXELS).save(path, form, icc_profile=bytes(2 << 20), exif=exif)
    assert read_image(path).shape == PIXELS.shape


def turned(form: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, form, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_pillow_turns_them(tmp_path, form, orientation):
    from PIL import ImageOps

    path = tmp_path / "b.JPG"
    path.write_bytes(turned(form, orientation))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert (read_image(path) == expected).all()
    assert image_size(path) == expected.shape[1::-1]
    assert (probe_media(path).width, probe_media(path).height) == expected.shape[1::-1]


@pytest.mark.parametrize("packed", [False, True])
def test_a_png_that_says_its_turn_in_a_text_is_turned(tmp_path, packed):
    raw = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    text = f"\nexif\n{len(raw):8}\n{raw.hex()}\n".encode()
    if packed:
        data = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    else:
        data = chunk(b"tEXt", b"Raw profile type exif\0" + text)
    path = tmp_path / "a.png"
    path.write_bytes(with_chunks(data))
    assert image_size(path) == (40, 60)
    assert (read_image(path) == np.rot90(PIXELS, -1)).all()


def test_a_chunk_that_claims_four_gigabytes_takes_no_memory(tmp_path):
    data = png()
    at = data.index(b"IDAT") - 4
    path = tmp_path / "a.png"
    path.write_bytes(data[:at] + struct.pack(">I", 0xFFFFFFFF) + data[at + 4 :])
    tracemalloc.start()
    assert (read_image(path) == PIXELS).all()
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


def test_a_damaged_orientation_is_no_reason_to_refuse(tmp_path):
    path = tmp_path / "a.jpg"
    data = turned("JPEG", 6)
    at = data.index(b"Exif\0\0") + 6
    path.write_bytes(data[:at] + b"II*\0\xff\xff\xff\x7f" + data[at + 8 :])
    assert read_image(path).shape == PIXELS.shape


def bomb_png() -> bytes:
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
        + chunk(b"IEND", b"")
    )


def bomb_gif() -> bytes:
    return b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02L\x01\0;"


def bomb_bmp() -> bytes:
    return b"BM" + struct.pack(
        "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 50_000, 50_000, 1, 24, *[0] * 6
    )


BAD = {
    "png bomb": bomb_png(),
    "gif bomb": bomb_gif(),
    "bmp bomb": bomb_bmp(),
    "cut png": png()[:3000],
    "cut jpeg": turned("JPEG", 1)[:700],
    "empty": b"",
    "text": b"no image\n" * 50,
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
    "psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(400),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>",
    "list": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "fits": b"SIMPLE  =                    T" + b" " * 5000,
    "noise": np.random.default_rng(1).bytes(5000),
}


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("name", BAD)
def test_bad_images_are_one_line(tmp_path, name, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(BAD[name])
    for read in (read_image, image_size):
        with pytest.raises(ImageFileError, match=str(path)) as error:
            read(path)
        assert "\n" not in str(error.value)
    with pytest.raises(VideoError) as error:
        probe_media(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["12:30.png", "-x.png", "%03d.png", "http:/a.png", "data:b.png"])
def test_an_image_of_any_name_is_read_and_written(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    for place in (path, path.relative_to(tmp_path)):
        write_png(place, PIXELS, {"prompt": "a cat"})
        assert (read_image(place) == PIXELS).all()
        assert read_metadata(place) == {"prompt": "a cat"}


def test_a_text_that_pillow_refuses_is_one_line(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(with_chunks(TEXTS["zTXt"]))
    with pytest.raises(ImageFileError, match="not a picture that can be read"):
        read_metadata(path)
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "b")
    path.write_bytes(png(pnginfo=info))
    assert read_metadata(path) == {"a": "b"}
