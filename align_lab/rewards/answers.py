"""The final answer in a completion, and whether it is the right one."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal

LONGEST = 4000  # characters at the end of a completion in which its answer is looked for
NUMBER = re.compile(r"(?:(?<!\d)[-+])?(?:\d[\d,]{0,29})?\.?\d{1,30}(?:/\d{1,30})?")
SOLUTION = re.compile(r"####\s*(.+)")  # GSM8K ends its solutions so
Otherwise = Literal["last_line", "last_number", "nothing"]


def extract(completion: str, pattern: re.Pattern[str]) -> str | None:
    """Group 1 of the last match of the pattern, without blanks around it; None where nothing matches."""
    matches = pattern.findall(completion[-LONGEST:])
    return matches[-1].strip() if matches else None


def fallback(completion: str, otherwise: Otherwise) -> str:
    """What counts as the answer of a completion without the format; empty where nothing does."""
    end = completion[-LONGEST:].strip()
    if otherwise == "last_number":
        numbers = NUMBER.findall(end)
        return numbers[-1] if numbers else ""
    return end.rpartition("\n")[2] if otherwise == "last_line" else ""


def same_text(answer: str, reference: str) -> bool:
    """Are they equal, whatever the blanks?"""
    return " ".join(answer.split()) == " ".join(reference.split())


def number(text: str) -> Fraction | None:
    """The number that a text is, or the last one in it: `1,000.50`, `-3/4`, `$18`; None where there is none."""
    solution = SOLUTION.findall(text[-LONGEST:])
    numbers = NUMBER.findall(solution[-1] if solution else text[-LONGEST:])
    if not numbers:
        return None
    above, _, below = numbers[-1].replace(",", "").partition("/")
    return Fraction(above) / int(below or 1) if int(below or 1) else None


def same_number(answer: Fraction, reference: Fraction, tolerance: float) -> bool:
    """Do they differ by at most `tolerance`?"""
    return abs(answer - reference) <= Fraction(tolerance)
