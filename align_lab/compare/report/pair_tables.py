"""The tables of pairs: gaps with their intervals, and win rates of arm against arm."""

from __future__ import annotations

from align_lab.compare import gaps, outcomes
from align_lab.compare.document import Document, Improvement, Pair, Rate
from align_lab.compare.report import words
from align_lab.compare.report.grid import Cell, Column, Grid, Row, numeric, row

FEW_ARMS = 5  # of which a cell of a square table has room for an interval
CHANCE = "probability that a run of the first beats a run of the second, seed by seed where both have the same seeds"


def pairs(document: Document) -> Grid:
    """The gap of each pair with its corrected interval, the probability of improvement, and what follows in words."""
    every, smallest = document["verdict"]["pairs"], document["verdict"]["smallest"]
    places = gaps.places((gaps.half(pair["low"], pair["high"]) for pair in every), [pair["gap"] for pair in every])
    chance = {(each["a"], each["b"]): each for each in document["improvement"]}
    return Grid(
        name="pairs",
        caption=f"Every pair by {words.metric(document, document['metric'])}.",
        columns=(
            Column("pair"),
            numeric("gap", "mean of the first minus mean of the second"),
            numeric("corrected interval"),
            numeric("corrected p"),
            numeric("P(first > second)", CHANCE),
            numeric("its interval"),
            Column("the first is", wide=True),
        ),
        rows=tuple(
            _pair(pair, chance.get((pair["a"], pair["b"])), places, smallest)
            for pair in outcomes.ordered(every, smallest)
        ),
    )


def _pair(pair: Pair, chance: Improvement | None, places: int, smallest: float | None) -> Row:
    digits = gaps.enough(places, pair["low"], pair["high"])
    decided = outcomes.outcome(pair, smallest) in ("better", "slight")
    return row(
        f"{pair['a']} − {pair['b']}",
        words.number(pair["gap"], digits),
        words.between(pair["low"], pair["high"], digits),
        words.probability(pair["p"]),
        words.number(chance["value"], 2) if chance else words.NOTHING,
        words.between(chance["low"], chance["high"], 2) if chance else words.NOTHING,
        Cell(_in_words(pair, smallest), "good" if decided else ""),
        arms=[pair["a"], pair["b"]],
    )


def _in_words(pair: Pair, smallest: float | None) -> str:
    """What follows, and why seeds do not suffice where no number of them is the answer: a plan that has ended."""
    text = outcomes.in_words(pair, smallest)
    return pair["words"] if pair["needed"] is None and pair["words"].startswith(text) else text


def wins(document: Document) -> Grid:
    """Row against column: the rate, of few arms with its interval, shaded where the page shows it."""
    table = document["wins"]
    prompts, score = words.count(table["prompts"]), words.metric(document, document["metric"])
    few = len(table["arms"]) <= FEW_ARMS
    bounds = ", with an interval over seeds and prompts" if few else "; intervals are in wins.csv"
    return Grid(
        name="wins",
        caption=f"Share of {prompts} held-out prompts on which the row's completion has the higher {score} than "
        f"the column's (ties count half){bounds}.{_of_first(document)}",
        columns=(Column("arm"), *(Column(arm, numeric=True, arms=(arm,)) for arm in table["arms"])),
        rows=tuple(
            row(arm, *(_rate(cell, few) for cell in cells), arms=[arm])
            for arm, cells in zip(table["arms"], table["matrix"], strict=True)
        ),
    )


def _rate(cell: Rate | None, bounds: bool) -> Cell:
    if cell is None:
        return Cell("")
    low, high = (cell["low"], cell["high"]) if bounds else (None, None)
    return Cell(words.with_interval(cell["rate"], low, high, 2), shade=2 * cell["rate"] - 1)


def _of_first(document: Document) -> str:
    """That not every seed's completions were read."""
    seeds = document["wins"]["seeds"]
    return f" Of the first {seeds} seeds of an arm." if any(arm["n"] > seeds for arm in document["arms"]) else ""
