"""What decides, on the terminal: pairs of arms, claims, and what tuning has left of them."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from align_lab.compare.document import Document, TuningDocument
from align_lab.compare.precision import WIDER, widest
from align_lab.compare.terminal_cells import Bounds, interval, number, plain_table, probability
from align_lab.record.terminal import escape


def pairs(document: Document) -> Iterator[RenderableType]:
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
    much = (widest(every, document["precision"]) or 1.0) >= WIDER
    wide = {frozenset((one["a"], one["b"])): one for one in document["precision"]} if much else {}
    names = (head, "by", "interval", *(["& prompts"] if wide else []), "p", "verdict")
    for name in names:
        table.add_column(escape(name), justify="left" if name in (head, "verdict") else "right", overflow="fold")
    for pair in pairs:
        turned = pair["a"] != first
        gap, other = (-pair["gap"], pair["a"]) if turned else (pair["gap"], pair["b"])
        own = wide.get(frozenset((pair["a"], pair["b"])), Bounds(low=None, high=None))
        bounds = [interval(_turned(one) if turned else one) for one in ([pair, own] if wide else [pair])]
        table.add_row(escape(other), number(gap), *bounds, probability(pair["p"]), escape(pair["words"]))
    yield table
    yield Text(document["verdict"]["method"], style="dim")
    if wide:
        yield Text("& prompts: over seeds and prompts, for other prompts of their kind as well", style="dim")
    yield Text()


def _turned(item: Bounds) -> Bounds:
    """The interval of the gap the other way round."""
    low, high = item["low"], item["high"]
    return {"low": None if high is None else -high, "high": None if low is None else -low}


def claims(document: Document) -> Iterator[RenderableType]:
    """What a paper says of two arms, and whether it holds."""
    if not document["claims"]:
        return
    table = plain_table(("claim", "gap", "interval", "", ""), left=(0, 3, 4))
    for one in document["claims"]:
        outcome = {"held": "[green]held[/]", "did not hold": "[red]did not hold[/]"}.get(one["outcome"], one["outcome"])
        table.add_row(escape(one["claim"]), number(one["gap"]), interval(one), outcome, escape(one["why"]))
    yield table
    count = len(document["claims"])
    corrected = f", Bonferroni-corrected over all {count} claims" if count > 1 else ""
    yield Text(f"Welch t intervals{corrected}", style="dim")
    yield Text()


def tuning(tuned: TuningDocument | None) -> Iterator[RenderableType]:
    """What was found, what remained of it, and what it cost; then the best of fewer trials."""
    if tuned is None:
        return
    yield Text(f"Tuning: {tuned['trials']} trials an arm, at seeds {', '.join(map(str, tuned['seeds']))}")
    table = plain_table(("arm", "tuned", "fresh", "optimism", "interval", "episodes"), left=(0,))
    for one in tuned["arms"]:
        values = (number(one[key]) for key in ("tuned", "fresh", "optimism"))
        table.add_row(escape(one["arm"]), *values, interval(one), f"{one['episodes']:,.0f}")
    yield table
    if counts := [str(one["trials"]) for one in tuned["arms"][0]["expected"]]:
        best = plain_table(("best of", *counts), left=(0,))
        for one in tuned["arms"]:
            best.add_row(escape(one["arm"]), *(number(at["mean"]) for at in one["expected"]))
        yield best
    yield Text(tuned["method"], style="dim")
    yield Text()
