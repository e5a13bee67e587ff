"""The tables of results: arms, pairs, win rates, ranking by axis, over-optimisation, health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from align_lab.compare.report import words
from align_lab.compare.report.grid import Cell, Column, Grid, Row, Tone, numeric, row

MOST_SEEDS = 10  # in columns of their own; more are listed in one cell
MOST_VALUES = 20  # of a cell

Document = Mapping[str, Any]


def arms(document: Document, metric: str) -> Grid:
    """Every arm with every seed's value, mean with t interval, IQM with its interval and that interval's measured coverage."""
    rows = [arm for arm in document["arms"] if metric in arm["metrics"]]
    places = words.digits(value for arm in rows for value in arm["metrics"][metric]["values"])
    seeds = sorted({seed for arm in rows for seed in arm["seeds"]})
    apart = len(seeds) <= MOST_SEEDS
    sure = words.share(document["verdict"]["confidence"])
    columns = (
        Column("arm"),
        numeric("n", "finished seeds"),
        *([numeric(f"seed\u00a0{seed}") for seed in seeds] if apart else [Column("by seed", wide=True)]),
        numeric("mean"),
        numeric(f"{sure} t interval"),
        numeric("sd", "standard deviation over seeds"),
        numeric("IQM", "mean of the middle half of the seeds"),
        numeric("IQM interval", f"stratified bootstrap, nominally {sure}"),
        numeric("its coverage", "how often an interval of this kind holds the true value at this n, measured"),
    )
    coverage = document["iqm_coverage"]
    start = next((arm["metrics"][metric]["start"] for arm in rows), None)
    return Grid(
        name=f"arms-{metric}",
        caption=f"At the end: {words.explained(metric)}. Before training: {words.number(start, places)}. Best arm first.",
        columns=columns,
        rows=tuple(_arm(arm, metric, seeds if apart else None, places, coverage) for arm in rows),
    )


def _arm(
    arm: Mapping[str, Any], metric: str, seeds: list[int] | None, places: int, coverage: Mapping[str, float]
) -> Row:
    summary = arm["metrics"][metric]
    values = dict(zip(arm["seeds"], summary["values"], strict=True))
    if seeds is None:
        first = " ".join(words.number(value, places) for value in summary["values"][:MOST_VALUES])
        more = len(values) - MOST_VALUES
        shown = [f"{first} … and {more} more" if more > 0 else first]
    else:
        shown = [words.number(values.get(seed), places) for seed in seeds]
    return row(
        arm["name"], words.count(arm["n"]), *shown,
        words.number(summary["mean"], places), words.interval(summary, places), words.number(summary["sd"], places),
        words.number(summary["iqm"], places), words.interval(summary, places, low="iqm_low", high="iqm_high"),
        words.share(coverage.get(str(arm["n"]))),
        arms=[arm["name"]],
    )  # fmt: skip


def pairs(document: Document) -> Grid:
    """The gap of each pair with its corrected interval, the probability of improvement, and what follows in words."""
    rows = document["verdict"]["pairs"]
    places = words.digits(pair["gap"] for pair in rows)
    chance = {(each["a"], each["b"]): each for each in document["improvement"]}
    return Grid(
        name="pairs",
        caption=f"Every pair by {words.metric(document['metric'])}.",
        columns=(
            Column("pair"),
            numeric("gap", "mean of the first minus mean of the second"),
            numeric("corrected interval"),
            numeric("corrected p"),
            numeric(
                "P(first > second)",
                "probability that a run of the first beats a run of the second, seed by seed where both have the same seeds",
            ),
            numeric("its interval"),
            Column("in words", wide=True),
        ),
        rows=tuple(
            row(
                f"{pair['a']} − {pair['b']}",
                words.number(pair["gap"], places),
                words.interval(pair, places),
                words.probability(pair["p"]),
                *_chance(chance.get((pair["a"], pair["b"]))),
                Cell(pair["words"], _tone(pair)),
                arms=[pair["a"], pair["b"]],
            )
            for pair in rows
        ),
    )


def _chance(each: Mapping[str, Any] | None) -> tuple[str, str]:
    return (words.number(each["value"], 2), words.interval(each, 2)) if each else (words.NOTHING, words.NOTHING)


def _tone(pair: Mapping[str, Any]) -> Tone:
    low, high = pair["low"], pair["high"]
    return "good" if low is not None and high is not None and (low > 0 or high < 0) else ""


def wins(document: Document) -> Grid:
    """Row against column, rate with interval."""
    table = document["wins"]
    return Grid(
        name="wins",
        caption=f"Share of {words.count(table['prompts'])} held-out prompts on which the row's completion has the higher gold score than "
        "the column's (ties count half), with an interval over seeds and prompts.",
        columns=(Column("arm"), *(Column(f"against {arm}", numeric=True, arms=(arm,)) for arm in table["arms"])),
        rows=tuple(
            row(arm, *(f"{cell['rate']:.2f} ({words.interval(cell, 2)})" if cell else "" for cell in cells), arms=[arm])
            for arm, cells in zip(table["arms"], table["matrix"], strict=True)
        ),
    )


def axes(document: Document) -> Grid:
    """The same comparison at equal episodes, tokens, seconds, FLOPs and KL: an axis a row, an arm a column."""
    places = words.digits(place["mean"] for axis in document["axes"] for place in axis["ranking"])
    arms = [arm["name"] for arm in document["arms"]]
    by_arm = (Column(arm, numeric=True, arms=(arm,)) for arm in arms)
    return Grid(
        name="axes",
        caption=f"{words.metric(document['metric']).capitalize()} at the largest value that every arm reaches: rank, mean and interval.",
        columns=(Column("compared at equal"), numeric("at"), *by_arm),
        rows=tuple(
            row(
                words.axis(axis["axis"]),
                words.quantity(axis["at"], axis["unit"] if axis["axis"] == "kl" else ""),
                *_places(axis["ranking"], arms, places),
            )
            for axis in document["axes"]
        ),
    )


def _places(ranking: Sequence[Mapping[str, Any]], arms: Sequence[str], places: int) -> list[str]:
    """`#1 0.86 (0.80 to 0.92)` for each arm."""
    found = {
        place["arm"]: f"#{rank} {words.number(place['mean'], places)} ({words.interval(place, places)})"
        for rank, place in enumerate(ranking, 1)
    }
    return [found.get(arm, words.NOTHING) for arm in arms]


def overoptimisation(document: Document) -> Grid:
    """Where gold peaks while the proxy rises, and the checkpoint to keep."""
    rows = document["overoptimisation"]
    places = words.digits(each["peak_gold"] for each in rows)
    return Grid(
        name="overoptimisation",
        caption="Runs by their gold score along training: over-optimised are those whose gold score falls while the proxy rises.",
        columns=(
            Column("run"), numeric("seed"), numeric("gold at its peak"), numeric("peak at step"), numeric("gold at the end"),
            Column("proxy rose"), numeric("keep step"), Column("in words", wide=True),
        ),
        rows=tuple(
            row(
                Cell(each["arm"], href=words.href(document, each["run"])), str(each["seed"]),
                words.number(each["peak_gold"], places), words.plain(each["peak_step"]), words.number(each["last_gold"], places),
                "yes" if each["proxy_rose"] else "no", words.plain(each["keep"]), Cell(each["words"], "bad" if each["marked"] else ""),
                arms=[each["arm"]],
            )
            for each in rows
        ),
    )  # fmt: skip


def health(document: Document) -> Grid:
    """Length, entropy and diversity before and after."""
    names = ("length", "entropy", "distinct_2")
    return Grid(
        name="health",
        caption="Length, entropy and diversity beside the score, before training and after: a length hack or a collapse shows here.",
        columns=(
            Column("arm"),
            *(numeric(words.with_unit(f"eval/{name}")) for name in names),
            Column("in words", wide=True),
        ),
        rows=tuple(
            row(
                each["arm"],
                *(f"{words.number(each[f'{name}_start'])} → {words.number(each[name])}" for name in names),
                Cell(each["words"], "warn" if each["words"] else ""),
                arms=[each["arm"]],
            )
            for each in document["health"]
        ),
    )
