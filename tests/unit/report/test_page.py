"""The contents of report.html without a browser; test_browser.py opens it in one."""

import base64
import hashlib
import json
import re
import time
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
from report_set import FILTERS, HOSTILE, quarantine_rows

from wanctl.curate.select.overrides import Override, write_overrides
from wanctl.report.page import MAX_THUMBNAIL_BYTES, render_page
from wanctl.report.records.reasons import ReasonKinds
from wanctl.report.report_data import ReportData
from wanctl.report.summary_sections import quarantine


class Markup(HTMLParser):
    """Every element and the text of scripts."""

    def __init__(self, html):
        super().__init__()
        self.elements = []
        self.scripts = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._in_script = tag == "script"

    def handle_data(self, data):
        if getattr(self, "_in_script", False):
            self.scripts.append(data)
            self._in_script = False


def embedded(html, name):
    pattern = rf'<script type="application/json" id="{name}">(.*?)</script>'
    return json.loads(re.search(pattern, html, re.DOTALL)[1])


def test_file_names_stay_text(make):
    html = make().html
    page = Markup(html)
    assert [tag for tag, _ in page.elements].count("script") == 3
    assert "img" not in {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]
    sources = {clip["source"] for clip in embedded(html, "data")["clips"]}
    assert {f"/raw/{name}" for name in HOSTILE} <= sources


def test_only_the_pages_own_script_may_run(make):
    html = make().html
    page = Markup(html)
    policy = next(a["content"] for _, a in page.elements if "http-equiv" in a)
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_nothing_is_loaded_from_elsewhere(make):
    for tag, attributes in Markup(make().html).elements:
        assert "src" not in attributes, tag
        assert attributes.get("href", "#").startswith("#")
    assert "@import" not in make().html


def test_the_figures_are_those_of_the_set(make):
    made = make(clips=40)
    text = re.sub(r"<[^>]+>", " ", made.html)
    # 8 of 40 are loud, 4 copies, all of which are loud as well
    assert "32 of 40 clips kept" in " ".join(text.split())
    assert "3 kept and trimmed in time" in " ".join(text.split())
    loud = re.search(r'<tr><th scope="?row"?><a href="#filter-loud">.*?</tr>', made.html)[0]
    assert re.findall(r'<td class="n">([\d,]+)</td>', loud) == ["32", "8", "4"]
    assert "dB, allowed 60 &lt;dB&gt;" in loud


def test_the_page_states_what_bounds_10_percent_away_would_drop(make):
    made = make(clips=400)
    scores = made.report.decided.scores[:, 0]
    steps = re.search(r'<table class="steps">.*?</table>', made.html)
    assert steps
    lines = re.findall(r"<th scope=row>([\d.]+) dB.*?<td class=n>(\d+)</td>", steps[0])
    assert lines == [(f"{at}", f"{(scores >= at).sum()}") for at in (54, 66)]


def test_captions_labels_crops_and_evidence_reach_the_scripts(make):
    clips = embedded(make().html, "data")["clips"]
    assert clips[1]["captions"] == [["long", "vlm", "a <b>fox</b> jumps"]]
    assert clips[0]["labels"] == {"tier": "static"}
    assert clips[6]["crop"] == [0, 40, 640, 280]
    assert (clips[10]["span"], clips[10]["trimmed"]) == ([0.5, 1.25], "tier: a title")
    assert "span" not in clips[0]
    assert "crop" not in clips[0]
    assert "drawings" not in clips[0]
    assert clips[2]["drawings"] == [
        [0, [0, 0, 9, 0, 9, 9], "STOP", 0.0, 1.0],
        [0, [10, 20, 630, 20, 630, 90], "STOP", 1.0, 2.0],
        [0, [0, 0, 64, 0, 64, 36], "STOP", 1.0, 2.0],
    ]
    assert embedded(make().html, "data")["kinds"] == ["<b>text"]
    assert clips[6]["crops"] == [["loud", 0, 40, 640, 280]]
    assert clips[2]["words"] == {"tier": "STOP · <i>go"}
    assert clips[4]["reasons"] == [["loud", "65 dB, allowed 60 <dB>", 0]]


