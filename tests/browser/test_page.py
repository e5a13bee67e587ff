"""The page in a real Chromium: charts are drawn, nothing is asked of the network, filters work, text stays text."""

from __future__ import annotations

import json

import pytest

from align_lab.compare.report import write
from tests.browser.chrome import DRAWN
from tests.browser.example import bare, document, renamed
from tests.browser.example_parts import ARMS, HOSTILE, TITLES

EVIL = "</script><img src=x onerror=\"document.title='owned'\">"


def test_every_chart_is_drawn(still):
    charts = still.js("[...document.querySelectorAll('figure[data-chart]')].map(figure => figure.dataset.chart)")
    assert len(charts) == 12
    empty = {chart for chart in charts if still.marks(chart) < 5}
    assert empty == {"scores/{final}"} and not still.shown("figure.none")  # of what decides the answer is the figure


def test_a_chart_draws_what_its_data_holds(page):
    counts = [arm["n"] for arm in document()["arms"]]
    with_iqm = sum(n >= 5 for n in counts)
    page.choose("final", "eval/score")
    page.wait("document.querySelector('[data-chart=\"scores/{final}\"] svg')")
    assert page.marks("scores/{final}") == 1 + sum(counts) + 2 * len(counts) + 2 * with_iqm  # 1: the start


def test_the_page_asks_for_nothing_but_itself(still, report):
    assert still.requests() == [report.as_uri()]


def test_the_verdict_comes_first(still):
    sentence = document()["verdict"]["sentence"]
    for name in sorted(TITLES, key=len, reverse=True):
        sentence = sentence.replace(name, TITLES[name])
    assert still.shown(".verdict") == [sentence]
    assert still.js("document.querySelector('.verdict').getBoundingClientRect().bottom < 300")


def test_filtering_an_arm_acts_on_charts_tables_and_samples(page):
    before = page.marks("curves/{curve-metric}/{curve-axis}")
    assert "RLOO" in page.shown("#table-charged th") and "RLOO" in page.shown(".card h4")
    page.click('input[name=arm][value="3"]')  # dpo
    page.click('input[name=arm][value="4"]')  # rloo
    page.wait(
        "document.querySelector('[data-chart^=ranking] svg').querySelectorAll('.mark-line path').length === "
        f"{len(ARMS) - 2}"
    )
    assert (
        page.shown("#table-charged tbody th") == page.shown(".card:not(.start) h4") == ["PPO-max", "REINFORCE++", "PPO"]
    )
    assert page.shown("#table-recipes thead th") == ["field", "PPO-max", "REINFORCE++", "PPO"]
    assert not any("RLOO" in pair for pair in page.shown("#table-pairs tbody th"))
    assert page.shown("#shown") == ["3 of 5 shown"]
    assert page.marks("curves/{curve-metric}/{curve-axis}") < before
    page.click("#all")
    page.wait(
        "document.querySelector('[data-chart^=ranking] svg').querySelectorAll('.mark-line path').length === "
        f"{len(ARMS)}"
    )
    assert page.marks("curves/{curve-metric}/{curve-axis}") == before


def test_no_arm_at_all_leaves_empty_charts(page):
    page.click("#none")
    page.wait("document.querySelectorAll('[data-chart=ranking] .mark-line path').length === 0")
    assert page.shown(".card:not(.start)") == [] and page.shown("#shown") == ["0 of 5 shown"]


def test_another_metric_changes_chart_and_table(page):
    assert page.shown("[id^=table-arms-] caption")[0].startswith("At the end: gold score")
    page.choose("final", "eval/length")
    assert [caption[:18] for caption in page.shown("[id^=table-arms-] caption")] == ["At the end: length"]
    page.wait("document.querySelector('[data-chart=\"scores/{final}\"] .canvas').ariaLabel.startsWith('Final length')")


@pytest.mark.parametrize("axis", ["tokens", "seconds", "flops", "kl"])
def test_another_axis_redraws_the_learning_curves(page, axis):
    page.choose("curve-axis", axis)
    named = {
        "tokens": "generated tokens",
        "seconds": "device-seconds",
        "flops": "training FLOPs",
        "kl": "KL (nats a sequence)",
    }
    page.wait(f"document.querySelector('[data-chart^=\"curves/{{\"] svg')?.textContent.includes({named[axis]!r})")
    assert page.marks("curves/{curve-metric}/{curve-axis}") > 20


