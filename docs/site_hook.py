"""For mkdocs: a link to a file outside docs/, such as a test, is its text alone, for the site does not hold it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\.?/[^)\s]+)\)")


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
