"""The interval over seeds and prompts: its parts, its coverage by simulation, and what a purchase promises."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from align_lab.compare.crossed import Parts, interval, parts
from align_lab.compare.purchase import Costs, Plan, cheapest, seeds_alone
from align_lab.compare.statistics import Interval, welch_interval

LAWS = {  # sd of the seeds of each arm, of what a prompt does for one arm more than for the other, of an answer
    "seeds": (0.5, 0.5, 0.3, 1.0),
    "one arm's seeds": (0.1, 0.5, 0.3, 1.0),
    "prompts": (0.05, 0.05, 1.0, 1.0),
    "answers": (0.0, 0.0, 0.0, 1.0),
    "all": (0.15, 0.15, 0.7, 1.0),
}


def study(rng, n, number, law):
    """Scores of two arms that are equal over all seeds and prompts, on the same prompts: [n, number] each."""
    *seeds, prompts, answers = LAWS[law]
    level = rng.normal(size=(1, number))  # how hard a prompt is for both
    return [
        level
        + sd * rng.normal(size=(n, 1))
        + prompts / np.sqrt(2) * rng.normal(size=(1, number))
        + answers * rng.normal(size=(n, number))
        for sd in seeds
    ]


def both(tables, confidence=0.95):
    scores = [x.mean(1) for x in tables]
    narrow = welch_interval(*scores, confidence=confidence)
    return narrow, interval(narrow, scores, tables, confidence=confidence)


def covered(rng, n, number, law, draws=300):
    pairs = [both(study(rng, n, number, law)) for _ in range(draws)]
    return [np.mean([one.low <= 0 <= one.high for one in each]) for each in zip(*pairs, strict=True)]


@pytest.mark.parametrize(("n", "number"), list(product((3, 5, 10), (48, 128))))
def test_it_covers_the_gap_of_equal_arms_whatever_varies_most(n, number):
    rng = np.random.default_rng([n, number])
    shares = {law: covered(rng, n, number, law)[1] for law in LAWS}
    assert all(0.91 <= share <= 0.995 for share in shares.values()), shares  # 300 draws: 0.95 ± 0.013


def test_the_interval_over_seeds_alone_does_not_hold_for_other_prompts():
    narrow, wide = covered(np.random.default_rng(1), 10, 48, "prompts")
    assert narrow < 0.75 and wide > 0.91


def test_the_variance_is_that_of_an_analysis_of_variance_by_hand():
    a, b = np.array([[1.0, 2.0, 6.0], [3.0, 2.0, 4.0]]), np.array([[0.0, 1.0, 2.0], [1.0, 4.0, 1.0]])
    # seed means 3, 3 and 1, 2; what is left: ±1.0, 0.0, ∓1.0 (a); 0, ±1, ∓1 (b): 4 / 2 each
    split = parts([a.mean(1), b.mean(1)], [a, b])
    assert split.cells == pytest.approx((2.0, 2.0))
    assert split.seeds == pytest.approx((0.0, 0.0))  # 0 - 2 / 3 and 0.5 - 2 / 3, which stand as 0
    assert split.prompts == pytest.approx(max(0.0, np.var([1.5, -0.5, 3.5], ddof=1) - 2.0))
    assert split.total == pytest.approx(2 / 3 * (1 / 2 + 1 / 2) + 2.0 / 3)


def test_paired_differences_are_one_side():
    rng = np.random.default_rng(2)
    a, b = study(rng, 5, 48, "all")
    d = a - b
    gap = Interval(float(d.mean()), float(d.mean()) - 0.01, float(d.mean()) + 0.01)
    one = interval(gap, [d.mean(1)], [d], confidence=0.95)
    assert one.mean == gap.mean and one.high - one.low > 0.02


def test_it_is_never_narrower_than_the_interval_over_seeds_and_never_endless():
    rng = np.random.default_rng(3)
    for law in LAWS:
        widths = [[one.high - one.low for one in both(study(rng, 3, 48, law))] for _ in range(100)]
        assert all(narrow <= wide + 1e-12 for narrow, wide in widths)
        assert max(wide / narrow for narrow, wide in widths) < 200


def plan(**other):
    costs = Costs(run=90.0, completion=0.02)
    usual = {"smallest": 0.2, "confidence": 0.95, "samples": 1, "most_prompts": None, "costs": costs}
    return Plan(**(usual | other))


def simulated(rng, split: Parts, n, number):
    """The mean half-width of new studies with these parts."""
    halves = []
    for _ in range(60):
        tables = [
            np.sqrt(split.seeds[0]) * rng.normal(size=(n, 1))
            + np.sqrt(split.prompts / 2) * rng.normal(size=(1, number))
            + np.sqrt(split.cells[0]) * rng.normal(size=(n, number))
            for _ in "ab"
        ]
        wide = both(tables)[1]
        halves.append((wide.high - wide.low) / 2)
    return float(np.mean(halves))


def of(*, seeds=0.0, prompts=0.0, cells=0.0, within=np.nan, n=4, number=48):
    return Parts(
        seeds=(seeds, seeds), prompts=prompts, cells=(cells, cells), within=(within, within), runs=(n, n), number=number
    )


@pytest.mark.parametrize(
    ("split", "buys"),
    [
        (of(seeds=0.0004, prompts=1.5, cells=0.3), "prompts"),
        (of(seeds=0.04, prompts=0.02, cells=0.3, number=384), "seeds"),
        (of(seeds=0.002, prompts=0.01, cells=2.0), "prompts"),
    ],
)
def test_the_cheapest_purchase_is_of_what_dominates_and_keeps_its_promise(split, buys):
    best = cheapest(split, plan())
    assert best is not None
    assert (best.prompts > split.number, best.seeds > 3) == ((True, False) if buys == "prompts" else (False, True))
    got = simulated(np.random.default_rng(4), split, split.runs[0] + best.seeds, best.prompts)
    assert got == pytest.approx(best.half, rel=0.1) and got < 0.2
    alone = seeds_alone(split, plan())
    assert alone is None or alone.seconds >= best.seconds


def test_where_prompts_are_the_cause_no_number_of_seeds_helps():
    assert seeds_alone(of(seeds=0.0004, prompts=1.5, cells=0.3), plan()) is None
    assert seeds_alone(of(seeds=0.0004, prompts=0.02, cells=0.3), plan()) is not None


def test_samples_are_bought_where_the_set_holds_no_more_prompts_and_sampling_is_what_varies():
    split = of(seeds=0.0005, prompts=0.01, cells=2.0, within=1.9)
    best = cheapest(split, plan(most_prompts=48))
    assert best is not None and best.prompts == 48 and best.samples > 1
    unknown = cheapest(of(seeds=0.0005, prompts=0.01, cells=2.0), plan(most_prompts=48))
    assert unknown is not None and unknown.samples == 1 and unknown.seeds > best.seeds


def test_costs_decide_between_seeds_and_prompts():
    split = of(seeds=0.01, prompts=0.02, cells=1.0)
    dear = cheapest(split, plan(costs=Costs(run=1.0, completion=10.0)))
    cheap = cheapest(split, plan(costs=Costs(run=1e5, completion=0.01)))
    assert dear is not None and cheap is not None
    assert dear.prompts == 48 and dear.seeds > cheap.seeds and cheap.prompts > 48
    assert dear.seconds == pytest.approx(dear.seeds * 1.0)
    again = 4 * cheap.prompts + cheap.seeds * (cheap.prompts - 48)
    assert cheap.seconds == pytest.approx(cheap.seeds * 1e5 + again * 0.01)


def test_nothing_is_promised_that_cannot_be_had():
    assert cheapest(of(prompts=50.0, cells=0.1), plan(most_prompts=48)) is None
