"""Hostile names and captions in every page, table and card that the program writes for people.

The elements of each page must be those of a page with harmless names: nothing that a name holds
becomes markup, a formula or a second line.
"""

import ast
import csv
import io
import json
import unicodedata
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from report_set import FILTERS, make_report

from wanctl.bench import page as bench_page
from wanctl.data.card import Card, write_card
from wanctl.escaping import csv_cell, html_text, markdown_text, one_line, script_json, yaml_text
from wanctl.labels.page import render_label_page
from wanctl.labels.sheet import COLUMNS, as_csv, read_sheet
from wanctl.report.page import render_page
from wanctl.report.report_data import ReportData
from wanctl.sample.grid import Tile, make_grid
from wanctl.train.evaluation import page as preview_page
from wanctl.train.objective import Preview
from wanctl.train.previews import write_preview_sheet, write_preview_video
from wanctl.video.encode import read_metadata, write_png

WANCTL = Path(__file__).parents[3] / "wanctl"
HOSTILE = (
    "</script><script>hacked()</script>",
    "<!--<script>",
    "]]>--><img src=x onerror=hacked()>",
    "'\"><svg onload=hacked()>",
    "</title></style></textarea><iframe src=javascript:hacked()>",
    "&lt;script&gt;&#60;b&#62;",
    "{title}{data}{DATA}%s{0}/*DATA*/null",
    "a|b\n\n# heading\n---\nlicense: mit\n",
    "[click](javascript:hacked()) ![x](http://host/x.png) `code` **bold** <b>",
    "=HYPERLINK(\"http://host\",\"x\")",
    "+1+1", "-2+3", "@SUM(A1)", "\tcell", "\rcell", " =1+1",
    "\x1b]0;title\x07\x00\x7f\x9b31m",
    "\u202egnp.exe \u2028\u2029\x85 \ufeff",
    "half \udce9 character",
    "日本 é 😀 \\ \\n \\u003c",
)  # fmt: skip
PLAIN = "plain"


