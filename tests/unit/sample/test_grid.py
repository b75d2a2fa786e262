"""Outputs side by side."""

import av
import numpy as np
from PIL import Image

from wanctl.sample import grid
from wanctl.sample.grid import CELL_PX, GAP_PX, LABEL_LINES, LINE_PX, Tile, make_grid
from wanctl.video.encode import read_metadata, write_png, write_video

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200)]
BAND = LABEL_LINES * LINE_PX


def pictures(tmp_path, sizes) -> list[Tile]:
    tiles = []
    for number, (height, width) in enumerate(sizes):
        path = tmp_path / f"{number}.png"
        write_png(path, np.full((height, width, 3), COLOURS[number], np.uint8))
        tiles.append(Tile(path, f"tile {number}"))
    return tiles


def opened(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_pictures_are_put_row_by_row(tmp_path):
    tiles = pictures(tmp_path, [(40, 160)] * 5)
    path = make_grid(tiles, tmp_path / "grid", columns=3, metadata={"prompt": "five"})
    assert path == tmp_path / "grid.png"
    assert read_metadata(path)["prompt"] == "five"
    sheet = opened(path)
    cell = 40 + BAND + GAP_PX
    assert sheet.shape == (2 * cell + GAP_PX, 3 * (160 + GAP_PX) + GAP_PX, 3)
    for number, colour in enumerate(COLOURS):
        row, column = divmod(number, 3)
        top, left = GAP_PX + row * cell, GAP_PX + column * (160 + GAP_PX)
        assert (sheet[top : top + 40, left : left + 160] == colour).all()
        band = sheet[top + 40 : top + 40 + BAND, left : left + 160]
        assert band.max() > 150, "a label stands under each tile"
    assert not sheet[cell + GAP_PX :, 2 * (160 + GAP_PX) + GAP_PX :].any()


def test_tiles_of_other_sizes_are_centred_in_cells_of_the_largest(tmp_path):
    tiles = pictures(tmp_path, [(40, 180), (20, 200)])
    sheet = opened(make_grid(tiles, tmp_path / "grid", columns=2))
    assert (sheet[GAP_PX : GAP_PX + 40, GAP_PX + 10 : GAP_PX + 190] == COLOURS[0]).all()
    assert not sheet[GAP_PX : GAP_PX + 40, GAP_PX : GAP_PX + 10].any()
    left = 2 * GAP_PX + 200
    assert (sheet[GAP_PX + 10 : GAP_PX + 30, left : left + 200] == COLOURS[1]).all()


def test_a_whole_is_about_square(tmp_path):
    for size in ((20, 200), (200, 20)):
        sheet = opened(make_grid(pictures(tmp_path, [size] * 4), tmp_path / "grid"))
        assert 0.3 < sheet.shape[0] / sheet.shape[1] < 3


def test_a_short_video_stands_still_while_others_go_on(tmp_path):
    tiles = []
    for name, levels in (("short", (40, 80)), ("long", (60, 100, 140, 180))):
        frames = np.stack([np.full((32, 48, 3), level, np.uint8) for level in levels])
        write_video(tmp_path / f"{name}.mp4", frames, 8, crf=0)
        tiles.append(Tile(tmp_path / f"{name}.mp4", name))
    tiles += pictures(tmp_path, [(32, 48)])
    path = make_grid(tiles, tmp_path / "grid", columns=3, fps=8, crf=0)
    assert path.suffix == ".mp4"
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 8
        sheets = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(sheets) == 4

    def middle(sheet, column):
        left = GAP_PX + column * (CELL_PX + GAP_PX) + (CELL_PX - 48) // 2
        return sheet[GAP_PX + 8 : GAP_PX + 24, left + 8 : left + 40].reshape(-1, 3).mean(axis=0)

    for number, (short, long) in enumerate(((40, 60), (80, 100), (80, 140), (80, 180))):
        assert np.allclose(middle(sheets[number], 0), short, atol=3)
        assert np.allclose(middle(sheets[number], 1), long, atol=3)
        assert np.allclose(middle(sheets[number], 2), COLOURS[0], atol=6)


def test_a_label_is_wrapped_and_ends_in_dots():
    font = grid._plain_font()
    lines = grid._wrapped("a red fox runs over fresh snow in the evening light", font, 80)
    assert len(lines) == LABEL_LINES
    assert lines[-1].endswith("…")
    assert all(font.getlength(line) <= 80 + font.getlength("…") for line in lines)
    assert grid._wrapped("short", font, 120) == ["short"]
    assert " ".join(grid._wrapped("two words", font, 40)) == "two words"


def test_a_label_that_no_font_can_draw_becomes_a_number(monkeypatch):
    monkeypatch.setattr(grid, "WIDER_FONTS", ("nowhere.ttf",))
    assert grid._font_for("a fox, seed 3") is not None
    assert grid._font_for("一只猫") is None
    assert np.array_equal(grid._label("一只猫", 2, 80), grid._label("no. 3", 0, 80))
