import hashlib
import json
import unicodedata
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from wanctl.data.captions import read_captions
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import ExportFormat, export_clips
from wanctl.recipe.load import load_recipe
from wanctl.textimages.backgrounds import composed_background, white_background
from wanctl.textimages.characters import Alphabet, level_one, level_two, tier
from wanctl.textimages.drawing import NoRoomError, draw, has_ink
from wanctl.textimages.fonts import FontError, find_fonts, pick_fonts
from wanctl.textimages.readback import edit_distance, read_back
from wanctl.textimages.run import TextImagesError, read_backgrounds, text_images
from wanctl.video.workers.worker_pool import DecodePool


@pytest.fixture(scope="module")
def noto():
    """Noto Sans SC and Noto Serif SC, from their package."""
    package = pytest.importorskip("pylopdf_fonts_zh_cn")
    from pathlib import Path

    return Path(package.__file__).parent


@pytest.fixture(scope="module")
def font(noto):
    return pick_fonts(find_fonts(noto), ("zh",))["zh"][0]


def generator(*seed):
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))


def test_level_sizes_are_those_of_gb_2312():
    assert (len(level_one()), len(level_two())) == (3755, 3008)
    assert not level_one() & level_two()
    assert [tier(each) for each in "的镬㐀a"] == ["common", "less common", "rare", "latin"]


def test_fonts_have_coverage_and_licence(noto, tmp_path):
    fonts = find_fonts(noto)
    assert [(f.name, f.licence, f.languages) for f in fonts] == [
        ("Noto Sans SC Regular", "OFL-1.1", ("zh", "en")),
        ("Noto Serif SC Regular", "OFL-1.1", ("zh", "en")),
    ]
    assert level_one() | level_two() <= fonts[0].covered
    (tmp_path / "torn.ttf").write_bytes(b"\0\1\0\0 torn")
    with pytest.raises(FontError, match=r"no font for 'zh' among 0; set text_images\.fonts"):
        pick_fonts(find_fonts(tmp_path), ("zh",))


def test_a_listed_character_without_ink_is_not_drawn(font):
    assert has_ink(font, "的")
    assert not has_ink(font, "\u3000")


def test_balance_raises_the_share_of_rare_characters(font):
    def rare_share(balance, counts=None):
        alphabet = Alphabet(font.covered, "gb2312", counts or Counter(), balance)
        drawn = alphabet.sample(generator(1), 20_000)
        return sum(tier(each) == "less common" for each in drawn) / len(drawn)

    assert rare_share(0) == pytest.approx(0.009, abs=0.003)
    assert rare_share(1) == pytest.approx(3008 / 6763, abs=0.02)
    corpus = Counter({"的": 900, "镬": 100})
    assert rare_share(0, corpus) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_drawn_text_is_inside_its_boxes_and_reads_back(font, direction):
    lines = ["春眠不觉晓", "处处闻啼鸟"]
    made = draw(generator(2), white_background(256, 256), lines, font, direction, plain=True)
    marked = made.pixels.copy()
    for boxes in made.lines:
        assert len(boxes) == (1 if direction == "horizontal" else 5)
        for box in boxes:
            cell = marked[box.y : box.y + box.height, box.x : box.x + box.width]
            assert cell.min() < 100, "ink in every box"
            cell[:] = 255
    assert marked.min() == 255, "and nowhere else"
    result = read_back(made.pixels, lines, made.lines)
    assert (result.error, result.judged) == (0, 10)
    wrong = read_back(made.pixels, ["春眠不觉晓", "夜来风雨声"], made.lines)
    assert wrong.error == pytest.approx(0.5)


def test_text_has_contrast_and_small_text_is_refused(font):
    for seed in range(12):
        _, background = composed_background(generator(seed), 96, 96, [])
        made = draw(generator(seed), background, ["大"], font, "horizontal", plain=False)
        assert made.outlined or np.abs(made.pixels.astype(int) - background).max() > 60
    with pytest.raises(NoRoomError):
        draw(generator(0), white_background(64, 64), ["字" * 12], font, "horizontal", plain=True)


def test_edit_distance():
    pairs = (("", "ab"), ("abc", "abc"), ("kitten", "sitting"))
    assert [edit_distance(*pair) for pair in pairs] == [2, 0, 3]


def loaded(folder, noto, *overrides):
    path = folder / "r.yaml"
    path.write_text(
        "curate: {decode: {workers: 1}}\n"
        f"text_images: {{num_images: 5, height: 128, width: 160, fonts: {noto}, max_lines: 2,\n"
        "  max_characters: 5}\n"
    )
    return load_recipe(str(path), overrides)


def hashes(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_a_set_is_the_same_after_a_kill_and_trains_as_images(tmp_path, noto):
    to = tmp_path / "text"
    text_images(loaded(tmp_path, noto), tmp_path, to)
    complete = hashes(to)
    rows = [json.loads(line) for line in (to / "metadata.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 5
    for row in rows:
        with Image.open(to / row["file_name"]) as image:
            assert image.size == (160, 128)
        for line in row["text"].split("\n"):
            assert line in row["caption_en"]
            assert line in row["caption_zh"]
        assert row["read_error"] <= 0.2
        assert unicodedata.is_normalized("NFC", row["text"])
    (to / "clips" / "part-00000.parquet").unlink()
    (to / "metadata.jsonl").unlink()
    text_images(loaded(tmp_path, noto), tmp_path, to)
    assert hashes(to) == complete

    dataset = DatasetDir.open(to)
    captions = read_captions(dataset, ["sidecar"])
    assert {len(texts) for texts in captions.values()} == {2}
    with DecodePool(1, 60, 2**31) as pool:
        form = ExportFormat(fps=16, height=64, width=80, crf=10, trim_to_latents=False)
        files = export_clips(dataset, "default", tmp_path / "out", form=form, pool=pool)
    assert [file.num_frames for file in files] == [1] * 5

    with pytest.raises(TextImagesError, match=r"drawn with other text_images .balance"):
        text_images(loaded(tmp_path, noto, "text_images.balance=0.1"), tmp_path, to)


def test_backgrounds_of_equal_names_are_all_kept(tmp_path):
    paths = []
    for number, name in enumerate(("a/x.png", "b/x.png", "b/x-2.png", "x.jpg")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (number + 1, 1)).save(path)
        paths.append(path)
    images = read_backgrounds(paths)
    assert sorted(image.shape[1] for image in images.values()) == [1, 2, 3, 4]
    assert next(iter(images)) == "x"