class Elements(HTMLParser):
    """Counts elements with the names of their attributes; comments count as elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: Counter[tuple[str, ...]] = Counter()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found[(tag, *(name for name, _ in attributes))] += 1

    def handle_comment(self, data):
        self.found["comment", data] += 1


def elements(text: str) -> Counter[tuple[str, ...]]:
    return Elements(text).found


def report_of(folder, name):
    made = make_report(folder, 12, 3)
    table = made.dataset.read("clips")
    index = table.column_names.index("source")
    table = table.set_column(index, "source", [[f"/raw/{name}.mp4"] * table.num_rows])
    made.dataset.write_part("clips", "part-00000", table)
    captions = [{"id": f"{n:016x}", "text": name, "variant": name, "backend": name}
                for n in range(12)]  # fmt: skip
    made.dataset.write_part("captions/vlm@v1", "part-00000", captions)
    row = {"source": name, "clip_id": name, "stage": name, "kind": name, "error": name}
    made.dataset.write_part("quarantine", "part-00000", [row])
    selection = made.dataset.read("selections/default")
    rows = selection.to_pylist()
    for each in rows:
        each["reasons"] = [f"loud: {name}" for _ in each["reasons"]]
        each["labels"] = [{"filter": "tier", "label": name}]
        each["bucket"] = name
    made.dataset.write_part("selections/default", "", rows)
    return render_page(ReportData.of(made.dataset, "default", FILTERS), {})


def label_page(_, name):
    row = {"id": "1", "label": "", "class": name, "score": "1", "source": name, "start_s": 0.0,
           "end_s": 1.0}  # fmt: skip
    return render_label_page(name, {"1": name}, [row], {})


def bench_html(folder, name):
    curve = [(1.0, 0.5, 2), (2.0, 1.0, 2)]
    figure = {"what": name, "value": 1.0, "bar": 0.5, "below": False, "met": True}
    result = {
        "family": "blur", "filter": name, "summary": name, "settings": {name: name}, "cases": 1,
        "unread": [name], "kinds": {name: 1}, "precision": 1.0, "recall": 1.0, "f1": 1.0,
        "counts": {"true": 1, "false": 0, "missed": 0, "of": 1}, "ap": 1.0,
        "curve": [(1, 0.5, 0.5), (2, 1.0, 1.0)], "figures": [figure],
        "dose": {"name": name, "half": 1.5, "curves": {name: curve}, "halves": {name: 1.5}},
        "wrong": [{"case": name, "variant": name, "dose": None, "what": name, "note": name}],
    }  # fmt: skip
    bench_page.write([result], folder)
    for svg in (folder / "curves").glob("*.svg"):
        ElementTree.fromstring(svg.read_text(encoding="utf-8"))
    return (folder / "bench.html").read_text(encoding="utf-8")


class Run:
    """What a page of previews takes of an objective."""

    judged = "loss"

    def __init__(self, name):
        self.name = name


def previews_page(folder, name):
    video = np.zeros((2, 16, 16, 3), np.uint8)
    for step, caption in ((0, f"{name} before"), (5, name)):
        write_preview_video(folder / "previews", step, 1, Preview(video, caption, 8.0))
        write_preview_sheet(folder / "previews", step, [video], [caption])
    preview_page.write_page(folder, Run(name), [{"step": 5, "loss": 1.0}])
    return (folder / "previews.html").read_text(encoding="utf-8")


PAGES = {
    "report": report_of,
    "labels": label_page,
    "bench": bench_html,
    "previews": previews_page,
}


@pytest.mark.parametrize("page", PAGES)
def test_names_add_no_element_to_a_page(page, tmp_path):
    expected = elements(PAGES[page](tmp_path / "plain", PLAIN))
    assert sum(expected.values()) > 20
    for number, name in enumerate(HOSTILE):
        # tables hold valid text only, so that half a character never reaches the report
        text = name.replace("\udce9", "?") if page == "report" else name
        html = PAGES[page](tmp_path / str(number), text)
        assert elements(html) == expected, name
        html.encode()


@pytest.mark.parametrize("name", HOSTILE)
def test_data_in_a_script_is_read_back_as_it_was(name):
    text = script_json({name: [name]})
    assert "<" not in text
    assert json.loads(text) == {name: [name]}


def card_of(text: str) -> Card:
    return Card(
        made_by=text, recipe=text, recipe_hash="ab" * 32, selection=text, license=text,
        sources={"files": 1, "used": 1}, clips={"all": 1, "kept": 1, "seconds": 1.0},
        split={"detector": text, "models": {text: text}},
        filters=[{"name": text, "version": 1, "config_hash": text, "models": {text: text},
                  "left": 1, "drops": 0, "alone": 0}],
        captions=[{"backend": text, "key": text, "clips": 1, "captions": 1}],
        quarantine={text: 1}, layout=text,
        exported={"clips": 1, "seconds": 1.0, "without_caption": 0, "captions": 1},
    )  # fmt: skip


# a recipe with half a character is refused when it is read
@pytest.mark.parametrize("name", [name for name in HOSTILE if "\udce9" not in name])
def test_a_card_has_the_lines_and_cells_of_a_harmless_one(name, tmp_path):
    pages = []
    for text in (PLAIN, name):
        write_card(tmp_path, replace(card_of(text), license=text))
        pages.append((tmp_path / "README.md").read_text(encoding="utf-8").splitlines())
    plain, page = pages
    front = yaml.safe_load("\n".join(page[1:3]))
    assert front == {"license": "other", "license_name": name}
    assert len(page) == len(plain)
    for before, line in zip(plain[4:], page[4:], strict=True):
        assert line.count("|") == before.count("|")
        assert "<" not in line
        assert "](" not in line.replace("\\]", "")
    json.loads((tmp_path / "datacard.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", HOSTILE)
def test_no_cell_of_a_sheet_is_a_formula_and_the_sheet_is_read_back(name, tmp_path):
    row = {"id": "ab", "label": "1", "class": name, "score": "-0.5", "source": name,
           "start_s": 0.0, "end_s": 1.0}  # fmt: skip
    text = as_csv([row])
    (cells,) = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(cells) == list(COLUMNS)
    assert not cells["source"].lstrip(" \"'").startswith(("=", "+", "-", "@", "\t", "\r")) or (
        cells["source"].startswith("'")
    )
    assert cells["score"] == "-0.5"
    path = tmp_path / "sheet.csv"
    path.write_bytes(text.encode("utf-8", "replace"))
    assert read_sheet(path, {"1": "good"}) == {"ab": "1"}


@pytest.mark.parametrize("value", ["-5", "+5", "-0.25", "1e-3", "-1E+5", 3, -2.5, None, "a=b"])
def test_numbers_and_ordinary_text_stay_as_they_are(value):
    assert csv_cell(value) == ("" if value is None else str(value))


def test_labels_under_a_grid_are_pictures_whatever_they_say(tmp_path):
    tiles = []
    for number, name in enumerate(HOSTILE):
        path = tmp_path / f"{number}.png"
        header = name.encode("utf-8", "replace").decode()
        write_png(path, np.full((32, 48, 3), 200, np.uint8), {"prompt": header})
        assert read_metadata(path)["prompt"].replace("\r", "\n") == header.replace("\r", "\n")
        tiles.append(Tile(path, name))
    grid = make_grid(tiles, tmp_path / "grid")
    assert grid.is_file()


@pytest.mark.parametrize("name", HOSTILE)
def test_every_escape_gives_one_line_of_plain_text(name):
    for text in (one_line(name), markdown_text(name), yaml_text(name)):
        assert not {unicodedata.category(each) for each in text} & {"Cc", "Cs", "Zl", "Zp"}
    assert "<" not in html_text(name)
    assert '"' not in html_text(name)
    assert yaml.safe_load(yaml_text(name)) == name


def test_no_module_has_an_escaping_of_its_own():
    for path in WANCTL.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        strings = [n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr)]
        markup = any(
            isinstance(part, ast.Constant) and ("</" in str(part.value) or "/>" in str(part.value))
            for each in strings
            for part in each.values
        )
        text = path.read_text(encoding="utf-8")
        if path.name != "escaping.py":
            assert "html.escape" not in text, path
            assert "from html import escape" not in text, path
            assert "saxutils" not in text, path
        if markup:
            assert "from wanctl.escaping import" in text, path
        if "csv.writer" in text or "csv.DictWriter" in text:
            assert "csv_cell" in text or path.parent.name == "exchange", path
