"""One Chromium for all tests of the page; they are skipped where there is none."""

from __future__ import annotations

import os

import pytest

from align_lab.compare.report import write
from tests.browser import chrome
from tests.browser.chrome import DRAWN, Browser
from tests.browser.example import document


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    program = chrome.find()
    if program is None and not os.environ.get("ALIGN_LAB_REQUIRE_BROWSER"):
        pytest.skip(
            "no Chromium on this machine (apt install chromium); ALIGN_LAB_REQUIRE_BROWSER=1 makes that a failure"
        )
    assert program, f"ALIGN_LAB_REQUIRE_BROWSER is set, but none of {', '.join(chrome.NAMES)} is there"
    with chrome.running(program, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """The written page of the example."""
    return write(document(), tmp_path_factory.mktemp("runs"), figures=False)[0]


@pytest.fixture
def page(browser: Browser, report):
    """The page of the example, at the size of a desk, for a test that acts on it; without a single error at the end."""
    with browser.page() as tab:
        tab.open(report, ready=DRAWN)
        tab.unfold()
        yield tab
        assert tab.errors() == []


@pytest.fixture(scope="module")
def still(browser: Browser, report):
    """The same page for tests that only look."""
    with browser.page() as tab:
        tab.open(report, ready=DRAWN)
        tab.unfold()
        yield tab
        assert tab.errors() == []
