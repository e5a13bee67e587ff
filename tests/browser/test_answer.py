"""The answer comes first, complete, at any width, without a script and on paper: real Chromium, studies of any size."""

from __future__ import annotations

import re

import pytest

from tests.browser.chrome import DRAWN
from tests.browser.synthetic import factorial_report, report

SIZES = [(2, 3), (5, 3), (12, 3), (2, 30), (5, 30), (12, 30)]
OVERFLOWS = "document.scrollingElement.scrollWidth > innerWidth"
OUTSIDE = """[...document.querySelectorAll('.answer text, .answer span, .answer figcaption, h1, .reasons dd')]
  .filter((part) => part.checkVisibility()).map((part) => part.getBoundingClientRect())
  .filter((box) => box.width && (box.left < -0.5 || box.right > innerWidth + 0.5)).length"""
CUT = """[...document.querySelectorAll('.part[open] figure[data-chart] svg')].filter((svg) => svg.checkVisibility())
  .flatMap((svg) => { const edge = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('text')].map((text) => [text.textContent, text.getBoundingClientRect()])
      .filter(([text, box]) => text.includes('…') || box.width && (box.right > edge.right + .5 ||
        box.left < edge.left - .5 || box.bottom > edge.bottom + .5 || box.top < edge.top - .5))
      .map(([text]) => [svg.closest('figure').dataset.chart, text]); })"""