def test_single_seeds_can_be_left_out(page):
    lines = "document.querySelectorAll('[data-chart^=\"curves/{\"] .mark-line path').length"
    assert page.js(lines) == len(ARMS) + sum(arm["n"] for arm in document()["arms"])
    page.click("#seeds")
    page.wait(f"{lines} === {len(ARMS)}")


def test_another_prompt_shows_its_completions(page):
    assert page.shown(".sample blockquote") == ["the film is"]
    page.choose("prompt", "1")
    assert page.shown(".sample blockquote") == ["an <b>odd</b> | little `movie` that"]
    page.click("#next")
    assert page.shown(".sample blockquote")[0].startswith("I went in expecting very")
    page.click("#next")
    assert page.shown(".sample blockquote") == ["the film is"] and len(page.shown(".card")) == 1 + len(ARMS)
    page.click("#previous")
    assert page.js("document.getElementById('prompt').value") == "2"


def test_the_numbers_of_a_chart_can_be_read(page):
    figure = '[data-chart^="curves/{"]'
    page.click(f"{figure} summary")
    page.wait(f"document.querySelector('{figure} table tbody tr')")
    assert page.shown(f"{figure} thead th") == ["episodes", *[TITLES[arm["name"]] for arm in document()["arms"]]]
    last = next(
        row
        for row in reversed(document()["bands"])
        if (row["metric"], row["axis"], row["arm"]) == ("eval/gold_score", "episode", "ppo")
    )
    assert any(cell.startswith(f"{last['mean']:.3f} (") for cell in page.shown(f"{figure} tbody tr:last-child td"))
    page.click('input[name=arm][value="4"]')
    page.wait(f"document.querySelectorAll('{figure} thead th').length === {len(ARMS)}")


def test_a_completion_that_holds_a_script_stays_text(still):
    assert HOSTILE.replace("\n", "") in [text.replace("\n", "") for text in still.shown(".card .text")]
    assert still.js("document.querySelectorAll('main script, main img, main b').length") == 0
    assert still.events("Page.javascriptDialogOpening") == []


def test_a_mark_tells_its_numbers_to_the_pointer(page):
    page.hover("[data-chart=ranking] .mark-symbol path")
    page.wait("document.querySelector('#vg-tooltip-element.visible')")
    lines = page.shown("#vg-tooltip-element tr")
    assert [line.split("\t")[0] for line in lines] == ["arm", "at equal", "at", "mean", "from", "to"]
    assert "PPO-max" in lines[0] and "episodes" in lines[1]


def test_names_that_are_markup_stay_text(browser, tmp_path):
    hostile = renamed(document(), EVIL) | {"study": EVIL, "question": EVIL, "notes": [EVIL]}
    with browser.page() as tab:
        tab.open(write(hostile, tmp_path, figures=False)[0], ready=DRAWN)
        tab.unfold()
        assert tab.errors() == [] and tab.js("document.title").startswith("</script>")
        assert tab.js("document.images.length") == 0 and tab.marks("ranking") >= 5
        assert f"ppo{EVIL}" in tab.shown("#filter label")
        tab.hover("[data-chart=ranking] .mark-symbol path")
        tab.wait(f"document.getElementById('vg-tooltip-element')?.textContent.includes({json.dumps(EVIL)})")
        assert tab.js("document.images.length") == 0


def test_the_policy_of_the_page_stops_scripts_and_requests_that_are_not_its_own(browser, report):
    with browser.page() as tab:
        tab.open(report, ready=DRAWN)
        tab.js("document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\" onerror=\"document.title = 1\">')")
        tab.js(
            "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = 2'}))"
        )
        assert tab.js("fetch('https://example.com').then(() => 'sent', () => 'refused')") == "refused"
        tab.js("new Promise(resolve => setTimeout(resolve, 50))")
        assert "five_algorithms" in tab.js("document.title")
        assert [url for url in tab.requests() if url.startswith("http")] == []


@pytest.mark.parametrize("given", [bare(), bare() | {"arms": []}], ids=["one arm", "no arm"])
def test_a_document_with_next_to_nothing_is_shown_without_errors(browser, tmp_path, given):
    with browser.page(width=320) as tab:
        tab.open(write(given, tmp_path, figures=False)[0], ready=DRAWN)
        tab.unfold()
        tab.click("#none")
        assert tab.errors() == [] and tab.shown(".verdict") and tab.js("document.documentElement.scrollWidth") == 320
