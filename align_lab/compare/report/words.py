"""Numbers and names as a reader wants them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from align_lab.base.metrics import METRICS

NOTHING = "–"
AXES = {"episode": "episodes", "tokens": "generated tokens", "seconds": "device-seconds", "flops": "training FLOPs",
        "kl": "KL"}  # fmt: skip
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
NAMES = {"eval/kl": "KL", "eval/score": "proxy score", "eval/vader": "VADER", "eval/distinct_2": "distinct-2"}


def metric(name: str) -> str:
    """`eval/gold_score` → `gold score`."""
    return NAMES.get(name, name.removeprefix("eval/").replace("_", " "))


def meaning(name: str) -> str:
    """What a metric is, from the table of metrics; its own name where nobody declared it."""
    return METRICS[name].meaning if name in METRICS else name


def unit(name: str) -> str:
    return METRICS[name].unit if name in METRICS else ""


def with_unit(name: str) -> str:
    """`gold score (sd of human reviews)`"""
    return f"{metric(name)} ({unit(name)})" if unit(name) else metric(name)


def explained(name: str) -> str:
    """`gold score: another model, ... (sd of human reviews)`"""
    told = meaning(name) if meaning(name).startswith(metric(name)) else f"{metric(name)}: {meaning(name)}"
    return f"{told} ({unit(name)})" if unit(name) else told


def axis(name: str) -> str:
    return AXES.get(name, name.replace("_", " "))


def digits(values: Iterable[float | None]) -> int:
    """Decimals that show about three significant digits of the largest value."""
    top = max((abs(value) for value in values if value is not None), default=0.0)
    return max(0, 2 - max(0, math.floor(math.log10(top)))) + (top < 10) if top else 3


def number(value: float | None, places: int | None = None) -> str:
    """With that many decimals, with a minus sign that is one; thousands apart; – where there is none."""
    if value is None:
        return NOTHING
    places = digits([value]) if places is None else places
    if abs(value) >= 1e9:
        head, power = f"{value:.2e}".split("e")
        return f"{head}\u00a0×\u00a010{str(int(power)).translate(RAISED)}".replace("-", "−")
    shown = f"{value:,.{places}f}"
    return shown.removeprefix("-") if not shown.strip("-0.,") else shown.replace("-", "−")


def count(value: float | None) -> str:
    """A whole number with thousands apart; large ones in powers of ten."""
    return number(value, 0)


def interval(row: Mapping[str, Any], places: int, *, low: str = "low", high: str = "high") -> str:
    """`0.52 to 0.61`; – without an interval."""
    if row[low] is None or row[high] is None:
        return NOTHING
    return f"{number(row[low], places)} to {number(row[high], places)}"


def share(value: float | None) -> str:
    """`90 %` (the space does not break), with decimals only where they matter."""
    return NOTHING if value is None else f"{value * 100:.3g}\u00a0%"


def probability(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def several(n: int, what: str) -> str:
    """`1 run`, `25 runs`"""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def sentence(text: str) -> str:
    """With a full stop. It keeps its first letter: that may be a name's."""
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def overtaking(axis: Mapping[str, Any]) -> set[str]:
    """Arms that are ahead, by more than the seeds vary, of an arm that they are behind at equal episodes."""
    return {flip["ahead"] for flip in axis["flips"] if flip.get("shown", True)}


def differ(n: int) -> str:
    return f"{several(n, 'setting')} {'differs' if n == 1 else 'differ'}"


def plain(value: Any) -> str:
    """A config value as text."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def quantity(value: float | None, unit: str = "") -> str:
    """`6,400`, `2.61 × 10¹²`, `0.93`: a quantity of any size."""
    if value is None:
        return NOTHING
    shown = count(value) if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{shown} {unit}".strip()


def href(document: Mapping[str, Any], run: str) -> str:
    """Relative address of a run's folder; empty where the document has none. Whatever the path holds, it stays a path."""
    path = document["links"].get(run, "")
    return f"./{quote(path)}" if path else ""
