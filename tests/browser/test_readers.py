"""The page for every reader, in a real Chromium: phone, dark mode, keyboard, screen reader, paper."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.browser.chrome import DRAWN

NO_CHART = "No chart for this choice"  # of what decides: the answer is that figure


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_page_does_not_scroll_sideways(browser, report, width):
    with browser.page(width=width, height=700) as tab:
        tab.open(report, ready=DRAWN)
        tab.unfold()
        tab.js("document.querySelectorAll('details').forEach(details => details.open = true)")
        assert tab.js("document.documentElement.scrollWidth") == width
        boxes = "[...document.querySelectorAll('.scroll')].filter(e => e.checkVisibility())"
        assert tab.js(f"{boxes}.every(box => box.getBoundingClientRect().right <= innerWidth)")
        cut = f"{boxes}.filter(box => !box.closest('.numbers') && box.scrollWidth > box.clientWidth + 1).length"
        assert width > 640 or tab.js(cut) == 0  # rows are cards there


CONTRAST = """(() => {
  const parse = color => (color.match(/[\\d.]+/g) || []).map(Number);
  const light = rgb => rgb.slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
  const bad = [];
  let seen = 0;
  for (const e of document.body.querySelectorAll('*')) {
    if (!e.checkVisibility() || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    if (e.closest('script, style, noscript, option')) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(parse(e instanceof SVGElement ? style.fill : style.color)), light(behind(e))];
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    seen += 1;
    if (contrast < 4.5) bad.push([e.tagName, e.textContent.slice(0, 30), contrast]);
  }
  return {seen, bad};
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast(browser, report, scheme):
    with browser.page(media={"color_scheme": scheme}) as tab:
        tab.open(report, ready=DRAWN)
        tab.unfold()
        tab.js("document.querySelectorAll('details').forEach(details => details.open = true)")
        result = tab.js(CONTRAST)
        assert result["bad"] == [] and result["seen"] > 500


def test_charts_follow_the_color_scheme_without_being_drawn_again(page):
    read = "getComputedStyle(document.querySelector('[data-chart=ranking] svg text')).fill"
    light = page.js(read)
    page.js("window.drawn = document.querySelector('[data-chart=ranking] svg')")
    page.prefer(color_scheme="dark")
    assert page.js(read) != light and page.js("window.drawn === document.querySelector('[data-chart=ranking] svg')")


def test_the_keyboard_reaches_every_control(page):
    reached, seen = (
        [],
        "(e => e && e !== document.body ? [e.tagName, e.id || e.value || e.innerText.slice(0, 40), "
        "getComputedStyle(e).outlineStyle] : null)(document.activeElement)",
    )
    for _ in range(200):
        page.press("Tab", code=9)
        if (focus := page.js(seen)) is None:
            break
        reached.append(focus)
    assert reached[0][1] == "Skip to the results"
    kinds = [tag for tag, _, _ in reached]
    selector = "a[href], button, select, input, summary, .scroll"
    controls = f"[...document.querySelectorAll('{selector}')].filter(e => e.checkVisibility()).length"
    assert len(reached) >= page.js(controls)
    assert {"INPUT", "SELECT", "BUTTON", "SUMMARY", "A", "DIV"} <= set(kinds)
    assert {name for _, name, outline in reached if outline == "none"} == set()


def test_the_space_bar_filters_an_arm(page):
    page.js("document.querySelector('input[name=arm]').focus()")
    page.press(" ", code=32, text=" ")
    page.wait("document.getElementById('shown').value === '4 of 5 shown'")
    assert "PPO-max" not in page.shown("#table-charged tbody th")


def test_a_screen_reader_finds_names_for_everything(still):
    assert still.js("document.documentElement.lang") == "en"
    assert still.js("document.querySelectorAll('h1').length") == 1
    levels = still.js("[...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))")
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert still.js(
        "[...document.querySelectorAll('select, input')].every(e => e.labels.length && e.labels[0].innerText.trim())"
    )
    assert still.js(
        "[...document.querySelectorAll('table')].every(t => t.caption && "
        "[...t.querySelectorAll('th')].every(h => h.scope))"
    )
    labels = still.js("[...document.querySelectorAll('[role=img]')].map(e => e.ariaLabel)")
    assert len(labels) == 12 and labels.count(NO_CHART) == 1
    assert all((len(label) > 30 or label == NO_CHART) and "JavaScript" not in label for label in labels)
    assert still.js(
        "[...document.querySelectorAll('[id]')].length === new "
        "Set([...document.querySelectorAll('[id]')].map(e => e.id)).size"
    )
    assert still.js(
        "[...document.querySelectorAll('[aria-labelledby]')].every(e => "
        "document.getElementById(e.getAttribute('aria-labelledby')))"
    )


def test_paper_is_white_and_without_controls(page, tmp_path):
    page.prefer(media="print", color_scheme="dark")
    assert page.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.shown("nav, button, .numbers summary") == [] and page.shown(".legend")
    page.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF") and (tmp_path / "page.pdf").stat().st_size > 50_000


def test_nothing_moves_for_readers_who_want_rest(page):
    read = "getComputedStyle(document.documentElement).scrollBehavior"
    assert page.js(read) == "smooth"
    page.prefer(reduced_motion="reduce")
    assert page.js(read) == "auto"
