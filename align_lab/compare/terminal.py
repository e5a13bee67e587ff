"""The comparison on a terminal: the verdict first, then what it stands on. Fits 80 columns, and a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from align_lab.compare.audit import NOTHING_FOUND
from align_lab.compare.document import (
    SCORE,
    ByArm,
    Comparability,
    Differing,
    Document,
    Foreign,
    ForeignSettings,
    LeftOut,
    Pair,
    TuningDocument,
)
from align_lab.compare.labels import short

BESIDE = {SCORE: 2, "eval/kl": 1, "eval/length": 1, "eval/distinct_2": 2}  # metric -> decimals
NARROW = {"eval/distinct_2": "dist-2"}
WIDEST = 12  # letters above a column of numbers


class Bounds(TypedDict):
    """An interval, where there is one."""

    low: float | None
    high: float | None


def render(document: Document) -> Group:
    """Everything that decides, in the order in which a reader asks for it."""
    foreign = document["foreign"]
    if foreign and not document["arms"]:
        return Group(Text(document["study"], style="bold"), *_foreign(foreign))
    return Group(
        *_head(document),
        arms(document),
        Text(),
        *_claims(document),
        *_tuning(document["tuning"]),
        *_pairs(document),
        *_proof(document["comparability"]),
        *_missing(document),
        *_left_out(document["unfinished"]),
        *_audit(document),
        *_notes(document["notes"]),
        *(_foreign(foreign) if foreign else ()),
    )


def show(document: Document, console: Console) -> None:
    """Print it."""
    console.print(render(document), soft_wrap=False)


def _head(document: Document) -> Iterator[RenderableType]:
    yield Text(document["study"], style="bold")
    if document["question"]:
        yield Text(document["question"])
    yield Text(document["verdict"]["sentence"], style="bold green" if document["comparability"]["fair"] else "bold")
    unit = document["metrics"][document["metric"]]["unit"]
    yield Text(
        f"Scores in {unit}; 95 % t intervals over seeds." if unit else "95 % t intervals over seeds.", style="dim"
    )
    yield Text()


def heading(document: Document, metric: str) -> str:
    """What fits above a narrow column: `exact` for exact score."""
    label = NARROW.get(metric) or short(document["metrics"][metric]["label"])
    return label if len(label) <= WIDEST else f"{label[: WIDEST - 1]}…"


def arms(document: Document) -> Table:
    """Best arm first: deciding score with its interval and every seed, then what should stand beside a score."""
    decides = document["metric"]
    known = {name for arm in document["arms"] for name in arm["metrics"]}
    beside = {name: digits for name, digits in BESIDE.items() if name != decides and name in known}
    headings = (
        "arm",
        "n",
        heading(document, decides),
        "interval",
        "by seed",
        *(heading(document, name) for name in beside),
    )
    table = _table(headings, left=(0, 4))
    for arm in document["arms"]:
        score = arm["metrics"][decides]
        seeds = " ".join(number(value) for value in score["values"])
        means = (number(arm["metrics"][name]["mean"], digits) for name, digits in beside.items())
        table.add_row(escape(arm["name"]), str(arm["n"]), number(score["mean"]), interval(score), seeds, *means)
    return table


def _table(headings: Sequence[str], *, left: Sequence[int]) -> Table:
    """A table without lines; columns at these places hold text, which may be folded, the others numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(headings):
        text = place in left
        table.add_column(escape(name), justify="left" if text else "right", overflow="fold", no_wrap=not text)
    return table


def _claims(document: Document) -> Iterator[RenderableType]:
    """What a paper says of two arms, and whether it holds."""
    if not document["claims"]:
        return
    table = _table(("claim", "gap", "interval", "", ""), left=(0, 3, 4))
    for one in document["claims"]:
        outcome = {"held": "[green]held[/]", "did not hold": "[red]did not hold[/]"}.get(one["outcome"], one["outcome"])
        table.add_row(escape(one["claim"]), number(one["gap"]), interval(one), outcome, escape(one["why"]))
    yield table
    yield Text(f"Welch t intervals, Bonferroni-corrected over all {len(document['claims'])} claims", style="dim")
    yield Text()


