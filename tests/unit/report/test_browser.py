"""The report in a real browser: it shows, plays, searches and opens clips without an error."""

import pytest

pytestmark = pytest.mark.browser

CARDS = "#found .clip"
PLAYING = "document.getAnimations().filter((each) => each.animationName === 'play').length"


@pytest.fixture
def page(browser, make):
    browser.errors.clear()
    browser.resize(1280, 900)
    browser.theme("light")
    browser.open(make(clips=120, sources=8).dataset.path / "report.html")
    yield browser
    browser.eval("localStorage.clear()")
    assert browser.errors == []


def count(page, selector):
    return page.eval(f"document.querySelectorAll({selector!r}).length")


def text(page, selector):
    return page.eval(f"document.querySelector({selector!r}).textContent")


def choose(page, name, value):
    page.eval(
        f"form.{name}.value = {value!r};"
        f"form.{name}.dispatchEvent(new Event('input', {{bubbles: true}}))"
    )


def test_nothing_in_a_file_name_runs(page):
    page.eval("document.querySelectorAll('[data-clips], .line').forEach((each) => each.fill())")
    page.wait(f"document.querySelectorAll({CARDS!r}).length > 20")
    assert page.eval("typeof window.hacked") == "undefined"
    assert count(page, "img, main svg[onload]") == 0


def test_markup_that_enters_the_page_cannot_run_scripts(page):
    page.eval(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked = 1\">')"
    )
    page.wait("document.querySelector('img').complete")
    assert page.eval("typeof window.hacked") == "undefined"
    assert any("Content Security Policy" in each for each in page.errors)
    page.errors.clear()


def test_sheets_fill_as_they_come_into_view(page):
    sheet = "#filter-loud .near .sheet"
    assert count(page, f"{sheet} .clip") == 0
    page.eval(f"document.querySelector({sheet!r}).scrollIntoView({{behavior: 'instant'}})")
    page.wait(f"document.querySelectorAll('{sheet} .clip').length === 6")
    assert text(page, f"{sheet} .why") == "59.5 dB"


def test_a_clip_plays_under_the_mouse_and_with_the_focus(page):
    assert page.eval(PLAYING) == 0
    page.hover(f"{CARDS}:nth-child(3)")
    page.wait(f"{PLAYING} === 1")
    page.hover("h1")
    page.wait(f"{PLAYING} === 0")
    page.eval(f"document.querySelector({CARDS!r}).focus({{focusVisible: true}})")
    page.wait(f"{PLAYING} === 1")


def test_thumbnails_are_decoded(page):
    shown = (
        "new Promise((done) => { const image = new Image(); image.onload = () =>"
        " done([image.width, image.height]); image.onerror = () => done(null);"
        " image.src = spriteUrl(0); })"
    )
    assert page.eval(shown) == [12 * 64, 36]


def test_a_click_opens_the_metadata_and_arrows_move_on(page):
    page.click(f"{CARDS}:nth-child(2)")
    page.wait("panel.open")
    known = text(page, "#panel")
    for part in ("a <b>fox</b> jumps", "loud", "dB", "640×360", "tier: medium", "kept"):
        assert part in known
    before = text(page, "#panel .facts")
    page.press("ArrowRight")
    page.wait(f"document.querySelector('#panel .facts').textContent !== {before!r}")
    page.press("Escape")
    page.wait("!panel.open")


FOCUS = "document.activeElement"


@pytest.mark.parametrize("key", ["Enter", " "])
def test_the_keyboard_opens_moves_and_closes_and_the_focus_follows(page, key):
    page.eval(f"document.querySelector('{CARDS}:nth-child(2)').focus()")
    page.press(key)
    page.wait("panel.open")
    assert page.eval(f"{FOCUS}.id") == "panel-title"
    first = page.eval("shown.index")
    page.press("ArrowRight")
    page.press("ArrowRight")
    page.press("ArrowLeft")
    page.wait(f"shown.index !== {first}")
    assert page.eval(f"panel.contains({FOCUS})")
    page.press("Escape")
    # on the card of the clip that was shown last
    page.wait(f"!panel.open && {FOCUS} === document.querySelector('{CARDS}:nth-child(3)')")


def test_a_button_that_moves_on_keeps_the_focus(page):
    page.click(f"{CARDS}:nth-child(2)")
    page.eval("panel.querySelector('[data-keep=\"next clip\"]').focus()")
    for _ in range(3):
        page.press("Enter")
    assert page.eval(f"{FOCUS}.dataset.keep") == "next clip"
    page.press("ArrowLeft")
    assert page.eval("shown.list.indexOf(shown.index)") == 3
    page.press("Escape")


