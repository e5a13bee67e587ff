"""A document as it may be shown: no character that a terminal, a browser or a file cannot take, no link that leads nowhere."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, apart from tab and newline
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # characters that turn the direction of text around, and odd line ends
    "\ud800-\udfff\ufffe\uffff]"  # what is no character
)


def cleaned(value: Any) -> Any:
    """A copy in which hidden characters are written out as ⟨U+202E⟩ and numbers that are not finite are None."""
    if isinstance(value, str):
        return HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", value.replace("\r\n", "\n"))
    if isinstance(value, Mapping):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def with_links_that_lead_somewhere(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The document with only those links whose target exists, seen from `folder`."""
    links = {name: path for name, path in document["links"].items() if (folder / path).exists()}
    return {**document, "links": links}


def ordered(document: dict[str, Any]) -> dict[str, Any]:
    """The document with everything that is listed by arm in the order of its arms, the best first."""
    place = {arm["name"]: number for number, arm in enumerate(document["arms"])}

    def sort(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(rows, key=lambda row: place.get(row["arm"], len(place)))

    samples = [{**sample, "completions": sort(sample["completions"])} for sample in document["samples"]]
    comparability = {**document["comparability"], "charged": sort(document["comparability"]["charged"])}
    by_arm = {name: sort(document[name]) for name in ("overoptimisation", "health", "frontier", "missing")}
    return {**document, **by_arm, "samples": samples, "comparability": comparability}


def best(document: dict[str, Any], *, arms: int) -> dict[str, Any]:
    """The document of the first (best) arms only, for a page that stays readable; the same document when there are no more."""
    kept = {arm["name"] for arm in document["arms"][:arms]}
    if len(kept) == len(document["arms"]):
        return document

    def keep(value: Any) -> Any:
        if isinstance(value, list):
            return [keep(item) for item in value if _names(item) <= kept]
        return {key: keep(item) for key, item in value.items()} if isinstance(value, dict) else value

    left = len(document["arms"]) - len(kept)
    note = f"Charts and tables show the best {arms} arms; {left} more are in the CSV files."
    whole = {name: document[name] for name in ("unfinished", "missing")}
    rest = {name: keep(value) for name, value in document.items() if name not in ("arms", "wins", *whole)}
    wins = _wins(document["wins"], kept)
    return {**whole, **rest, "arms": document["arms"][:arms], "wins": wins, "notes": [note, *document["notes"]]}


def _names(item: Any) -> set[str]:
    """Arms that a row is about."""
    keys = ("arm", "a", "b", "ahead", "behind")
    return {item[key] for key in keys if key in item} if isinstance(item, dict) else set()


def _wins(wins: dict[str, Any], kept: set[str]) -> dict[str, Any]:
    places = [place for place, arm in enumerate(wins["arms"]) if arm in kept]
    matrix = [[wins["matrix"][row][column] for column in places] for row in places]
    return {**wins, "arms": [wins["arms"][place] for place in places], "matrix": matrix}
