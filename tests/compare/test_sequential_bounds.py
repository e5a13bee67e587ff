"""Sequential studies: is the error of all looks and pairs what the plan allows, and are there fewer seeds?

Each law with 10,000 studies of five equal arms. Production gives beaten arms no further seeds and gives up hopeless
pairs, so that it calls no more of them different than the twin does.
"""

from itertools import combinations

import numpy as np
import pytest

from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.sequential import bounds
from align_lab.compare.sequential.looks import take
from tests.compare.bounds_table import ARMS, PLANS
from tests.compare.sequential_twin import first_difference, one_pair
from tests.compare.test_coverage import bimodal, collapsing, lognormal, normal

STUDIES = 10_000
PLAN = SeedPlan(smallest=0.5)


def test_the_table_has_every_design_that_it_is_made_for():
    for plan in PLANS:
        for arms in ARMS:
            for control in (False, True):
                assert len(bounds._table()[bounds.key(plan, arms, control=control)]) == len(plan.looks)


@pytest.mark.parametrize(("arms", "control"), [(2, False), (3, False), (4, True)])
def test_the_generator_gives_the_table(arms, control):
    """Fewer draws: each level within five standard errors of the quantile, which hold about 5 / sqrt(draws spent)."""
    made = bounds.simulated(PLAN, arms, control=control, draws=40_000, seed=7)
    spent = np.diff([0, *(PLAN.spent(look) for look in range(len(PLAN.looks)))]) * 40_000
    known = np.array(bounds.levels(PLAN, arms, control=control))
    assert np.all(np.abs(np.log(np.array(made) / known)) < 5 / np.sqrt(spent))


@pytest.mark.parametrize(("arms", "control"), [(2, False), (5, False), (5, True)])
def test_every_look_spends_what_the_design_allows(arms, control):
    x = normal(np.random.default_rng(3), (STUDIES, arms, PLAN.most))
    pairs = [pair for pair in combinations(range(arms), 2) if not control or 0 in pair]
    crossed = bounds.smallest_p(x, PLAN.looks, pairs) <= np.array(bounds.levels(PLAN, arms, control=control))[:, None]
    by_look = np.logical_or.accumulate(crossed).mean(1)
    for look, share in enumerate(by_look):
        allowed = PLAN.spent(look)
        assert abs(share - allowed) < 4 * np.sqrt(allowed / STUDIES) + 2e-4


@pytest.mark.parametrize(
    ("law", "measured"), [(normal, 0.05), (lognormal, 0.014), (collapsing, 0.028), (bimodal, 0.118)]
)
@pytest.mark.parametrize("most", [24, 30])
def test_some_pair_of_five_equal_arms_is_called_different_as_rarely_as_measured(law, measured, most):
    """At any look. Half-and-half arms break the promise, as they do at a fixed number: a few runs agree by chance."""
    plan = SeedPlan(most=most)
    x = law(np.random.default_rng(1), (STUDIES, 5, most))
    error = (first_difference(x, plan, bounds.levels(plan, 5, control=False)) >= 0).mean()
    assert error < measured + 4 * np.sqrt(measured / STUDIES)


def test_unequal_spreads_keep_the_error():
    """Standard deviations from 1 to 10: 4.8 %."""
    x = normal(np.random.default_rng(1), (STUDIES, 5, PLAN.most)) * np.geomspace(1, 10, 5)[:, None]
    error = (first_difference(x, PLAN, bounds.levels(PLAN, 5, control=False)) >= 0).mean()
    assert error < 0.05 + 4 * np.sqrt(0.05 / STUDIES)


def test_the_twin_is_what_production_does():
    rng = np.random.default_rng(4)
    levels, ends = bounds.levels(PLAN, 2, control=False), set()
    x = normal(rng, (300, 2, PLAN.most)) * rng.uniform(0.1, 1, (300, 1, 1))
    x[:, 0] += rng.choice([0, 0.3, 1], 300)[:, None]
    seeds, better = one_pair(x, PLAN, levels)
    for number, arms in enumerate(x):
        looks = take({name: dict(enumerate(row)) for name, row in zip("ab", arms, strict=True)}, PLAN, levels)
        assert looks.ended and not looks.missing
        assert (looks.pairs[0].seeds, looks.pairs[0].outcome == "better") == (seeds[number], better[number])
        ends.add(looks.pairs[0].outcome)
    assert ends >= {"better", "equal", "hopeless"}


def fixed_seeds(gap, power):
    """Seeds an arm with which Welch's test at 5 % has this power, between two numbers by a straight line."""
    x = normal(np.random.default_rng(5), (STUDIES * 4, 2, 48))
    x[:, 0] += gap
    powers = (bounds.smallest_p(x, range(2, 49), [(0, 1)]) <= 0.05).mean(1)
    return float(np.interp(power, powers, np.arange(2, 49)))


@pytest.mark.parametrize(("gap", "fewer"), [(0.5, 0.0), (1.0, 0.3), (1.5, 0.3), (2.0, 0.3)])
def test_it_takes_fewer_seeds_than_a_fixed_number_of_the_same_power(gap, fewer):
    """In standard deviations of one seed. At a gap of one, smallest = 1: 36 % fewer; with most = 24: 29 %."""
    plan = SeedPlan(smallest=1.0)
    x = normal(np.random.default_rng(6), (STUDIES, 2, plan.most))
    x[:, 0] += gap
    seeds, better = one_pair(x, plan, bounds.levels(plan, 2, control=False))
    assert seeds.mean() < (1 - fewer) * fixed_seeds(gap, better.mean())


def test_equal_arms_are_given_up_long_before_the_last_seed():
    """21 of 30 seeds where the gap worth seeing is one standard deviation."""
    plan = SeedPlan(smallest=1.0)
    seeds, _ = one_pair(
        normal(np.random.default_rng(8), (STUDIES, 2, plan.most)), plan, bounds.levels(plan, 2, control=False)
    )
    assert seeds.mean() < 23
