"""The tables of results: arms, pairs, win rates, ranking by axis, over-optimization, health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from align_lab.compare.document import SCORE, Arm, Document, Improvement, Pair, Ranked
from align_lab.compare.report import words
from align_lab.compare.report.grid import Cell, Column, Grid, Row, Tone, numeric, row

MOST_SEEDS = 10  # in columns of their own; more are listed in one cell
MOST_VALUES = 20  # of a cell
FEWEST_IQM = 5  # seeds of an arm below which the middle half is no statistic: of 3 it is hardly more than the median
CHANCE = "probability that a run of the first beats a run of the second, seed by seed where both have the same seeds"


def has_iqm(document: Document) -> bool:
    """Has any arm seeds enough for an interquartile mean?"""
    return any(arm["n"] >= FEWEST_IQM for arm in document["arms"])


def arms(document: Document, metric: str) -> Grid:
    """Every arm with every seed's value, mean with t interval, IQM with its interval and that interval's measured
    coverage.
    """
    members = [arm for arm in document["arms"] if metric in arm["metrics"]]
    places = words.digits(value for arm in members for value in arm["metrics"][metric]["values"])
    seeds = sorted({seed for arm in members for seed in arm["seeds"]})
    apart = seeds if len(seeds) <= MOST_SEEDS else None
    start = members[0]["metrics"][metric]["start"] if members else None
    what = words.explained(document, metric)
    return Grid(
        name=f"arms-{metric}",
        caption=f"At the end: {what}. Before training: {words.number(start, places)}. Best arm first.",
        columns=_arm_columns(apart, words.share(document["verdict"]["confidence"])),
        rows=tuple(_arm(arm, metric, apart, places, document["iqm_coverage"]) for arm in members),
    )


def _arm_columns(seeds: Sequence[int] | None, sure: str) -> tuple[Column, ...]:
    by_seed = [Column("by seed", wide=True)] if seeds is None else [numeric(f"seed\u00a0{seed}") for seed in seeds]
    return (
        Column("arm"),
        numeric("n", "finished seeds"),
        *by_seed,
        numeric("mean"),
        numeric(f"{sure} t interval"),
        numeric("sd", "standard deviation over seeds"),
        numeric("IQM", "mean of the middle half of the seeds"),
        numeric("IQM interval", f"stratified bootstrap, nominally {sure}"),
        numeric("its coverage", "how often an interval of this kind holds the true value at this n, measured"),
    )


def _arm(arm: Arm, metric: str, seeds: Sequence[int] | None, places: int, coverage: Mapping[str, float]) -> Row:
    summary = arm["metrics"][metric]
    values = dict(zip(arm["seeds"], summary["values"], strict=True))
    if seeds is None:
        first = " ".join(words.number(value, places) for value in summary["values"][:MOST_VALUES])
        more = len(values) - MOST_VALUES
        cells = [f"{first} … and {more} more" if more > 0 else first]
    else:
        cells = [words.number(values.get(seed), places) for seed in seeds]
    enough = arm["n"] >= FEWEST_IQM
    low, high = (summary["iqm_low"], summary["iqm_high"]) if enough else (None, None)
    return row(
        arm["name"], words.count(arm["n"]), *cells,
        words.number(summary["mean"], places), words.between(summary["low"], summary["high"], places),
        words.number(summary["sd"], places),
        words.number(summary["iqm"] if enough else None, places), words.between(low, high, places),
        words.share(coverage.get(str(arm["n"])) if enough else None),
        arms=[arm["name"]],
    )  # fmt: skip


def pairs(document: Document) -> Grid:
    """The gap of each pair with its corrected interval, the probability of improvement, and what follows in words."""
    every = document["verdict"]["pairs"]
    places = words.digits(pair["gap"] for pair in every)
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
            Column("in words", wide=True),
        ),
        rows=tuple(_pair(pair, chance.get((pair["a"], pair["b"])), places) for pair in every),
    )


def _pair(pair: Pair, chance: Improvement | None, places: int) -> Row:
    return row(
        f"{pair['a']} − {pair['b']}",
        words.number(pair["gap"], places),
        words.between(pair["low"], pair["high"], places),
        words.probability(pair["p"]),
        words.number(chance["value"], 2) if chance else words.NOTHING,
        words.between(chance["low"], chance["high"], 2) if chance else words.NOTHING,
        Cell(pair["words"], _tone(pair)),
        arms=[pair["a"], pair["b"]],
    )


def _tone(pair: Pair) -> Tone:
    low, high = pair["low"], pair["high"]
    return "good" if low is not None and high is not None and (low > 0 or high < 0) else ""


def wins(document: Document) -> Grid:
    """Row against column, rate with interval."""
    table = document["wins"]
    prompts, score = words.count(table["prompts"]), words.metric(document, document["metric"])
    return Grid(
        name="wins",
        caption=f"Share of {prompts} held-out prompts on which the row's completion has the higher {score} than "
        "the column's (ties count half), with an interval over seeds and prompts.",
        columns=(Column("arm"), *(Column(f"against {arm}", numeric=True, arms=(arm,)) for arm in table["arms"])),
        rows=tuple(
            row(
                arm,
                *(
                    f"{cell['rate']:.2f} ({words.between(cell['low'], cell['high'], 2)})" if cell else ""
                    for cell in cells
                ),
                arms=[arm],
            )
            for arm, cells in zip(table["arms"], table["matrix"], strict=True)
        ),
    )


def axes(document: Document) -> Grid:
    """The same comparison at equal episodes, tokens, seconds, FLOPs and KL: an axis a row, an arm a column."""
    places = words.digits(place["mean"] for axis in document["axes"] for place in axis["ranking"])
    arms = [arm["name"] for arm in document["arms"]]
    by_arm = (Column(arm, numeric=True, arms=(arm,)) for arm in arms)
    score = words.capitalized(words.metric(document, document["metric"]))
    return Grid(
        name="axes",
        caption=f"{score} at the largest value that every arm reaches: rank, mean and interval.",
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


def _places(ranking: Sequence[Ranked], arms: Sequence[str], places: int) -> list[str]:
    """`#1 0.86 (0.80 to 0.92)` for each arm."""
    texts = {
        place[
            "arm"
        ]: f"#{rank} {words.number(place['mean'], places)} ({words.between(place['low'], place['high'], places)})"
        for rank, place in enumerate(ranking, 1)
    }
    return [texts.get(arm, words.NOTHING) for arm in arms]


def overoptimization(document: Document) -> Grid:
    """Where the deciding score peaks while the optimized one rises, and the checkpoint to keep."""
    runs = [each for each in document["overoptimization"] if each["words"]]
    places = words.digits(each["peak"] for each in runs)
    score, decides = words.metric(document, document["metric"]), words.short(document, document["metric"])
    optimized = words.short(document, SCORE)
    return Grid(
        name="overoptimization",
        caption=(
            f"Runs by their {score} along training: over-optimized are those whose {score} falls while the "
            f"{optimized} rises."
        ),
        columns=(
            Column("run"), numeric("seed"), numeric(f"{decides} at its peak"), numeric("peak at step"),
            numeric(f"{decides} at the end"), Column(f"{optimized} rose"), numeric("keep step"),
            Column("in words", wide=True),
        ),
        rows=tuple(
            row(
                Cell(each["arm"], href=words.href(document["links"], each["run"])), str(each["seed"]),
                words.number(each["peak"], places), words.plain(each["peak_step"]), words.number(each["last"], places),
                "yes" if each["score_rose"] else "no", words.plain(each["keep"]),
                Cell(each["words"], "bad" if each["marked"] else ""),
                arms=[each["arm"]],
            )
            for each in runs
        ),
    )  # fmt: skip


def health(document: Document) -> Grid:
    """Length, entropy and diversity before and after."""
    names = ("eval/length", "eval/entropy", "eval/distinct_2")
    return Grid(
        name="health",
        caption=(
            "Length, entropy and diversity beside the score, before training and after: a length hack or "
            "a collapse shows here."
        ),
        columns=(
            Column("arm"),
            *(numeric(words.with_unit(document, name)) for name in names),
            Column("in words", wide=True),
        ),
        rows=tuple(
            row(
                each["arm"],
                _change(each["length_start"], each["length"]),
                _change(each["entropy_start"], each["entropy"]),
                _change(each["distinct_2_start"], each["distinct_2"]),
                Cell(each["words"], "warn" if each["words"] else ""),
                arms=[each["arm"]],
            )
            for each in document["health"]
        ),
    )


def audit(document: Document) -> Grid:
    """Where judges disagree, and what they could not judge."""
    return Grid(
        name="audit",
        caption="What the numbers rest on, by arm; intervals are 95 % t intervals over seeds.",
        columns=(Column("arm"), Column("metric"), Column("finding", wide=True)),
        rows=tuple(
            row(each["arm"], words.metric(document, each["metric"]), Cell(each["words"], "warn"), arms=[each["arm"]])
            for each in document["audit"]
        ),
    )


def _change(start: float | None, end: float | None) -> str:
    return f"{words.number(start)} → {words.number(end)}"
