"""The gallery names every study that has a page, and the site leads to every card and every study."""

import re
import runpy
from types import SimpleNamespace

import pytest
import yaml

from tests.docs.snippets import CHECKOUT

DOCS = CHECKOUT / "docs"


def test_the_gallery_names_every_study_that_has_a_page():
    rows = re.findall(r"^\| \[[^\]]+\]\(studies/(\w+)\.md\)", (DOCS / "gallery.md").read_text(encoding="utf-8"), re.M)
    assert sorted(rows) == sorted(page.stem for page in (DOCS / "studies").glob("*.md"))


@pytest.mark.parametrize("folder", ["algorithms", "studies"])
def test_the_navigation_of_the_site_has_every_page_of_a_folder(folder):
    hook = runpy.run_path(str(DOCS / "site_hook.py"))
    nav = yaml.safe_load((CHECKOUT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    text = str(hook["on_config"](SimpleNamespace(nav=nav)).nav)
    pages = [f"{folder}/{page.name}" for page in (DOCS / folder).glob("*.md")]
    assert len(pages) > 10 and all(text.count(f"'{page}'") == 1 for page in pages)
