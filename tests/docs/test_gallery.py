"""The gallery names every study that has a page and says what was run; the site leads to every card and every study."""

import re
import runpy
from collections import Counter
from types import SimpleNamespace

import pytest
import yaml

from tests.docs.snippets import CHECKOUT

DOCS = CHECKOUT / "docs"
STUDIES = sorted((DOCS / "studies").glob("*.md"))
ROW = re.compile(r"^\| \[([^\]]+)\]\(studies/(\w+)\.md\)", re.MULTILINE)
PICTURE = re.compile(
    r"^\*\*\[(?P<name>[^\]]+)\]\(studies/(?P<study>\w+)\.md\)\*\*\n"
    r"(?P<run>\d+ arms, [\d to]+ seeds each, \d+ runs)\b.*; "
    r"(?P<date>\d{1,2} [A-Z][a-z]+ \d{4})(?:, code `(?P<code>\w{8})`)?\n"
    r"!\[(?P=name): [^\]]+\]\((?P<picture>studies/(?P=study)/scores-\w+\.svg)\)$",
    re.MULTILINE,
)
SEED = 'r="4" fill='  # of a picture: the ring of a run


def finished(text):
    """Finished runs of each arm: by the first table of the results, or a row for each run of an early page."""
    if table := re.search(r"^\| arm \| n \| seed.*\n\|.*\n((?:\|.*\n)+)", text, re.MULTILINE):
        return [int(row.split("|")[2]) for row in table[1].splitlines()]
    return list(Counter(re.findall(r"^\| (\w+) \| \d \| -?\d", text, re.MULTILINE)).values())


def test_the_gallery_names_every_study_that_has_a_page_and_shows_each():
    gallery = (DOCS / "gallery.md").read_text(encoding="utf-8")
    named, shown = ROW.findall(gallery), [(one["name"], one["study"]) for one in PICTURE.finditer(gallery)]
    assert sorted(study for _, study in named) == [page.stem for page in STUDIES]
    assert shown == named


@pytest.mark.parametrize("page", STUDIES, ids=lambda page: page.stem)
def test_the_gallery_says_what_was_run_and_by_which_code_as_the_page_does(page):
    text, gallery = (file.read_text(encoding="utf-8") for file in (page, DOCS / "gallery.md"))
    (said,) = [one for one in PICTURE.finditer(gallery) if one["study"] == page.stem]
    n = finished(text)
    seeds = f"{min(n)}" if min(n) == max(n) else f"{min(n)} to {max(n)}"
    assert said["run"] == f"{len(n)} arms, {seeds} seeds each, {sum(n)} runs"
    assert (DOCS / said["picture"]).read_text(encoding="utf-8").count(SEED) == sum(n)
    code = re.search(r"^\| source \| (\w+) \|$", text, re.MULTILINE)
    assert said["code"] == (code[1][:8] if code else None)


@pytest.mark.parametrize("folder", ["algorithms", "studies"])
def test_the_navigation_of_the_site_has_every_page_of_a_folder(folder):
    hook = runpy.run_path(str(DOCS / "site_hook.py"))
    nav = yaml.safe_load((CHECKOUT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    text = str(hook["on_config"](SimpleNamespace(nav=nav)).nav)
    pages = [f"{folder}/{page.name}" for page in (DOCS / folder).glob("*.md")]
    assert len(pages) > 10 and all(text.count(f"'{page}'") == 1 for page in pages)