def _tuning(tuned: TuningDocument | None) -> Iterator[RenderableType]:
    """What was found, what remained of it, and what it cost; then the best of fewer trials."""
    if tuned is None:
        return
    yield Text(f"Tuning: {tuned['trials']} trials an arm, at seeds {', '.join(map(str, tuned['seeds']))}")
    table = _table(("arm", "tuned", "fresh", "optimism", "interval", "episodes"), left=(0,))
    for one in tuned["arms"]:
        values = (number(one[key]) for key in ("tuned", "fresh", "optimism"))
        table.add_row(escape(one["arm"]), *values, interval(one), f"{one['episodes']:,.0f}")
    yield table
    if counts := [str(one["trials"]) for one in tuned["arms"][0]["expected"]]:
        best = _table(("best of", *counts), left=(0,))
        for one in tuned["arms"]:
            best.add_row(escape(one["arm"]), *(number(at["mean"]) for at in one["expected"]))
        yield best
    yield Text(tuned["method"], style="dim")
    yield Text()


def _pairs(document: Document) -> Iterator[RenderableType]:
    """The best arm, or the control where there is one, against each other arm; the page has every pair."""
    every = document["verdict"]["pairs"]
    shared = set[str].intersection(*({pair["a"], pair["b"]} for pair in every)) if every else set[str]()
    control = len(every) > 1 and len(shared) == 1
    first = next(iter(shared)) if control else document["arms"][0]["name"] if document["arms"] else ""
    pairs = [pair for pair in every if first in (pair["a"], pair["b"])]
    if not pairs:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    head = f"{first} against" if control else "best arm against"
    for name in (head, "by", "interval", "p", "verdict"):
        table.add_column(escape(name), justify="left" if name in (head, "verdict") else "right", overflow="fold")
    for pair in pairs:
        gap, bounds = (pair["gap"], interval(pair)) if pair["a"] == first else (-pair["gap"], interval(_turned(pair)))
        other = pair["b"] if pair["a"] == first else pair["a"]
        table.add_row(escape(other), number(gap), bounds, number(pair["p"], 3), escape(pair["words"]))
    yield table
    yield Text(document["verdict"]["method"], style="dim")
    yield Text()


def _turned(item: Bounds) -> Bounds:
    """The interval of the gap the other way round."""
    low, high = item["low"], item["high"]
    return {"low": None if high is None else -high, "high": None if low is None else -low}


def _proof(proof: Comparability) -> Iterator[RenderableType]:
    if proof["fair"]:
        allowed = [item["field"] for item in proof["differing"]]
        apart = f"; allowed to differ: {', '.join(allowed)}" if allowed else "."
        yield Text(f"Comparable: {len(proof['equal'])} settings and hashes are equal{apart}")
    yield from _by_design("Recipes differ in:", proof["recipes"])
    yield from _by_design("Budgets differ in:", proof["budgets"])
    charged = {item["arm"]: item["episodes"] for item in proof["charged"]}
    if len(set(charged.values())) > 1:
        yield Text("Episodes charged: " + ", ".join(f"{arm} {number(count, 0)}" for arm, count in charged.items()))


def _by_design(title: str, items: Sequence[ByArm]) -> Iterator[RenderableType]:
    """Fields that differ between arms, apart from an algorithm's own."""
    common = [item for item in items if not item["field"].startswith("algo.")]
    if common:
        yield Text(title)
        yield from (Padding(Text(f"{item['field']}: {_values(item['values'])}"), (0, 0, 0, 2)) for item in common)


def _values(values: Mapping[str, Any]) -> str:
    """Arms by value: `0.1 in ppo, rloo; 0.2 in dpo`."""
    by_value: dict[str, list[str]] = {}
    for arm, value in values.items():
        by_value.setdefault(str(value), []).append(arm)
    return "; ".join(f"{value} in {', '.join(names)}" for value, names in by_value.items())


