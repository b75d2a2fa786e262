"""Working with the report in a real browser: overrides, reasons, views."""

import json

import pytest
from report_set import make_report

from wanctl.curate.select.overrides import Override, read_overrides, write_overrides

pytestmark = pytest.mark.browser

CARDS = "#found .clip"
HOSTILE = "</script><img src=x onerror=window.hacked=1> why?"


@pytest.fixture
def made(make):
    return make(clips=120, sources=8)


@pytest.fixture
def page(browser, made):
    browser.errors.clear()
    browser.resize(1280, 900)
    browser.open(made.dataset.path / "report.html")
    yield browser
    browser.eval("localStorage.clear()")
    assert browser.errors == []


def text(page, selector):
    return page.eval(f"document.querySelector({selector!r}).textContent")


def choose(page, name, value):
    page.eval(
        f"form.{name}.value = {value!r};"
        f"form.{name}.dispatchEvent(new Event('input', {{bubbles: true}}))"
    )


def decide(page, index, what, why):
    page.eval(f"openPanel({index}, [{index}]); panel.querySelector('[name=reason]').focus()")
    page.type(why)
    page.click(f"#panel .decision .{what}")
    page.wait("panel.querySelector('.decision [aria-pressed=true]') !== null")
    page.press("Escape")


def test_a_decision_needs_a_reason_stays_in_the_browser_and_is_saved_as_a_file(page, made):
    page.eval("openPanel(4, [4])")
    page.click("#panel .decision .keep")
    assert text(page, "#panel [role=status]") == "Say why first."
    assert page.eval("document.activeElement.name") == "reason"
    page.press("Escape")
    decide(page, 4, "keep", HOSTILE)
    decide(page, 0, "drop", "too plain")
    page.reload()
    assert page.eval("typeof window.hacked") == "undefined"
    lines = page.eval("[...document.querySelectorAll('.overrides li')].map((li) => li.textContent)")
    assert len(lines) == 2
    assert HOSTILE in lines[1]
    assert "applies after the next select" in lines[0]
    choose(page, "show", "pending")
    assert text(page, "#count") == "2 clips"
    assert "a person decided: drop: too plain" in page.eval(
        f"document.querySelector('{CARDS}').getAttribute('aria-label')"
    )
    # the page writes the file as the program does
    written = page.eval("overridesFile()")
    (made.dataset.path / "overrides.json").write_text(written, encoding="utf-8")
    overrides = read_overrides(made.dataset.path)
    assert {name: each.text for name, each in overrides.items()} == {
        f"{4:016x}": f"keep: {HOSTILE}", f"{0:016x}": "drop: too plain",
    }  # fmt: skip
    write_overrides(made.dataset.path, overrides)
    assert (made.dataset.path / "overrides.json").read_text(encoding="utf-8") == written
    page.click("#override-discard")
    assert page.eval("allOverrides().length") == 0


def test_the_page_lists_the_file_and_takes_decisions_back(browser, tmp_path):
    people = {
        f"{1:016x}": Override(keep=False, reason="y"),
        "gone": Override(keep=True, reason="x"),
    }
    write_overrides(make_report(tmp_path, 20, 2).dataset.path, people)
    made = make_report(tmp_path, 20, 2)
    browser.errors.clear()
    browser.open(made.dataset.path / "report.html")
    try:
        lines = browser.eval(
            "[...document.querySelectorAll('.overrides li')].map((li) => li.textContent)"
        )
        assert "applies after the next select" in lines[0]
        assert "no such clip in this data set" in lines[1]
        browser.click(".overrides li:nth-child(1) button:last-child")
        assert json.loads(browser.eval("overridesFile()"))["overrides"] == [
            {"id": "gone", "keep": True, "reason": "x"}
        ]
    finally:
        browser.eval("localStorage.clear()")
    assert browser.errors == []


def test_reasons_are_searched_by_kind(page):
    kinds = page.eval("[...form.reason.options].map((each) => each.textContent)")
    assert kinds == ["any", "… dB, allowed … <dB> (24)", "seen before (12)"]
    choose(page, "show", "all")
    choose(page, "reason", "loud: … dB, allowed … <dB>")
    assert text(page, "#count") == "24 clips"
    assert "dB, allowed 60 <dB>" in text(page, f"{CARDS} .why")


def test_a_view_is_an_address_and_has_a_name(page):
    choose(page, "show", "by:loud")
    choose(page, "sort", "score:loud")
    page.click("#explorer button[name=order]")
    address = page.eval("location.hash")
    assert address == "#clips?show=by%3Aloud&sort=score%3Aloud&order=down"
    page.eval("viewName.focus()")
    page.type("loudest <b>first")
    page.press("Enter")
    assert text(page, "#view-list .chip:last-child button") == "loudest <b>first"
    first = text(page, f"{CARDS} .why")
    page.click("#view-list .chip button")  # reset
    assert page.eval("location.hash") == "#clips"
    assert text(page, "#count") == "96 clips"
    page.click("#view-list .chip button")
    assert page.eval("location.hash") == address
    assert text(page, f"{CARDS} .why") == first
    page.reload()
    assert text(page, "#count") == "24 clips"
    assert text(page, f"{CARDS} .why") == first
    assert page.eval("document.querySelector('.chip [aria-pressed=true]').textContent")
    # by keyboard: after a reload the browser scrolls to where the page was, sooner or later
    page.eval("document.querySelector('#view-list .chip:last-child button:last-child').focus()")
    page.press("Enter")
    assert page.eval("document.querySelectorAll('.chip').length") == 1


@pytest.mark.parametrize("query", ["show=nothing&label=%5B1", "show=by%3Aocr&sort=score%3Ax&q=1"])
def test_a_view_of_another_data_set_shows_what_this_one_has(page, query):
    page.eval(f"location.hash = '#clips?{query}'")
    page.wait("!location.hash.includes('nothing') && !location.hash.includes('ocr')")
    assert text(page, "#count") == "96 clips"
