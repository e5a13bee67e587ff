"""AdaStop (arXiv 2306.10882) as an oracle: on the same seeds, do its permutation tests and our looks say the same?

It ends a pair of arms where they differ, or after the last look. Five looks of five seeds each, for both.
"""

from itertools import pairwise

import numpy as np
import pytest
from adastop.compare_agents import MultipleAgentsComparator

from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.sequential import bounds
from align_lab.compare.sequential.looks import take

EACH, LOOKS = 5, 5
PLAN = SeedPlan(first=EACH, step=EACH, most=EACH * LOOKS, smallest=1e-9, hopeless=0)  # ends as AdaStop does


@pytest.fixture(scope="module")
def levels():
    return {arms: bounds.simulated(PLAN, arms, control=False, draws=40_000) for arms in (2, 3)}


def theirs(x):
    """The pairs that AdaStop calls different, with sign, and the seeds an arm when it ends: x [arms, seeds]."""
    test = MultipleAgentsComparator(n=EACH, K=LOOKS, B=500, alpha=0.05, seed=0)
    for n in PLAN.looks:
        test.partial_compare({str(arm): x[arm, :n] for arm in range(len(x))}, verbose=False)
        if test.is_finished:
            break
    signs = {"larger": 1, "smaller": -1, "equal": 0}
    return {tuple(map(int, pair.strip("[]").split())): signs[word] for pair, word in test.decisions.items()}, n


def ours(x, levels):
    names = "abcdef"[: len(x)]
    looks = take({name: dict(enumerate(row)) for name, row in zip(names, x, strict=True)}, PLAN, levels[len(x)])
    decided = {
        (names.index(one.a), names.index(one.b)): 0 if one.better is None else 1 if one.better == one.a else -1
        for one in looks.pairs
    }
    return decided, max(one.seeds for one in looks.pairs)


def test_a_large_gap_ends_both_at_the_first_look(levels):
    rng = np.random.default_rng(0)
    for x in rng.normal(size=(20, 2, PLAN.most)):
        x[0] += 10
        assert theirs(x) == ours(x, levels) == ({(0, 1): 1}, EACH)


def test_both_call_equal_arms_different_as_rarely_as_promised(levels):
    """Of 40 studies at most 6 where 5 % is the truth, with a probability of 99.7 %."""
    rng = np.random.default_rng(1)
    studies = list(rng.normal(size=(40, 2, PLAN.most)))
    assert sum(theirs(x)[0] != {(0, 1): 0} for x in studies) <= 6
    assert sum(ours(x, levels)[0] != {(0, 1): 0} for x in studies) <= 6


def test_where_the_gap_is_one_standard_deviation_they_agree_and_end_at_about_the_same_seeds(levels):
    rng = np.random.default_rng(2)
    seeds, same = [], 0
    for x in rng.normal(size=(40, 2, PLAN.most)):
        x[0] += 1
        (a, m), (b, n) = theirs(x), ours(x, levels)
        assert a[0, 1] != -1 and b[0, 1] != -1
        same += a == b
        seeds.append((m, n))
    assert same >= 36
    adastop, looks = np.mean(seeds, axis=0)
    assert abs(adastop - looks) < EACH


def test_three_arms_in_a_row_have_the_same_order(levels):
    rng = np.random.default_rng(3)
    for x in rng.normal(size=(5, 3, PLAN.most)):
        x += np.array([0, 10, 20])[:, None]
        decided = theirs(x)[0]
        assert all(decided[pair] == -1 for pair in pairwise(range(3))) and decided == ours(x, levels)[0]