def _missing(document: Document) -> Iterator[RenderableType]:
    for item in document["missing"]:
        yield Text(f"{item['arm']} lacks seed {', '.join(map(str, item['seeds']))}", style="yellow")


def _left_out(runs: Sequence[LeftOut]) -> Iterator[RenderableType]:
    for run in runs:
        yield Text(f"left out: {run['name']}: {run['why']}", style="yellow")


def _audit(document: Document) -> Iterator[RenderableType]:
    """Where judges disagree and what they could not judge, or that nothing was found."""
    if not document["arms"]:
        return
    if not document["audit"]:
        yield Text(NOTHING_FOUND, style="dim")
        return
    yield Text("Instrument audit:")
    yield from (Padding(Text(one["words"], style="yellow"), (0, 0, 0, 2)) for one in document["audit"])


def _notes(notes: Sequence[str]) -> Iterator[RenderableType]:
    for note in notes:
        yield Text(f"* {note}")


def _foreign(foreign: Foreign) -> Iterator[RenderableType]:
    """Runs of other programs, apart from all that is proven."""
    yield Text()
    yield Text(foreign["sentence"], style="bold yellow")
    yield Text(f"{foreign['metric']}; 95 % t intervals over seeds; {foreign['method']}", style="dim")
    yield Text()
    table = _table(("arm", "n", "score", "interval", "by seed", "start", "KL", "length"), left=(0, 4))
    for arm in foreign["arms"]:
        seeds = " ".join(number(value, 3) for value in arm["values"])
        beside = (number(arm["beside"][key], 3) for key in ("objective/kl", "completions/mean_length"))
        score = (number(arm["mean"], 3), interval(arm, 3), seeds, number(arm["start"], 3))
        table.add_row(escape(arm["name"]), str(arm["n"]), *score, *beside)
    yield table
    yield from _settings_tables(foreign["settings"])
    yield from _pairs_in_words(foreign["pairs"])
    yield from _left_out(foreign["left_out"])
    yield from _notes(foreign["notes"])


def _settings_tables(settings: Sequence[ForeignSettings]) -> Iterator[RenderableType]:
    """Field by field what differs and what is not known; what is equal by name."""
    for one in settings:
        yield Text()
        yield Text(f"{one['arm']} ({one['version']}), read from {', '.join(one['files'])}:")
        table = _table(("field", "", one["against"], one["arm"], "source"), left=(0, 1, 2, 3, 4))
        for row in (row for row in one["fields"] if row["state"] != "equal"):
            state = "?" if row["state"] == "not known" else "≠"
            table.add_row(row["field"], state, escape(row["ours"]), escape(row["theirs"]), escape(row["source"]))
        yield table
        yield Text("equal: " + ", ".join(row["field"] for row in one["fields"] if row["state"] == "equal"), style="dim")


def _pairs_in_words(pairs: Sequence[Pair]) -> Iterator[RenderableType]:
    """Pairs in words: `a against b: 0.020 [0.010, 0.030]: a > b`."""
    yield Text()
    for pair in pairs:
        gap = f"{number(pair['gap'], 3)} {interval(pair, 3)}".strip()
        yield Text(f"{pair['a']} against {pair['b']}: {gap}: {pair['words']}")


def number(value: float | None, digits: int = 2) -> str:
    """With that many decimals; empty where there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def interval(item: Bounds, digits: int = 2) -> str:
    """`[0.10, 0.30]`; nothing where there is none."""
    low, high = item["low"], item["high"]
    return "" if low is None or high is None else f"[{low:.{digits}f}, {high:.{digits}f}]"


def differing(items: Sequence[Differing]) -> str:
    """Each setting that differs and may not: its values, each with a run that has it."""

    def where(names: Sequence[str]) -> str:
        return f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}"

    return "\n".join(
        f"  {item['field']}: " + "; ".join(f"{value} in {where(names)}" for value, names in item["values"].items())
        for item in items
        if not item["allowed"]
    )
