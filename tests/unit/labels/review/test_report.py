"""The review server shows the curation report, whose decisions it stores at once."""

import json
import shutil

import pytest
from chromium import Page
from report_set import make_report
from review_client import running
from review_set import clip_name

from wanctl.curate.select.overrides import FILE, read_overrides
from wanctl.report.page import TOKEN


def override(client, clip, keep, reason, **headers):
    """(status, JSON) of a decision."""
    body = {"id": clip, "keep": keep, "reason": reason}
    status, _, data = client.ask("POST", "/api/overrides", body, **headers)
    return status, json.loads(data)


def test_decisions_are_in_the_file_at_once(client, dataset):
    assert client.get("/api/overrides") == {"overrides": []}
    assert override(client, clip_name(1), False, " a black\n frame")[0] == 200
    status, answer = override(client, clip_name(0), True, "<b>good")
    assert status == 200
    assert client.get("/api/overrides") == answer
    stored = read_overrides(dataset.path)
    assert {name: each.text for name, each in stored.items()} == {
        clip_name(0): "keep: <b>good", clip_name(1): "drop: a black frame",
    }  # fmt: skip
    assert all(each.time for each in stored.values())
    override(client, clip_name(1), None, "")
    override(client, clip_name(0), None, "")
    assert not (dataset.path / FILE).exists()


@pytest.mark.parametrize(
    ("clip", "keep", "reason", "status", "why"),
    [
        ("nobody", True, "x", 404, "no clip 'nobody' in this data set"),
        (clip_name(0), True, " ", 400, "`reason` is missing"),
        (clip_name(0), True, "x" * 301, 400, "at most 300"),
        (clip_name(0), "yes", "x", 400, "true, false or null"),
        (clip_name(0), True, None, 400, "`reason` is missing"),
    ],
)
def test_what_is_no_decision_is_refused(client, dataset, clip, keep, reason, status, why):
    answer = override(client, clip, keep, reason)
    assert answer[0] == status
    assert why in answer[1]["error"]
    assert not (dataset.path / FILE).exists()


def test_other_sites_can_neither_read_nor_decide(client):
    assert override(client, clip_name(0), True, "x", X_Review_Token="wrong")[0] == 403
    assert client.ask("GET", "/report", Cookie=None)[0] == 403
    assert client.ask("GET", "/api/overrides", Cookie=None)[0] == 403


def test_the_report_gets_the_token_and_a_set_without_captions_is_shown_too(client, dataset):
    assert client.ask("GET", "/report")[0] == 404
    (dataset.path / "report.html").write_text(f"<head>{TOKEN}</head>{TOKEN}", encoding="utf-8")
    status, headers, body = client.ask("GET", "/report")
    assert status == 200
    assert body.decode().count(client.token) == 1
    assert "connect-src 'self'" in headers["Content-Security-Policy"]


def test_a_set_without_captions_opens_with_its_report(dataset):
    for kind in ("captions", "caption_flags"):
        shutil.rmtree(dataset.path / kind)
    (dataset.path / "report.html").write_text("the report", encoding="utf-8")
    with running(dataset) as client:
        assert client.ask("GET", "/")[2] == b"the report"


@pytest.mark.browser
def test_the_page_stores_decisions_on_the_server(tmp_path):
    made = make_report(tmp_path, 20, 2)
    with running(made.dataset) as client, Page() as page:
        page.visit(client.server.url)
        page.visit(client.server.url.partition("?")[0] + "report")
        page.wait("document.querySelectorAll('#found .clip').length > 5")
        page.eval("openPanel(3, [3]); panel.querySelector('[name=reason]').focus()")
        page.type("too dark")
        page.click("#panel .decision .drop")
        page.wait("panel.querySelector('.decision .drop[aria-pressed=true]') !== null")
        assert read_overrides(made.dataset.path)[f"{3:016x}"].text == "drop: too dark"
        page.reload()
        page.wait("document.querySelectorAll('.overrides li').length === 1")
        assert page.eval("document.querySelector('#override-tools').hidden")
        page.click(".overrides li button:last-child")
        page.wait("document.querySelectorAll('.overrides li').length === 0")
        assert not (made.dataset.path / FILE).exists()
        assert page.errors == []
