"""What decides, on the terminal: pairs of arms, claims, and what tuning has left of them."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from align_lab.compare import gaps, outcomes
from align_lab.compare.document import Document, TuningDocument
from align_lab.compare.precision import WIDER, widest
from align_lab.compare.terminal_cells import Bounds, interval, number, plain_table, probability
from align_lab.record.fitted_table import FittedTable
from align_lab.record.terminal import escape

MOST_PAIRS = 15
PROMPTS = "& prompts"  # above the interval over seeds and prompts


def pairs(document: Document) -> Iterator[RenderableType]:
    """The pairs that were asked for, those that are decided first; the page has every pair."""
    every, smallest = document["verdict"]["pairs"], document["verdict"]["smallest"]
    if not every:
        return
    shown = outcomes.first(every, smallest, most=MOST_PAIRS)
    places = gaps.places((gaps.half(one["low"], one["high"]) for one in shown), [one["gap"] for one in shown])
    much = (widest(every, document["precision"]) or 1.0) >= WIDER
    wide = {(one["a"], one["b"]): one for one in document["precision"]} if much else {}
    names = ("first − second", "gap", "interval", *([PROMPTS] if wide else []), "p", "the first is")
    last = len(names) - 1
    table = FittedTable(
        headings=names,
        left=(0, last),
        folds=(0, last),
        whole=(0, last),
        dispensable=(3, 4) if wide else (3,),
        legend={3: f"{PROMPTS}: over seeds and prompts, for other prompts of their kind as well"} if wide else {},
    )
    for pair in shown:
        digits = gaps.enough(places, pair["low"], pair["high"])
        own = wide.get((pair["a"], pair["b"]), Bounds(low=None, high=None))
        bounds = [interval(one, digits) for one in ([pair, own] if wide else [pair])]
        name, said = escape(f"{pair['a']} − {pair['b']}"), escape(outcomes.in_words(pair, smallest))
        table.add_row(name, number(pair["gap"], digits), *bounds, probability(pair["p"]), said)
    yield table
    yield Text(document["verdict"]["method"], style="dim")
    if left := len(every) - len(shown):
        yield Text(f"{left} more pairs stand on the page", style="dim")
    yield Text()


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
