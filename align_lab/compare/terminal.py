"""The comparison on a terminal: the verdict first, then what it stands on. Fits 80 columns, and a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from align_lab.compare import gaps, terminal_answers, terminal_factors, terminal_foreign
from align_lab.compare.audit import nothing_found
from align_lab.compare.document import SCORE, ByArm, Comparability, Differing, Document
from align_lab.compare.labels import short
from align_lab.compare.names import displayed
from align_lab.compare.terminal_cells import interval, left_out, notes, number, plain_table
from align_lab.record.fitted_table import FittedTable
from align_lab.record.terminal import escape

BESIDE = {SCORE: 2, "eval/kl": 1, "eval/length": 1, "eval/distinct_2": 2}  # metric -> decimals
NARROW = {"eval/distinct_2": "dist-2"}
WIDEST = 12  # letters above a column of numbers
WHOLE = 16  # so long a name of an arm is not broken into lines
SEEDS_SHOWN = 10  # of an arm, one by one


def render(document: Document) -> Group:
    """Everything that decides, in the order in which a reader asks for it."""
    document = displayed(document)
    foreign = document["foreign"]
    if foreign and not document["arms"]:
        return Group(Text(document["study"], style="bold"), *terminal_foreign.shown(foreign))
    return Group(
        *_head(document),
        *terminal_factors.factors(document["factors"]),
        arms(document),
        Text(),
        *terminal_answers.claims(document),
        *terminal_answers.tuning(document["tuning"]),
        *terminal_answers.pairs(document),
        *_proof(document["comparability"]),
        *_missing(document),
        *left_out(document["unfinished"]),
        *_audit(document),
        *notes(document["notes"]),
        *(terminal_foreign.shown(foreign) if foreign else ()),
    )


def show(document: Document, console: Console) -> None:
    """Print it."""
    console.print(render(document), soft_wrap=False)


def beginning(document: Document) -> list[RenderableType]:
    """What a reader sees first: the verdict and the arms, or the seeds of the only one."""
    document = displayed(document)
    return [*_head(document), seeds(document) if len(document["arms"]) == 1 else arms(document)]


def _head(document: Document) -> Iterator[RenderableType]:
    yield Text(document["study"], style="bold")
    if document["question"]:
        yield Text(document["question"])
    yield Text(document["verdict"]["sentence"], style="bold green" if document["comparability"]["fair"] else "bold")
    for warning in document["verdict"]["warnings"]:
        yield Text(warning, style="yellow")
    unit = document["metrics"][document["metric"]]["unit"]
    yield Text(
        f"Scores in {unit}; 95 % t intervals over seeds." if unit else "95 % t intervals over seeds.", style="dim"
    )
    yield Text()


def heading(document: Document, metric: str) -> str:
    """What fits above a narrow column: `exact` for exact score."""
    label = NARROW.get(metric) or short(document["metrics"][metric]["label"].removesuffix(f" ({metric})"))
    return label if len(label) <= WIDEST else f"{label[: WIDEST - 1]}…"


def arms(document: Document) -> FittedTable:
    """Best arm first: deciding score with its interval and every seed, then what should stand beside a score."""
    decides = document["metric"]
    known = {name for arm in document["arms"] for name, one in arm["metrics"].items() if one["mean"] is not None}
    beside = {name: digits for name, digits in BESIDE.items() if name != decides and name in known}
    headings = (heading(document, decides), "interval", "by seed", *(heading(document, name) for name in beside))
    long_names = any(len(arm["name"]) > WHOLE for arm in document["arms"])
    scores = [arm["metrics"][decides] for arm in document["arms"]]
    places = gaps.places((gaps.half(one["low"], one["high"]) for one in scores), [one["mean"] for one in scores])
    table = FittedTable(
        headings=("arm", "n", *map(escape, headings)),
        left=(0, 4),
        folds=(0, 4) if long_names else (4,),
        whole=(0, 4),
        dispensable=range(4 + len(beside), 3, -1),  # from the last one to `by seed`
    )
    for arm in document["arms"]:
        score = arm["metrics"][decides]
        means = (number(arm["metrics"][name]["mean"], digits) for name, digits in beside.items())
        mean, by_seed = number(score["mean"], places), _by_seed(score["values"], places)
        table.add_row(escape(arm["name"]), str(arm["n"]), mean, interval(score, places), by_seed, *means)
    return table


def _by_seed(values: Sequence[float | None], places: int) -> str:
    """Each seed's value; the lowest and the highest of more than a line can hold: the page draws each."""
    if len(values) <= SEEDS_SHOWN:
        return " ".join(number(value, places) for value in values)
    known = [value for value in values if value is not None]
    return f"{number(min(known), places)} to {number(max(known), places)}" if known else ""


def seeds(document: Document) -> Table:
    """The seeds of the first arm, a row each, and their mean with its interval: deciding score and what is beside."""
    arm, decides = document["arms"][0], document["metric"]
    shown = {decides: 2, **{name: digits for name, digits in BESIDE.items() if name in arm["metrics"]}}
    table = plain_table((arm["name"], *(heading(document, name) for name in shown), "interval"), left=(0,))
    for place, seed in enumerate(arm["seeds"]):
        values = (number(arm["metrics"][name]["values"][place], digits) for name, digits in shown.items())
        table.add_row(f"seed {seed}", *values, "")
    means = (number(arm["metrics"][name]["mean"], digits) for name, digits in shown.items())
    table.add_row("mean", *means, interval(arm["metrics"][decides]))
    return table


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


def _audit(document: Document) -> Iterator[RenderableType]:
    """Where judges disagree and what they could not judge, or that nothing was found."""
    if not document["arms"]:
        return
    if not document["audit"]:
        yield Text(nothing_found(document["arms"]), style="dim")
        return
    yield Text("Instrument audit:")
    yield from (Padding(Text(one["words"], style="yellow"), (0, 0, 0, 2)) for one in document["audit"])


def differing(items: Sequence[Differing]) -> str:
    """Each setting that differs and may not: its values, each with a run that has it."""

    def where(names: Sequence[str]) -> str:
        return f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}"

    return "\n".join(
        f"  {item['field']}: " + "; ".join(f"{value} in {where(names)}" for value, names in item["values"].items())
        for item in items
        if not item["allowed"]
    )