def test_every_control_has_a_name(page):
    page.eval("openPanel(2, [1, 2, 3])")
    nameless = (
        "[...document.querySelectorAll('button, input, select, a')].filter((each) =>"
        " !(each.getAttribute('aria-label') || each.textContent.trim() || each.labels?.length))"
        ".map((each) => each.outerHTML)"
    )
    assert page.eval(nameless) == []
    name = page.eval(f"document.querySelector('{CARDS}:nth-child(2)').getAttribute('aria-label')")
    assert " at 0:00, kept" in name


def test_search_filter_and_order(page):
    choose(page, "show", "by:loud")
    assert text(page, "#count") == "24 clips"
    choose(page, "sort", "score:loud")
    first = float(text(page, f"{CARDS} .why").split()[0])
    page.click("#explorer button[name=order]")
    assert float(text(page, f"{CARDS} .why").split()[0]) > first
    choose(page, "show", "all")
    choose(page, "label", '["tier","static"]')
    assert text(page, "#count") == "40 clips"
    choose(page, "label", "")
    page.click("#explorer input")
    page.type("fox jumps")
    page.wait("document.querySelector('#count').textContent === '1 clip'")


def share_of_film(page, selector):
    """[left, top, width, height] of an element as shares of the picture in the dialog."""
    return page.eval(
        "((film, box) => [(box.left - film.left) / film.width, (box.top - film.top) / film.height,"
        " box.width / film.width, box.height / film.height])"
        f"(...['.stage .film', {selector!r}].map((each) =>"
        " document.querySelector(each).getBoundingClientRect()))"
    )


def test_a_crop_is_drawn_where_it_is(page):
    page.eval("openPanel(6, [6])")
    crop = pytest.approx([0, 40 / 360, 1, 280 / 360], abs=0.01)
    assert share_of_film(page, ".stage .crop") == crop
    assert share_of_film(page, ".stage .single") == crop
    assert share_of_film(page, ".stage .cut") == pytest.approx([0, 0, 1, 1], abs=0.01)
    assert "loud: 640×280 at 0, 40" in text(page, "#panel .facts")


def test_what_filters_found_is_drawn_when_it_is_there(page):
    page.eval("openPanel(2, [2]); pause(); showFrame(1)")
    assert count(page, ".stage .found") == 3
    seen = ".stage .found:not(.off)"
    assert share_of_film(page, seen) == pytest.approx([0, 0, 9 / 640, 9 / 360], abs=0.01)
    assert text(page, ".stage text:not(.off)") == "STOP"
    page.eval("showFrame(8)")
    assert count(page, seen) == 2
    box = pytest.approx([10 / 640, 20 / 360, 620 / 640, 70 / 360], abs=0.01)
    assert share_of_film(page, seen) == box


def test_a_switch_hides_a_kind_everywhere(page):
    page.eval("openPanel(2, [2]); pause()")
    shown = "getComputedStyle(document.querySelector('.stage .found:not(.off)')).display"
    assert page.eval(shown) != "none"
    page.click("#panel input[name=draw-0]")
    assert page.eval(shown) == "none"
    assert page.eval("[...document.getElementsByName('draw-0')].some((each) => each.checked)") is (
        False
    )
    page.press("ArrowRight")  # a checkbox does not keep the arrows to itself
    page.reload()
    assert page.eval("document.getElementsByName('draw-0')[0].checked") is False


def test_the_timeline_of_a_source_shows_its_clips(page):
    page.eval("document.querySelector('#sources').scrollIntoView({behavior: 'instant'})")
    page.wait("document.querySelectorAll('.line button').length > 100")
    assert count(page, ".timeline") == 8
    page.hover(".line button:nth-child(4)")
    page.wait("!document.querySelector('#peek').hidden")
    page.click(".line button:nth-child(4)")
    page.wait("panel.open")


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_the_page_does_not_scroll_sideways(page, width):
    page.resize(width, 800, phone=width < 500)
    page.eval("document.querySelectorAll('[data-clips], .line').forEach((each) => each.fill())")
    assert page.eval("document.documentElement.scrollWidth") <= width
    inside = (
        "[...document.querySelectorAll('main *')].filter((each) => each.checkVisibility()"
        " && each.scrollWidth > each.clientWidth + 1 && each.clientWidth"
        " && ['auto', 'scroll'].includes(getComputedStyle(each).overflowX)"
        " && each.tagName !== 'PRE').map((each) => each.outerHTML.slice(0, 80))"
    )
    assert page.eval(inside) == []
    page.eval("openPanel(2, [1, 2, 3])")
    assert page.eval("panel.scrollWidth") <= width


def test_the_theme_follows_the_system_and_the_button(page):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.eval(paper)
    page.theme("dark")
    dark = page.eval(paper)
    assert light != dark
    page.click("#theme")
    assert page.eval(paper) == light
