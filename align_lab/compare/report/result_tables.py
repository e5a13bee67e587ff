"""The tables of results: arms, ranking by axis, over-optimization, health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from align_lab.compare import gaps
from align_lab.compare.document import SCORE, Arm, Axis, Document
from align_lab.compare.report import words
from align_lab.compare.report.grid import Cell, Column, Grid, Row, numeric, row

MOST_SEEDS = 10  # in columns of their own; more are listed in one cell
MOST_VALUES = 20  # of a cell
FEWEST_IQM = 5  # seeds of an arm below which the middle half is no statistic: of 3 it is hardly more than the median


def has_iqm(document: Document) -> bool:
    """Has any arm seeds enough for an interquartile mean?"""
    return any(arm["n"] >= FEWEST_IQM for arm in document["arms"])


def arms(document: Document, metric: str) -> Grid:
    """Every arm with every seed's value, mean with t interval, IQM with its interval and that interval's measured
    coverage.
    """
    members = [arm for arm in document["arms"] if metric in arm["metrics"]]
    places = _digits(members, metric)
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


def _digits(members: Sequence[Arm], metric: str) -> int:
    """Decimals that the intervals of these arms support."""
    of = [arm["metrics"][metric] for arm in members]
    return gaps.places(
        (gaps.half(one["low"], one["high"]) for one in of), [value for one in of for value in one["values"]]
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


def axes(document: Document) -> Grid:
    """The same comparison at equal episodes, tokens, seconds, FLOPs and KL: an arm a row, an axis a column."""
    every = [place for axis in document["axes"] for place in axis["ranking"]]
    places = gaps.places(
        (gaps.half(place["low"], place["high"]) for place in every), [place["mean"] for place in every]
    )
    score = words.capitalized(words.metric(document, document["metric"]))
    return Grid(
        name="axes",
        caption=f"{score} at the largest value that every arm reaches: rank, mean and interval.",
        columns=(Column("arm"), *(numeric(_at(axis), axis["unit"]) for axis in document["axes"])),
        rows=tuple(
            row(arm["name"], *(_place(arm["name"], axis, places) for axis in document["axes"]), arms=[arm["name"]])
            for arm in document["arms"]
        ),
    )


def _at(axis: Axis) -> str:
    """`at 320 episodes`; without the number where a run did not record it."""
    if axis["at"] is None:
        return f"at equal {words.axis(axis['axis'])}"
    return f"at {words.quantity(axis['at'], 'nats of' if axis['axis'] == 'kl' else '')} {words.axis(axis['axis'])}"


def _place(arm: str, axis: Axis, places: int) -> str:
    """`#1 0.86 [0.80, 0.92]`"""
    for rank, place in enumerate(axis["ranking"], 1):
        if place["arm"] == arm:
            return f"#{rank}\u00a0{words.with_interval(place['mean'], place['low'], place['high'], places)}"
    return words.NOTHING


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
