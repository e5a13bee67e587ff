"""Designs of factors: which cells are run, and what an orthogonal array is: levels of several factors meet alike."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest

from align_lab.base.design import MOST_CELLS, Design, fraction, full

KNOWN = {  # levels of the factors -> cells of the smallest array, from Hedayat, Sloane and Stufken 1999, table 12.1
    (2, 2, 2): 4,
    (2,) * 7: 8,
    (4, 2, 2, 2): 8,
    (3, 3, 3, 3): 9,
    (4,) * 5: 16,
    (2,) * 15: 16,
    (5,) * 6: 25,
    (3,) * 13: 27,
    (7, 7, 7): 49,
}


def meet_alike(cells, counts, strength):
    """Do the levels of any so many factors meet as often as their own frequencies say?"""
    for factors in itertools.combinations(range(len(counts)), strength):
        alone = [Counter(cell[factor] for cell in cells) for factor in factors]
        together = Counter(tuple(cell[factor] for factor in factors) for cell in cells)
        for levels in itertools.product(*(range(counts[factor]) for factor in factors)):
            expected = math.prod(one[level] for one, level in zip(alone, levels, strict=True))
            if together[levels] * len(cells) ** (strength - 1) != expected:
                return False
    return True


def test_the_full_design_is_every_combination_once():
    assert full([2, 3]) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


@pytest.mark.parametrize("counts", KNOWN, ids=str)
def test_a_fraction_is_the_smallest_array_that_the_tables_have(counts):
    cells = fraction(counts)
    assert len(cells) == KNOWN[counts] == len(set(cells)) and meet_alike(cells, counts, 2)
    for factor, count in enumerate(counts):
        assert Counter(cell[factor] for cell in cells) == dict.fromkeys(range(count), len(cells) // count)


@pytest.mark.parametrize("counts", [(4, 3, 4, 4), (2, 2, 3), (4, 3, 5, 4), (6, 6, 6), (4, 4, 4, 2, 2, 2, 3)], ids=str)
def test_a_factor_with_fewer_levels_has_more_cells_of_its_first_and_still_meets_all_others_alike(counts):
    cells = fraction(counts)
    assert len(cells) < math.prod(counts) and meet_alike(cells, counts, 2)
    for factor, count in enumerate(counts):
        sizes = Counter(cell[factor] for cell in cells)
        assert len(sizes) == count and sizes[0] == max(sizes.values()) <= 2 * min(sizes.values())


def test_the_four_choices_of_a_policy_gradient_are_an_l16():
    cells = fraction((4, 3, 4, 4))
    assert len(cells) == 16
    assert Counter(cell[1] for cell in cells) == {0: 8, 1: 4, 2: 4}


def test_four_factors_of_two_levels_keep_main_effects_clear_of_interactions():
    assert meet_alike(fraction((2,) * 4), (2,) * 4, 3), "resolution IV, which eight cells allow"


@pytest.mark.parametrize(("counts", "size"), [((2,) * 5, 16), ((2,) * 8, 64), ((3,) * 5, 81)], ids=str)
def test_a_design_for_interactions_has_any_four_factors_balanced(counts, size):
    cells = fraction(counts, strength=4)
    assert len(cells) == size and meet_alike(cells, counts, 4)


@pytest.mark.parametrize(("counts", "strength"), [((4, 4), 2), ((2, 2), 2), ((11, 11, 11), 2), ((4,) * 4, 4)], ids=str)
def test_where_no_fraction_is_smaller_or_small_enough_there_is_none(counts, strength):
    assert fraction(counts, strength=strength) is None


def test_a_search_that_finds_nothing_ends():
    assert fraction((3,) * 6, strength=4) is None, "needs 243 cells or more"
    assert len(fraction((2,) * 60)) <= MOST_CELLS


def test_a_design_says_what_it_is():
    levels = {"kl": ("none", "k2", "k3"), "baseline": ("none", "group")}
    cells = {" + ".join(pair): pair for pair in itertools.product(*levels.values())}
    every = Design(levels=levels, cells=cells)
    assert every.is_full and every.words == "all 6 combinations of kl (3 levels) and baseline (2)"
    part = Design(levels=levels, cells=dict(list(cells.items())[:4]))
    assert not part.is_full and part.words.startswith("4 of 6 combinations of kl")
