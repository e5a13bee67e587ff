"""Mathematical answers compared by math-verify, in the child process: it reads LaTeX and asks sympy for equality.

math-verify's own limit of time (`signal.alarm`) turns a comparison that takes too long into a wrong answer. It is
switched off here: the child is ended instead, and the completion is a failure.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

LATEX = re.compile(
    r"(?<!\\)\$.+?(?<!\\)\$|\\boxed|\\\(|\\\[", re.DOTALL
)  # the text says itself where its mathematics is
PRICE = re.compile(r"\\?\$")  # a sign of the currency
PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}\s+\S")  # words, and not one expression


def load() -> Callable[[Mapping[str, Any]], list[Any]]:
    """The function, which takes {"pairs": [[right answer, answer], ...]}."""
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it warns of the limit that is switched off
    import math_verify

    def parsed(text: str) -> list[Any]:
        written = text if LATEX.search(text) or PROSE.search(text) else f"${PRICE.sub('', text)}$"
        return math_verify.parse(written, parsing_timeout=None)  # type: ignore[arg-type]

    def compared(reference: str, answer: str) -> Any:
        """1 or 0; None for an answer that cannot be read, {"wrong"} for such a right answer."""
        right, given = parsed(reference), parsed(answer)
        if not right:
            return {"wrong": f"its right answer {reference[:60]!r} is no mathematics. Set reward.kind=exact"}
        return float(math_verify.verify(right, given, timeout_seconds=None, raise_on_error=True)) if given else None

    return lambda batch: [compared(reference, answer) for reference, answer in batch["pairs"]]
