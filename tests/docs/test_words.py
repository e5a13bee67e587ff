"""One word for one thing: what the glossary names has no second name in code, docs and messages."""

import pytest

from tests.docs.snippets import CHECKOUT, PAGES

OTHER_NAMES = {  # -> the word that is used
    "cannot be told": "inconclusive",
    "not told from": "inconclusive, or not distinguished",
    "seeds to tell": "seeds to distinguish",
}
CODE = [path for path in (CHECKOUT / "align_lab").rglob("*") if path.suffix in (".py", ".html", ".yaml", ".toml")]


@pytest.mark.parametrize("other", OTHER_NAMES)
def test_a_thing_has_one_name(other):
    places = [*PAGES, *CODE]
    assert len(places) > 300
    named = [path for path in places if other in " ".join(path.read_text(encoding="utf-8").lower().split())]
    assert [str(path.relative_to(CHECKOUT)) for path in named] == [], f"write: {OTHER_NAMES[other]}"
