"""For mkdocs: cards and studies join the navigation, and a link to a file outside docs/, such as a test, is its text
alone, for the site does not hold it. Words of code are not broken where a line ends.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

DOCS = Path(__file__).parent
STUDY = re.compile(r"^\| \[([^\]]+)\]\((studies/\w+\.md)\)", re.MULTILINE)  # a row of the gallery
CODE = re.compile(r"<pre.*?</pre>|<code>([^<]*)</code>", re.DOTALL)  # a program; a word in a sentence or a table
LONGEST = 40  # letters of a word that fits on any screen
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\.?/[^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Every card is a page of Algorithms, and every study of the gallery one of Results."""
    cards = [{page.stem: f"algorithms/{page.name}"} for page in sorted((DOCS / "algorithms").glob("*.md"))]
    studies = [{name: page} for name, page in STUDY.findall((DOCS / "gallery.md").read_text(encoding="utf-8"))]
    more = {"Algorithms": [{"Cards": cards}], "Results": studies}
    for section in config.nav:
        for name in section.keys() & more:
            section[name] = [*section[name], *more[name]]
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Drop the targets that leave the folder; those that go round to it (`../docs/x.md`) lose the detour."""
    depth = len(PurePosixPath(page.file.src_uri).parts) - 1

    def shown(match: re.Match[str]) -> str:
        text, target = match.groups()
        parts = PurePosixPath(target).parts
        ups = sum(part == ".." for part in parts)
        if ups <= depth:
            return match[0]
        rest = parts[ups:]
        return f"[{text}]({'../' * depth}{'/'.join(rest[1:])})" if ups == depth + 1 and rest[:1] == ("docs",) else text

    return LINK.sub(shown, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """A field, a command or an option stays whole: browsers break a line behind its hyphens, points and slashes."""

    def whole(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        words = (f'<span class="whole">{w}</span>' if len(w) <= LONGEST else w for w in match[1].split())
        return f"<code>{' '.join(words)}</code>"

    return CODE.sub(whole, html)
