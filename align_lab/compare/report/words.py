"""Numbers and names as a reader wants them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from align_lab.compare import gaps, labels, values
from align_lab.compare.document import Axis, Document, Label

NOTHING = "–"
AXES = {"episode": "episodes", "tokens": "generated tokens", "labels": "labels",
        "seconds": "device-seconds", "flops": "training FLOPs", "kl": "KL"}  # fmt: skip


def described(document: Document, name: str) -> Label:
    """How a metric is called: as the runs say, else as the table of metrics does."""
    return document["metrics"].get(name) or labels.usual(name)


def metric(document: Document, name: str) -> str:
    """`eval/exact_score` → `exact score`. What only training logs keeps its group: `policy/entropy avg`."""
    return described(document, name)["label"] if name.startswith("eval/") else name.replace("_", " ")


def short(document: Document, name: str) -> str:
    """`eval/exact_score` → `exact`, beside a word that says that it is a score."""
    return labels.short(metric(document, name))


def capitalized(text: str) -> str:
    """The first letter as a capital, the others as they are."""
    return text[:1].upper() + text[1:]


def meaning(document: Document, name: str) -> str:
    """What a metric is, with its unit; its own name where nobody says."""
    return _with(described(document, name)["meaning"] or name, unit(document, name))


def unit(document: Document, name: str) -> str:
    """Empty where it has none."""
    return described(document, name)["unit"]


def with_unit(document: Document, name: str) -> str:
    """`exact score (points)`"""
    return f"{metric(document, name)} ({unit(document, name)})" if unit(document, name) else metric(document, name)


def explained(document: Document, name: str) -> str:
    """`exact score: another model, ... (points)`"""
    label, what = metric(document, name), described(document, name)["meaning"]
    return _with(f"{label}: {what}" if what and not what.startswith(label) else what or label, unit(document, name))


def _with(text: str, its_unit: str) -> str:
    """With the unit, where the text does not name it already."""
    return f"{text} ({its_unit})" if its_unit and its_unit not in text else text


def axis(name: str) -> str:
    """An axis of the learning curves."""
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
        return f"{head}\u00a0×\u00a010{str(int(power)).translate(values.SUPERSCRIPT)}".replace("-", "−")
    return values.figure(value, places)


def count(value: float | None) -> str:
    """A whole number with thousands apart; large ones in powers of ten."""
    return number(value, 0)


def between(low: float | None, high: float | None, places: int) -> str:
    """`0.52 to 0.61`; – without an interval."""
    return NOTHING if low is None or high is None else f"{number(low, places)} to {number(high, places)}"


def with_interval(value: float | None, low: float | None, high: float | None, places: int) -> str:
    """`0.90 [0.72, 1.08]`; without the interval where there is none."""
    return f"{number(value, places)} {gaps.bounds(low, high, places)}".strip()


def share(value: float | None) -> str:
    """`90 %` (the space does not break), with decimals only where they matter."""
    return NOTHING if value is None else f"{value * 100:.3g}\u00a0%"


def probability(value: float | None) -> str:
    """A p-value, or that there is none."""
    return NOTHING if value is None else values.probability(value)


def several(n: int, what: str) -> str:
    """`1 run`, `25 runs`"""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def sentence(text: str) -> str:
    """With a full stop. It keeps its first letter: that may be a name's."""
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def overtaking(axis: Axis) -> set[str]:
    """Arms that are ahead, by more than the seeds vary, of an arm that they are behind at equal episodes."""
    return {flip["ahead"] for flip in axis["flips"] if flip["shown"]}


def changes_of_order(document: Document) -> list[str]:
    """Where arms change places by more than the seeds vary, when something else than episodes is held equal."""
    changed = [sentence(axis["words"]) for axis in document["axes"] if overtaking(axis)]
    if changed or not document["axes"]:
        return changed
    moved = any(axis["flips"] for axis in document["axes"])
    same = "No two arms change places by more than the seeds vary" if moved else "The order of the arms is the same"
    return [f"{same}, whatever is held equal."]


def differ(n: int) -> str:
    """`1 setting differs`"""
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
    text = count(value) if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".strip()


def href(links: dict[str, str], run: str) -> str:
    """Relative address of a run's folder; empty where it has none. Whatever the path holds, it stays a path."""
    return f"./{quote(links[run])}" if links.get(run) else ""
