"""What README.md, AGENTS.md, skills/ and docs/ tell the reader to type, and the files that they tell them to write."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
SKILLS = sorted((CHECKOUT / "skills").glob("*/SKILL.md"))
PAGES = [CHECKOUT / "README.md", CHECKOUT / "AGENTS.md", *SKILLS, *sorted((CHECKOUT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"^(?:# @package _global_\n)?# (?P<name>[\w/]+\.(?:py|ya?ml))\b")
PROGRAM = "align_lab "


@dataclass(frozen=True)
class Snippet:
    """A block of code: where it stands, its language, its text."""

    page: Path
    language: str
    text: str

    @property
    def name(self) -> str | None:
        """The file that it is to be written to, where its first comment says one."""
        match = NAMED.match(self.text)
        return match["name"] if match else None


def snippets(pages: list[Path] = PAGES) -> Iterator[Snippet]:
    """Every block of code."""
    for page in pages:
        for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            yield Snippet(page, language, text)


def commands(pages: list[Path] = PAGES) -> Iterator[tuple[Path, list[str]]]:
    """(page, words after `align_lab`) of every command, without its comment and the prompt before it."""
    for snippet in snippets(pages):
        if snippet.language in ("python", "yaml", "text", "json", "html"):
            continue
        for line in re.sub(r"\\\n\s*", "", snippet.text).split("\n"):
            for part in line.removeprefix("$ ").split(" && "):
                if part.startswith(PROGRAM):
                    yield snippet.page, shlex.split(part, comments=True)[1:]
