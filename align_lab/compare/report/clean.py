"""A document as it may be shown: no character that a terminal, a browser or a file cannot take, no link that leads
nowhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from align_lab.compare.document import Comparability, Document, Sample, TuningDocument, Wins

HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, apart from tab and newline
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # reversed direction of text, unusual line ends
    "\ud800-\udfff\ufffe\uffff]"  # what is no character
)
NAMES = ("arm", "a", "b", "ahead", "behind")  # what a row calls the arms that it is about

T = TypeVar("T")
R = TypeVar("R", bound=Mapping[str, Any])


def cleaned(value: T) -> T:
    """A copy in which hidden characters are written out as ⟨U+202E⟩ and numbers that are not finite are None."""
    return _cleaned(value)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return HIDDEN.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", value.replace("\r\n", "\n"))
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def with_links_that_lead_somewhere(document: Document, folder: Path) -> Document:
    """The document with only those links whose target exists, seen from `folder`."""
    links = {name: path for name, path in document["links"].items() if (folder / path).exists()}
    return {**document, "links": links}


def ordered(document: Document) -> Document:
    """The document with everything that is listed by arm in the order of its arms, the best first."""
    places = {arm["name"]: place for place, arm in enumerate(document["arms"])}
    samples: list[Sample] = [
        {**sample, "completions": _sorted(sample["completions"], places)} for sample in document["samples"]
    ]
    charged = _sorted(document["comparability"]["charged"], places)
    comparability: Comparability = {**document["comparability"], "charged": charged}
    return {
        **document,
        "overoptimization": _sorted(document["overoptimization"], places),
        "health": _sorted(document["health"], places),
        "frontier": _sorted(document["frontier"], places),
        "missing": _sorted(document["missing"], places),
        "samples": samples,
        "comparability": comparability,
    }


def _sorted(rows: Sequence[R], places: Mapping[str, int]) -> list[R]:
    return sorted(rows, key=lambda row: places.get(row["arm"], len(places)))


def best(document: Document, *, arms: int) -> Document:
    """The document of the first (best) arms only, for a page that stays readable; the same document when there are no
    more.
    """
    names = {arm["name"] for arm in document["arms"][:arms]}
    left = len(document["arms"]) - len(names)
    if not left:
        return document
    note = f"Charts and tables show the best {arms} arms; {left} more are in the CSV files."
    return {
        **document,
        "arms": document["arms"][:arms],
        "verdict": {**document["verdict"], "pairs": _about(document["verdict"]["pairs"], names)},
        "claims": _about(document["claims"], names),
        "tuning": _tuning(document["tuning"], names),
        "comparability": {
            **document["comparability"],
            "charged": _about(document["comparability"]["charged"], names),
        },
        "improvement": _about(document["improvement"], names),
        "curves": _about(document["curves"], names),
        "bands": _about(document["bands"], names),
        "axes": [
            {**axis, "ranking": _about(axis["ranking"], names), "flips": _about(axis["flips"], names)}
            for axis in document["axes"]
        ],
        "frontier": _about(document["frontier"], names),
        "overoptimization": _about(document["overoptimization"], names),
        "health": _about(document["health"], names),
        "wins": _wins(document["wins"], names),
        "samples": [{**sample, "completions": _about(sample["completions"], names)} for sample in document["samples"]],
        "notes": [note, *document["notes"]],
    }


def _about(rows: Sequence[R], names: Collection[str]) -> list[R]:
    """Rows that are about these arms alone."""
    return [row for row in rows if all(row[key] in names for key in NAMES if key in row)]


def _tuning(tuned: TuningDocument | None, names: Collection[str]) -> TuningDocument | None:
    return tuned and {**tuned, "arms": _about(tuned["arms"], names), "flips": _about(tuned["flips"], names)}


def _wins(wins: Wins, names: Collection[str]) -> Wins:
    places = [place for place, arm in enumerate(wins["arms"]) if arm in names]
    matrix = [[wins["matrix"][row][column] for column in places] for row in places]
    return {**wins, "arms": [wins["arms"][place] for place in places], "matrix": matrix}
