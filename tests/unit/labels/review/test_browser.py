"""The review page in a real browser, by keyboard: watch, filter, edit, save, undo."""

import pytest
from chromium import Page
from review_client import running
from review_set import HOSTILE, MARKUP, VARIANTS, clip_name, make_set

from wanctl.data.captions import read_captions, read_decisions

pytestmark = pytest.mark.browser

LONG, POEM, CHINESE = VARIANTS
CARD = "document.querySelector('.caption.current')"


@pytest.fixture(scope="module")
def browser():
    with Page() as page:
        yield page


@pytest.fixture
def page(browser, client):
    browser.resize(1280, 900)
    browser.theme("light")
    visit(browser, client)
    yield browser
    assert browser.errors == []


def visit(page, client):
    page.call("Page.navigate", url="about:blank")  # the page before would miss its cookie
    page.wait("location.protocol === 'about:'")
    page.call("Network.clearBrowserCookies")
    page.errors.clear()
    page.visit(client.server.url)
    page.wait("document.body.dataset.ready === 'true'")


def text(page, selector):
    return page.eval(f"document.querySelector({selector!r}).textContent")


def at_place(page, number, total):
    page.wait(f"document.querySelector('#place').textContent === 'clip {number} of {total}'")


def reviewed(page, count):
    page.wait(f"document.querySelector('#reviewed').textContent === '{count}'")


def test_two_hundred_clips_by_keyboard(browser, tmp_path):
    """Every clip is accepted; flagged captions are edited, rejected and accepted in turn."""
    dataset = make_set(tmp_path, 201, 5)
    with running(dataset) as client:
        visit(browser, client)
        for place in range(200):
            at_place(browser, place + 1, 200)
            if flagged := (place + (place > 0)) % 3 == 2:  # clip 1 is not kept
                before = browser.eval(f"{CARD}.className")
                assert "flagged" in before
                which = place % 9 // 3
                count = text(browser, "#reviewed")
                if which == 0:
                    browser.press("e")
                    browser.wait("document.activeElement.matches('textarea')")
                    browser.eval("document.activeElement.select()")
                    browser.type(f"edited {place}")
                    browser.press("Enter", ctrl=True)
                else:
                    browser.press("r" if which == 1 else "a")
                browser.wait(f"document.querySelector('#reviewed').textContent !== {count!r}")
            assert flagged or "flagged" not in browser.eval(f"{CARD}.className")
            browser.press("A")
        browser.wait("document.querySelector('#left').textContent === '0'")
        browser.wait("document.querySelector('#toast').textContent.includes('last clip')")
        # the footage of one source is gone
        assert all("404" in each and "/video/" in each for each in browser.errors)
    decisions = read_decisions(dataset)
    poems = [each[POEM].text for clip, each in decisions.items() if int(clip, 16) % 3 == 2]
    assert sum(each.startswith("edited") for each in poems) > 15
    assert sum(not each for each in poems) > 15
    assert sum(len(each) for each in decisions.values()) == 800
    used = read_captions(dataset, ["vlm", "template"])
    assert len(used) == 201
    assert all(each.backend == "review" for clip, several in used.items() for each in several
               if clip != clip_name(1))  # fmt: skip


def test_nothing_in_captions_and_file_names_runs(page):
    assert text(page, "#name") == HOSTILE
    assert text(page, ".caption .text") == MARKUP
    assert MARKUP in text(page, "#structure")
    assert (
        page.eval("document.querySelectorAll('main script, main img, main b[onmouseover]').length")
        == 0
    )
    assert page.eval("typeof window.hacked") == "undefined"
    page.press("e")
    page.wait("document.activeElement.matches('textarea')")
    page.eval("document.activeElement.select()")
    page.type("<svg onload=window.hacked=1>")
    page.press("Enter", ctrl=True)
    reviewed(page, 1)
    assert "<svg onload" in text(page, ".caption.edited .text")
    assert page.eval("typeof window.hacked") == "undefined"


def test_markup_that_enters_the_page_cannot_run_scripts(page):
    page.eval(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked = 1\">')"
    )
    page.wait("document.querySelector('body > img').complete")
    assert page.eval("typeof window.hacked") == "undefined"
    assert any("Content Security Policy" in each for each in page.errors)
    page.errors.clear()


def test_the_token_is_not_in_the_address(page):
    assert page.eval("location.search") == ""
    assert page.eval("document.cookie") == ""


def test_a_clip_plays_and_stops(page):
    page.wait("document.querySelector('video').currentTime > 0")
    page.press(" ")
    page.wait("document.querySelector('video').paused")
    before = page.eval("document.querySelector('video').currentTime")
    page.press(".")
    page.wait(f"document.querySelector('video').currentTime !== {before}")
    page.press(" ")
    page.wait("!document.querySelector('video').paused")


