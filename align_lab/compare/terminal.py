"""The comparison on a terminal: the verdict first, then what it stands on. Fits 80 columns, and a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

GOLD = "eval/gold_score"
BESIDE = {
    "eval/score": ("proxy", 2),
    "eval/kl": ("KL", 1),
    "eval/length": ("length", 1),
    "eval/distinct_2": ("dist-2", 2),
}

Document = Mapping[str, Any]


def render(document: Document) -> Group:
    """Everything that decides, in the order in which a reader asks for it."""
    return Group(
        *_head(document),
        arms(document),
        Text(),
        *_pairs(document),
        *_proof(document),
        *_left_out(document),
        *_notes(document),
    )


def show(document: Document, console: Console) -> None:
    console.print(render(document), soft_wrap=False)


def _head(document: Document) -> Iterator[RenderableType]:
    yield Text(document["study"], style="bold")
    if document["question"]:
        yield Text(document["question"])
    yield Text(document["verdict"]["sentence"], style="bold green" if document["comparability"]["fair"] else "bold")
    yield Text("Scores in sd of human reviews; 95 % t intervals over seeds.", style="dim")
    yield Text()


def arms(document: Document) -> Table:
    """Best arm first: gold score with its interval and every seed, then what should stand beside a score."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("arm", "n", "gold", "interval", "by seed", *(label for label, _ in BESIDE.values())):
        left = name in ("arm", "by seed")
        table.add_column(name, justify="left" if left else "right", overflow="fold", no_wrap=not left)
    for arm in document["arms"]:
        gold = arm["metrics"].get(GOLD, {})
        beside = (number(arm["metrics"].get(key, {}).get("mean"), digits) for key, (_, digits) in BESIDE.items())
        seeds = " ".join(number(value) for value in gold.get("values", []))
        table.add_row(escape(arm["name"]), str(arm["n"]), number(gold.get("mean")), interval(gold), seeds, *beside)
    return table


def _pairs(document: Document) -> Iterator[RenderableType]:
    """The best arm against each other one; the page has every pair."""
    pairs = document["verdict"]["pairs"]
    best = [pair for pair in pairs if document["arms"] and document["arms"][0]["name"] in (pair["a"], pair["b"])]
    if not best:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("best arm against", "by", "interval", "p", "verdict"):
        table.add_column(name, justify="left" if name in ("best arm against", "verdict") else "right", overflow="fold")
    for pair in best:
        table.add_row(
            escape(pair["b"]), number(pair["gap"]), interval(pair), number(pair["p"], 3), escape(pair["words"])
        )
    yield table
    yield Text(document["verdict"]["method"], style="dim")
    yield Text()


def _proof(document: Document) -> Iterator[RenderableType]:
    proof = document["comparability"]
    if proof["fair"]:
        allowed = [item["field"] for item in proof["differing"]]
        apart = f"; allowed to differ: {', '.join(allowed)}" if allowed else "."
        yield Text(f"Comparable: {len(proof['equal'])} settings and hashes are equal{apart}")
    for title, items in (("Recipes differ in", proof["recipes"]), ("Budgets differ in", proof["budgets"])):
        shown = [item for item in items if not item["field"].startswith("algo.")]
        if shown:
            yield Text(f"{title}:")
            yield from (Padding(Text(f"{item['field']}: {_values(item['values'])}"), (0, 0, 0, 2)) for item in shown)
    charged = {item["arm"]: item["episodes"] for item in proof["charged"]}
    if len(set(charged.values())) > 1:
        yield Text("Episodes charged: " + ", ".join(f"{arm} {number(count, 0)}" for arm, count in charged.items()))


def _values(values: Mapping[str, Any]) -> str:
    """Arms by value: `0.1 in ppo, rloo; 0.2 in dpo`."""
    by_value: dict[str, list[str]] = {}
    for arm, value in values.items():
        by_value.setdefault(str(value), []).append(arm)
    return "; ".join(f"{value} in {', '.join(names)}" for value, names in by_value.items())


def _left_out(document: Document) -> Iterator[RenderableType]:
    for item in document["missing"]:
        yield Text(f"{item['arm']} lacks seed {', '.join(map(str, item['seeds']))}", style="yellow")
    for item in document["unfinished"]:
        yield Text(f"left out: {item['name']}: {item['why']}", style="yellow")


def _notes(document: Document) -> Iterator[RenderableType]:
    for note in document["notes"]:
        yield Text(f"* {note}")


def number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def interval(item: Mapping[str, Any]) -> str:
    """`[0.10, 0.30]`; nothing where there is none."""
    low, high = item.get("low"), item.get("high")
    return "" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"


def differing(items: Sequence[Mapping[str, Any]]) -> str:
    """Each setting that differs and may not: its values, each with a run that has it."""

    def where(names: Sequence[str]) -> str:
        return f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}"

    found = ((item["field"], item["values"]) for item in items if not item["allowed"])
    return "\n".join(
        f"  {field}: " + "; ".join(f"{value} in {where(names)}" for value, names in values.items())
        for field, values in found
    )
