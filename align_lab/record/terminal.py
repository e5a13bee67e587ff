"""The terminal. Texts of records, locks, names and models are only shown: they cannot move its cursor or add a line."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from rich import markup
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment


class Terminal(Console):
    """A console that prints no control character which is part of a text."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable; what moves the cursor of a live display is no text."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


def visible(text: str) -> str:
    """The text with a replacement character in place of each control character; line ends stay."""
    return text if text.isprintable() else "".join(c if _is_text(c) else "\ufffd" for c in text)


def _is_text(char: str) -> bool:
    """Not a control character, nor one that turns the direction of what follows; joiners belong to words."""
    return char.isprintable() or char in "\n\t\u200c\u200d" or unicodedata.category(char) == "Zs"


def one_line(text: str) -> str:
    """The text as one line without control characters."""
    return text if text.isprintable() else visible(" ".join(text.split()))


def escape(text: str) -> str:
    """A text that is neither markup nor more than one line."""
    return markup.escape(one_line(text))
