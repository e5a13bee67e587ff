"""The site of the documentation builds without a warning, and its pages are whole on a desk and on a telephone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.docs.snippets import CHECKOUT

PAGES = (
    "", "start", "papers", "algorithms/rloo", "reference", "gallery", "deciding", "architecture", "running_studies",
    "studies/five_algorithms",
)  # fmt: skip
WIDE = "document.scrollingElement.scrollWidth > innerWidth ? ['the page'] : []"
CUT = """[...document.querySelectorAll('.md-content *')].filter((part) => {
    if (!part.checkVisibility() || part.getBoundingClientRect().right <= innerWidth + .5) return false;
    for (let box = part.parentElement; !box.matches('.md-content'); box = box.parentElement)
      if (getComputedStyle(box).overflowX !== 'visible') return false;
    return true; }).map((part) => `${part.tagName} ${part.textContent.slice(0, 60)}`)"""
BROKEN = r"""[...document.querySelectorAll('.md-content :not(pre) > code')].flatMap((code) => {
    const walk = document.createTreeWalker(code, NodeFilter.SHOW_TEXT), range = document.createRange(), broken = [];
    for (let text; (text = walk.nextNode());)
      for (const word of text.data.matchAll(/(?<!\S)\S{1,40}(?!\S)/g)) {
        range.setStart(text, word.index);
        range.setEnd(text, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) broken.push(word[0]);
      }
    return broken; })"""
LINES = """[...document.querySelectorAll('.md-content pre > code')]
    .filter((code) => code.scrollWidth > code.clientWidth + 1).map((code) => code.textContent.slice(0, 60))"""
PICTURES = "[...document.images].filter((one) => one.complete && !one.naturalWidth).map((one) => one.src)"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """(what the build said, the folder of the site); for all tests here one build, which takes seconds."""
    place = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True), place


def test_the_site_builds_strictly(site):
    built, place = site
    assert built.returncode == 0, built.stderr
    assert (place / "deciding" / "index.html").exists()


@pytest.mark.parametrize("width", [500, 1280])
def test_no_page_is_cut_or_wider_than_the_window(browser, site, width):
    """Tables and programs scroll in themselves; at 1280 a line of a program, which has 120 letters, is whole."""
    wanted = (WIDE, CUT, BROKEN, PICTURES, *([LINES] if width == 1280 else []))
    found = {}
    with browser.page(width=width) as tab:
        for page in PAGES:
            tab.open(site[1] / page / "index.html")
            found[page] = [fault for what in wanted for fault in tab.js(what)]
    assert {page: faults for page, faults in found.items() if faults} == {}