def test_overrides_are_listed_with_their_state_and_counted(make):
    made = make(clips=40)
    people = {
        f"{0:016x}": Override(keep=False, reason="<i>plain"),
        f"{4:016x}": Override(keep=True, reason="music"),
        "gone": Override(keep=True, reason="x"),
    }
    write_overrides(made.dataset.path, people)
    table = made.dataset.read("selections/default").to_pylist()
    # as `wanctl data select` would write the first two; the third came later
    table[0] |= {"kept": False, "override": "drop: <i>plain", "reasons": ["override: <i>plain"]}
    table[4] |= {"kept": True, "override": "keep: loud music"}
    made.dataset.write_part("selections/default", "", table)
    report = ReportData.of(made.dataset, "default", FILTERS)
    data = embedded(render_page(report, {}), "data")
    states = [(each["id"], each["state"]) for each in data["overrides"]]
    assert states == [(f"{0:016x}", "applied"), (f"{4:016x}", "pending"), ("gone", "unknown")]
    assert data["overrides"][0]["source"] == data["clips"][0]["source"]
    assert data["clips"][4]["override"] == "keep: loud music"
    assert "override" not in data["clips"][1]
    row = report.funnel[-1]
    assert (row.name, row.left, row.drops, row.alone, row.restores) == ("override", 32, 1, 1, 1)
    assert report.decided.first[4] == -1


def test_reasons_are_counted_by_kind():
    texts = ["ocr: covers 2.4%, allowed 2%", "ocr: covers 12%, allowed 2%",
             "mark: at (1, 2, 3, 4), (5, 6, 7, 8): drop", "mark: at (1, 2, 3, 4): drop",
             "copies: of 0123456789abcdef", "odd"]  # fmt: skip
    rows = [texts[:2], [], texts[2:5], texts[5:]]
    found = ReasonKinds.of(pa.chunked_array([rows], pa.list_(pa.string())))
    assert [(kind.filter_name, kind.text, kind.count) for kind in found.kinds] == [
        ("ocr", "covers …%, allowed …%", 2), ("mark", "at (…, …, …, …): drop", 2),
        ("copies", "of …", 1), ("odd", "", 1),
    ]  # fmt: skip
    assert [found.of_row(row) for row in range(4)] == [[0, 0], [], [1, 1, 2], [3]]
    assert found.of_filter("ocr")[0].example == "covers 2.4%, allowed 2%"


def test_a_failure_of_several_filters_is_one_line():
    html = quarantine(quarantine_rows())
    assert re.findall(r'<summary>(\w+) <span class="count">(\d+)<', html) == [
        ("error", "1"), ("timeout", "1"),
    ]  # fmt: skip
    assert "<td>loud, tier</td>" in html
    assert "cut &lt;off&gt;" in html


def test_the_same_set_gives_the_same_page(make):
    assert make().html == make().html


def test_an_empty_set_gives_a_page(make):
    html = make(clips=0).html
    assert embedded(html, "data")["clips"] == []
    assert "<b>0</b> of 0 clips kept" in html


def test_a_hundred_thousand_clips_fit(make):
    """Pictures larger than most real ones; the report takes 2 s of processor time."""
    picture = np.random.default_rng(0).bytes(30_000)
    made = make(clips=100_000, sources=900, picture=picture)
    assert len(made.html) < 15e6
    assert len(embedded(made.html, "thumbnails")) == min(300, MAX_THUMBNAIL_BYTES // 30_000)
    assert "300 of the 100,000 clips have a thumbnail in this file" in made.html
    started = time.process_time()
    render_page(ReportData.of(made.dataset, "default", FILTERS), {})
    assert time.process_time() - started < 15
