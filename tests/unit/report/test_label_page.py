"""The labelling page in a real browser: keys label, labels survive a reload, the CSV holds them."""

import csv
import io

import numpy as np
import pytest

from wanctl.labels.page import LABEL_SPRITE, render_label_page
from wanctl.report.thumbnails import encode_sprite

pytestmark = pytest.mark.browser

CHOICES = {"1": "bad", "2": "poor", "3": "fair", "4": "good", "5": "excellent"}
HOSTILE = '</script><img src=x onerror=hacked()>, "quoted".mp4'


@pytest.fixture
def page(browser, tmp_path):
    rng = np.random.default_rng(0)
    rows, sprites = [], {}
    for number in range(12):
        name = f"{number:016x}"
        rows.append({
            "id": name, "label": "2" if number == 11 else "", "class": f"c{number // 4}",
            "score": "0.5", "source": HOSTILE if number == 3 else f"film{number}.mp4",
            "start_s": 0.0, "end_s": 4.0,
        })  # fmt: skip
        colour = rng.integers(0, 255, 3)
        frames = [np.full((48, 64, 3), colour * (n + 1) // 13, np.uint8) for n in range(12)]
        sprites[name] = encode_sprite(np.stack(frames), LABEL_SPRITE)
    del sprites[rows[5]["id"]]  # one that could not be decoded
    file = tmp_path / "quality.html"
    file.write_text(render_label_page("quality", CHOICES, rows, sprites), encoding="utf-8")
    browser.errors.clear()
    browser.resize(1200, 800)
    browser.open(file)
    yield browser
    assert browser.errors == []


def press(page, *keys):
    for key in keys:
        page.eval(f"void dispatchEvent(new KeyboardEvent('keydown', {{key: {key!r}}}))")


def sheet(page):
    return list(csv.DictReader(io.StringIO(page.eval("csv()"))))


def test_keys_label_clips_and_labels_are_kept(page):
    assert page.eval("document.getElementById('count').textContent") == "1 of 12"
    press(page, "5", "1", "ArrowRight", "3", "ArrowLeft", "Backspace", "9")
    labels = [row["label"] for row in sheet(page)]
    assert labels == ["5", "1", "", "", *[""] * 7, "2"]
    press(page, "4")
    page.reload()
    rows = sheet(page)
    assert [row["label"] for row in rows] == ["5", "1", "", "4", *[""] * 7, "2"]
    # it continues at the first clip without a label
    assert page.eval("current") == 2
    assert rows[3]["source"] == HOSTILE
    page.eval("localStorage.clear()")


def test_clips_play_and_the_mouse_labels_them(page):
    page.wait("big.step !== undefined")
    positions = "new Set([0, 1, 2].map(n => (big.step(n), big.firstChild.style.transform))).size"
    assert page.eval(positions) == 3
    page.click("#choices button:nth-child(2)")
    page.click("#sheet > button:nth-child(8)")
    assert page.eval("current") == 7
    assert sheet(page)[0]["label"] == "2"
    assert "no thumbnail" in page.eval("document.getElementById('sheet').textContent")
    page.eval("localStorage.clear()")
