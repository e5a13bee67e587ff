"""docs/papers.md and docs/algorithms/: the index of papers and the cards, from the components and `papers.toml`.

python -m tests.cards --write     # after an algorithm, a field or the index has changed
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from align_lab.cli.card import as_markdown, card, index
from align_lab.config.groups import options

CHECKOUT = Path(__file__).parents[1]
DOCS = CHECKOUT / "docs"
INDEX = DOCS / "papers.md"
NO_STUDY = "no study yet"
OPENING = """# Paper index

Which part of each paper is implemented, which tests check it and which studies measured it. Each algorithm has a card
with its equations, its defaults and their sources, and its departures: `align_lab show algo=NAME`.

| paper | option or field | tests | studies |
|---|---|---|---|
"""


CLOSING = """
Not here: Exploratory Preference Optimization (XPO, [arXiv 2405.21046](https://arxiv.org/abs/2405.21046)) pairs a sample
of the policy with one of the reference for every prompt, and Nash-MD ([arXiv
2312.00886](https://arxiv.org/abs/2312.00886)) samples from a mixture of the two. In the loop one policy samples, the
current one or that of the round, so both would need a second model to sample from.
"""


def pages() -> dict[Path, str]:
    """Path -> content of every generated page."""
    cards = {DOCS / "algorithms" / f"{name}.md": as_markdown(card("algo", name)) for name in options("algo")}
    return {INDEX: OPENING + "\n".join(rows()) + "\n" + CLOSING, **cards}


def rows() -> Iterator[str]:
    """One row for each option that implements a part of a paper, then those of single fields."""
    content = index()
    for key, paper in content["papers"].items():
        cited = f"{paper['authors']}, [{paper['title']}](https://arxiv.org/abs/{paper['arxiv']})"
        for name, entry in content["algos"].items():
            if key in entry["papers"]:
                part = entry["papers"][key]
                option = f"[`algo={name}`](algorithms/{name}.md)" + (f": {part}" if part else "")
                yield _row(cited, option, entry)
                cited = ""
        for entry in content["fields"]:
            if entry["paper"] == key:
                yield _row(cited, f"{_fields(entry)}: {entry['part']}", entry)
                cited = ""
    for entry in content["fields"]:
        if entry["paper"] not in content["papers"]:
            yield _row(entry["paper"], _fields(entry), entry)


def _row(cited: str, option: str, entry: dict[str, Any]) -> str:
    return f"| {cited} | {option} | {_links(entry['tests'])} | {_links(entry.get('studies', [])) or NO_STUDY} |"


def _fields(entry: dict[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in entry["field"].split(", "))


def _links(targets: list[str]) -> str:
    return ", ".join(f"[{Path(target.partition('::')[0]).stem}](../{target.partition('::')[0]})" for target in targets)


def main() -> None:
    """Print the index, or write all pages and remove those of algorithms that are gone."""
    if "--write" not in sys.argv[1:]:
        print("\n".join(rows()))
        return
    current = pages()
    for page in (DOCS / "algorithms").glob("*.md"):
        if page not in current:
            page.unlink()
    for path, content in current.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