HIDDEN = """[...document.querySelectorAll('.part[open] .scroll')]
  .filter((box) => box.checkVisibility() && !box.closest('.numbers') && box.scrollWidth > box.clientWidth + 1)
  .map((box) => box.querySelector('table').id)"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """(arms, seeds) -> the written page, made when it is first asked for."""
    made = {}

    def page(arms, seeds, **asked):
        key = (arms, seeds, *asked)
        if key not in made:
            made[key] = report(tmp_path_factory.mktemp("studies") / "study", arms, seeds, **asked)
        return made[key]

    return page


@pytest.mark.nightly
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]} arms, {size[1]} seeds")
def test_nothing_overflows_at_any_width_folded_or_not(browser, pages, size):
    file = pages(*size)
    for width in (500, 1280):
        with browser.page(width=width) as tab:
            tab.open(file, ready=DRAWN)
            assert not tab.js(OVERFLOWS) and tab.js(OUTSIDE) == 0, width
            tab.unfold()
            assert not tab.js(OVERFLOWS) and tab.js(CUT) == tab.js(HIDDEN) == [], width
            assert tab.errors() == []


def test_charts_are_whole_after_the_window_has_become_narrow(browser, pages):
    with browser.page(width=1280) as tab:
        tab.open(pages(5, 3), ready=DRAWN)
        tab.unfold()
        tab.call("Emulation.setDeviceMetricsOverride", width=390, height=900, deviceScaleFactor=1, mobile=False)
        tab.wait("document.querySelector('[data-chart=ranking] svg').viewBox.baseVal.width < 400")
        tab.wait(f"{CUT}.length === 0")
        below = "[...document.querySelectorAll('.part[open] figure[data-chart] svg')].every((svg) => "
        below += "svg.getBoundingClientRect().bottom <= svg.closest('figure').getBoundingClientRect().bottom + .5)"
        assert tab.js(below) and not tab.js(OVERFLOWS)


@pytest.mark.parametrize("size", [(2, 3), (12, 30)], ids=["small", "large"])
def test_every_seed_and_every_pair_is_drawn_before_any_script_has_run(pages, size):
    arms, seeds = size
    html = pages(*size).read_text(encoding="utf-8")
    body = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert body.count('<circle class="seed"') == arms * seeds
    assert body.count('<circle class="gap"') == (1 if arms == 2 else 40)  # of 66 pairs those that are decided first
    assert body.index("<h1") < body.index('id="every-seed"') < body.index('id="every-pair"') < body.index('id="trust"')


def test_the_first_screen_has_the_sentence_and_every_seed(browser, pages):
    with browser.page(width=1280, height=900) as tab:
        tab.open(pages(5, 3))
        assert tab.js("document.querySelector('#every-seed').getBoundingClientRect().bottom < innerHeight")
        assert tab.shown("details.part[open]") == []


def test_names_are_those_of_the_papers(browser, pages):
    with browser.page() as tab:
        tab.open(pages(5, 3), ready=DRAWN)
        named = [name.replace("\u00a0", " ") for name in tab.shown("#every-seed strong")]
        assert sorted(named) == ["Dr. GRPO", "GRPO", "PPO-max", "REINFORCE++", "RLOO"]


def test_without_a_declared_gap_there_is_no_zone_and_the_page_says_so(browser, pages):
    with browser.page() as tab:
        tab.open(pages(2, 5, smallest=None), ready=DRAWN)
        assert tab.js("document.querySelectorAll('.zone').length") == 0
        assert "None was declared: no arms are called equal." in tab.shown(".reasons dd")


def test_only_the_declared_contrasts_are_rows(browser, pages):
    with browser.page() as tab:
        tab.open(pages(5, 5, contrasts=[["dr_grpo", "grpo"], ["rloo", "ppo_max"]]), ready=DRAWN)
        assert len(tab.shown("#every-pair .who")) == 2
        assert tab.shown("#every-pair figcaption")[0].startswith("The pairs that were asked for")


def test_on_paper_every_part_is_open_and_every_chart_is_there(browser, pages, tmp_path):
    with browser.page(width=718) as tab:  # of A4 within its margins
        tab.open(pages(12, 3), ready=DRAWN)
        tab.js(
            "window.addEventListener('afterprint', () => { window.empty = "
            "[...document.querySelectorAll('figure[data-chart]:not(.none)')]"
            ".filter((one) => !one.querySelector('svg')).length; })"
        )
        tab.pdf(tmp_path / "page.pdf")
        tab.wait("window.empty !== undefined")
        assert tab.js("window.empty") == 0 and tab.js("document.querySelectorAll('figure[data-chart]').length") > 8
        assert tab.errors() == []
        tab.unfold()
        tab.prefer(media="print")
        assert tab.js(HIDDEN) == [] and not tab.js(OVERFLOWS)  # paper cannot be scrolled


def test_three_seeds_have_no_interquartile_mean(browser, pages):
    with browser.page() as tab:
        tab.open(pages(5, 3), ready=DRAWN)
        assert "IQM" not in tab.js("document.body.textContent.split('How to read')[0]")
    with browser.page() as tab:
        tab.open(pages(2, 30), ready=DRAWN)
        assert "IQM" in tab.js("document.querySelector('#results').textContent")


def test_no_table_has_an_empty_column(browser, pages):
    with browser.page() as tab:
        tab.open(pages(5, 3), ready=DRAWN)
        empty = tab.js(
            """[...document.querySelectorAll('table')].flatMap((table) => [...table.tHead.rows[0].cells].map((_, i) =>
              [...table.tBodies[0].rows].every((row) => ['', '–'].includes(row.cells[i].textContent.trim()))
                ? `${table.id} ${i}` : '')).filter(Boolean)"""
        )
        assert empty == []


def test_a_link_to_a_folded_part_opens_it(browser, pages):
    with browser.page() as tab:
        tab.open(pages(2, 3), ready=DRAWN)
        tab.click('a[href="#comparability"]')
        tab.wait("document.getElementById('comparability').open")


def test_the_footer_names_figures_only_where_they_were_written(pages):
    html = pages(2, 3).read_text(encoding="utf-8")
    assert "<code>compare --figures</code> writes its figures as SVG and PNG.</p>" in html
    assert "in the folder report/" not in html


def test_a_study_of_factors_answers_by_choice_before_its_cells(browser, tmp_path):
    file = factorial_report(tmp_path / "study")
    html = re.sub(r"<script.*?</script>", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert html.index("<h1") < html.index('id="every-level"') < html.index('id="table-factor_sources"')
    assert html.index('id="table-factor_sources"') < html.index('id="every-seed"') and 'id="every-pair"' not in html
    for width in (500, 1280):
        with browser.page(width=width) as tab:
            tab.open(file, ready=DRAWN)
            assert tab.shown("h1")[0].startswith("Of four choices kl alone is shown to matter (0.8")
            named = tab.shown("#every-level .choice .who")
            assert sorted(named) == ["aggregation", "baseline", "kl", "normalization"] and named[0] == "kl"
            assert (
                len(tab.shown("#every-level .level .who")) == 15 and len(tab.shown("#every-level .better.level")) == 1
            )
            assert tab.shown("#every-level .better.choice .said")[0].startswith("matters (p < ")
            assert tab.shown("#every-level .better.level .said")[0].startswith("+0.28")
            assert "interactions (mixed)" in tab.shown("#table-factor_sources tbody th")
            assert tab.js("document.body.textContent.includes('Main effects are clear of each other, but not of')")
            assert not tab.js(OVERFLOWS) and tab.js(OUTSIDE) == 0
            tab.unfold()
            assert len(tab.shown("#table-factor_levels tbody tr")) == 15 and not tab.js(OVERFLOWS)
            assert tab.errors() == []