def test_a_clip_without_footage_says_so(page, client):
    page.press("n")
    page.press("n")
    at_place(page, 3, 5)
    page.wait("document.querySelector('#notice').textContent.includes('cannot be played')")
    page.press("a")
    reviewed(page, 1)
    assert client.get(f"/api/clip?id={clip_name(3)}")["captions"][0]["decision"]
    assert all("404" in each for each in page.errors)  # the video itself
    page.errors.clear()


def test_keys_move_edit_undo_and_save(page, dataset):
    page.press("j")
    page.press("ArrowDown")
    page.press("k")
    assert text(page, ".current h3") == "short · poetic · English"
    page.press("e")
    page.wait("document.activeElement.matches('textarea')")
    page.type(" and more")
    page.press("Escape")
    assert text(page, ".current .text") == f"clip 0 as {POEM}"
    page.press("r")
    reviewed(page, 1)
    assert text(page, ".rejected h3") == "short · poetic · English"
    assert read_decisions(dataset)[clip_name(0)][POEM].text == ""
    page.press("u")
    reviewed(page, 0)
    assert text(page, ".current h3") == "short · poetic · English"
    assert read_decisions(dataset) == {}
    page.press("?")
    page.wait("document.querySelector('dialog').open")
    page.press("Escape")
    page.wait("!document.querySelector('dialog').open")
    page.press("f")
    at_place(page, 2, 5)
    assert "camera the camera stands still" in text(page, ".current .reasons")


def test_a_changed_text_is_not_thrown_away(page):
    page.press("e")
    page.wait("document.activeElement.matches('textarea')")
    page.type(" and more")
    page.click("#list li:nth-child(3) button")
    page.wait("!document.querySelector('#toast').hidden")
    assert "unsaved" in text(page, "#toast")
    assert page.eval("document.querySelector('textarea').value").endswith(" and more")
    at_place(page, 1, 5)
    page.eval("document.querySelector('textarea').focus()")
    page.press("Escape")


def test_another_window_is_not_overwritten(page, client, dataset):
    client.decide("edit", (clip_name(0), LONG, None, "theirs"))
    page.press("e")
    page.wait("document.activeElement.matches('textarea')")
    page.type(" mine")
    page.press("Enter", ctrl=True)
    page.wait("document.querySelector('#toast').textContent.includes('Another window')")
    assert read_decisions(dataset)[clip_name(0)][LONG].text == "theirs"
    assert page.eval("document.querySelector('textarea').value").endswith(" mine")
    page.press("Escape")
    assert text(page, ".caption.edited .text") == "theirs"
    assert all("409" in each for each in page.errors)
    page.errors.clear()


def test_filters(page):
    page.press("/")
    page.type("clip 4")
    page.wait("document.querySelector('#found').textContent === '1 clip'")
    assert page.eval("document.activeElement.id") == "search"
    page.press("Enter")
    at_place(page, 1, 1)
    page.click("#clear")
    page.wait("document.querySelector('#found').textContent === '5 clips'")
    page.click("#more summary")
    for name, value, found in (("check", "length", 2), ("variant", POEM, 2), ("check", "", 5)):
        page.eval(
            f"filters = document.querySelector('#filters'); filters.{name}.value = {value!r};"
            f"filters.{name}.dispatchEvent(new Event('input', {{bubbles: true}}))"
        )
        page.wait(f"document.querySelector('#found').textContent === '{found} clips'")
    page.eval("filters.state.value = 'rejected';"
              "filters.state.dispatchEvent(new Event('input', {bubbles: true}))")  # fmt: skip
    page.wait("!document.querySelector('#empty').hidden")
    assert text(page, "#empty") == "No clip fits these filters."


@pytest.mark.parametrize("width", [360, 390, 768, 1024, 1280])
def test_the_page_does_not_scroll_sideways(page, width):
    page.resize(width, 800, phone=width < 500)
    assert page.eval("document.documentElement.scrollWidth") <= width
    page.press("e")
    page.wait("document.activeElement.matches('textarea')")
    assert page.eval("document.documentElement.scrollWidth") <= width
    page.press("Escape")


def test_a_phone_has_the_list_in_a_drawer(page):
    page.resize(390, 844, phone=True)
    assert page.eval("getComputedStyle(document.querySelector('#side')).display") == "none"
    page.click("#drawer")
    assert page.eval("getComputedStyle(document.querySelector('#side')).display") == "flex"
    page.click("#list li:nth-child(2) button")
    at_place(page, 2, 5)
    assert page.eval("getComputedStyle(document.querySelector('#side')).display") == "none"
    page.click("footer [data-do=accept]")
    reviewed(page, 1)


def test_the_theme_follows_the_system(page):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.eval(paper)
    page.theme("dark")
    assert page.eval(paper) != light
