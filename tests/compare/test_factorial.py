"""What the factors of a study do: against least squares by hand and another program's analysis of variance."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from scipy import stats

from align_lab.base.design import Design, fraction, full
from align_lab.compare import statistics
from align_lab.compare.factorial import effects, section
from align_lab.compare.factorial.effects import Cells
from align_lab.compare.factorial.model import Model
from align_lab.compare.gaps import Measure

COUNTS = (4, 3, 4, 4)
# statsmodels 0.15.0 (pandas 3.1.1, numpy 2.4.6): anova_lm(ols("y ~ C(f) * C(g)").fit(), typ=2) of CROSSED
CROSSED = {
    "ax": [-0.04, 0.12, 0.14], "ay": [0.03, 0.04, -0.05], "bx": [0.21, 0.21, 0.2],
    "by": [0.39, 0.29, 0.31], "cx": [-0.06, -0.11, -0.12], "cy": [0.12, 0.26, 0.2],
}  # fmt: skip
SQUARES = {"f": 0.2012111111, "g": 0.06008888889, "f × g": 0.09554444444, "seeds": 0.04193333333}
FREEDOM = {"f": 2, "g": 1, "f × g": 2, "seeds": 12}
F_VALUES = {"f": 28.79014308, "g": 17.19554849, "f × g": 13.6709062}
# and ols("y ~ C(a) + C(b) + C(c) + C(d)").fit().params of these sixteen cells, in the order of the design
FRACTION = [
    [-0.05, -0.02], [-0.24, 0.02], [0.05, 0.17], [0.15, -0.32], [-0.01, 0.06], [-0.02, -0.2], [-0.12, -0.1],
    [0.02, -0.24], [0.26, 0.36], [-0.06, -0.17], [-0.13, -0.33], [0.01, 0.12], [-0.0, -0.36], [-0.08, -0.04],
    [-0.05, 0.1], [-0.07, 0.03],
]  # fmt: skip
COEFFICIENTS = {
    "a1": -0.04625, "a2": 0.0375, "a3": -0.02875, "b1": -0.016875, "b2": -0.003125,
    "c1": 0.17125, "c2": -0.00625, "c3": -0.0625, "d1": -0.04625, "d2": -0.165, "d3": -0.13625,
}  # fmt: skip
FRACTION_SQUARES = {
    "a": 0.0321625,
    "b": 0.00155625,
    "c": 0.2451625,
    "d": 0.1419125,
    "cells": 0.4964875,
    "seeds": 0.3235,
}


def design(levels, places):
    cells = [tuple(each[place] for each, place in zip(levels.values(), cell, strict=True)) for cell in places]
    return Design(levels=levels, cells={" + ".join(cell): cell for cell in cells})


def four():
    levels = {name: tuple(f"{name}{i}" for i in range(count)) for name, count in zip("abcd", COUNTS, strict=True)}
    return design(levels, fraction(COUNTS))


def crossed():
    return design({"f": ("a", "b", "c"), "g": ("x", "y")}, full([3, 2]))


def of_crossed(smallest=None):
    scores = {f"{name[0]} + {name[1]}": values for name, values in CROSSED.items()}
    return section.of_scores(crossed(), scores, Measure(smallest=smallest))


def of_fraction(values=FRACTION, smallest=None):
    return section.of_scores(four(), dict(zip(four().cells, values, strict=True)), Measure(smallest=smallest))


def by(rows, key):
    return {row[key]: row for row in rows}


def gap_of_levels(upper, lower, *, effects, digits):
    """How much the cells of one level lie above those of another, as text: the difference of the means of their cells,
    with Welch's interval (Satterthwaite's degrees of freedom), corrected for so many effects.
    """
    upper, lower = np.array(upper), np.array(lower)
    cells = np.concatenate([upper, lower])
    noise = cells.var(axis=1, ddof=1) / cells.shape[1] / len(upper) ** 2
    freedom = noise.sum() ** 2 / (noise**2 / (cells.shape[1] - 1)).sum() if noise.sum() else 1
    half = stats.t.ppf(1 - 0.05 / effects / 2, freedom) * np.sqrt(noise.sum())
    gap = upper.mean() - lower.mean()
    return f"{gap:.{digits}f} [{gap - half:.{digits}f}, {gap + half:.{digits}f}]"


def cells_with(values, place, level):
    return [each for each, cell in zip(values, four().cells.values(), strict=True) if cell[place] == level]


def test_the_f_of_a_balanced_study_is_that_of_the_analysis_of_variance():
    sources = by(of_crossed()[0]["sources"], "source")
    for name, value in F_VALUES.items():
        assert sources[name]["f"] == pytest.approx(value, rel=1e-6)
    assert list(sources) == ["f", "g", "f × g", "seeds"], "nothing is left between the cells of a full design of two"


def test_the_shares_are_omega_squared_and_add_up_to_one():
    sources = by(of_crossed()[0]["sources"], "source")
    error = SQUARES["seeds"] / FREEDOM["seeds"]
    total = sum(SQUARES.values()) + error
    for name in F_VALUES:
        omega = (SQUARES[name] - FREEDOM[name] * error) / total
        assert sources[name]["share"] == pytest.approx(omega, rel=1e-6)
    assert sum(one["share"] for one in sources.values()) == pytest.approx(1.0)


def test_effects_of_a_fraction_are_the_coefficients_of_least_squares_over_all_runs():
    document, _ = of_fraction()
    found = {one["level"]: one["effect"] for one in document["levels"] if one["effect"] is not None}
    assert found == pytest.approx(COEFFICIENTS, abs=1e-9)
    sources = by(document["sources"], "source")
    error = FRACTION_SQUARES["seeds"] / 16
    estimates = {name: max(0.0, FRACTION_SQUARES[name] - (COUNTS["abcd".index(name)] - 1) * error) for name in "abcd"}
    left = FRACTION_SQUARES["cells"] - sum(FRACTION_SQUARES[name] for name in "abcd")
    scale = sum(estimates.values()) + max(0.0, left - 4 * error) + 32 * error
    assert sources["c"]["share"] == pytest.approx(estimates["c"] / scale, rel=1e-6)


def test_in_a_balanced_design_an_effect_is_the_difference_of_the_plain_means():
    values = np.array(FRACTION)
    cells = list(four().cells.values())
    for one in of_fraction()[0]["levels"]:
        place = "abcd".index(one["factor"])
        here = [i for i, cell in enumerate(cells) if cell[place] == one["level"]]
        first = [i for i, cell in enumerate(cells) if cell[place] == f"{one['factor']}0"]
        assert one["mean"] == pytest.approx(values[here].mean())
        assert one["cells"] == len(here) and one["runs"] == 2 * len(here)
        if one["effect"] is not None:
            assert one["effect"] == pytest.approx(values[here].mean() - values[first].mean())


def test_two_cells_against_each_other_are_welch():
    a, b = [0.1, 0.3, 0.2, 0.5], [0.9, 0.2, 0.4]
    found = effects.contrast(Cells.of([a, b]), np.array([1.0, -1.0]), confidence=0.9)
    expected = statistics.welch_interval(a, b, confidence=0.9)
    assert (found.gap.low, found.gap.high) == pytest.approx((expected.low, expected.high))
    assert found.p == pytest.approx(statistics.welch_p(a, b))


def test_effects_are_corrected_for_all_of_the_study():
    document, _ = of_crossed()
    level = by(document["levels"], "level")["b"]
    means = {name: np.mean(each) for name, each in CROSSED.items()}
    weights = np.array([-0.5, -0.5, 0.5, 0.5, 0.0, 0.0])
    alone = effects.contrast(Cells.of(list(CROSSED.values())), weights, confidence=1 - 0.05 / 3)
    assert level["effect"] == pytest.approx((means["bx"] + means["by"] - means["ax"] - means["ay"]) / 2)
    assert (level["effect_low"], level["effect_high"]) == pytest.approx((alone.gap.low, alone.gap.high))
    assert level["p"] == pytest.approx(min(1.0, 3 * alone.p))


def test_a_fraction_says_that_main_effects_are_mixed_with_interactions_and_a_full_design_that_none_is():
    document, _ = of_fraction()
    assert document["aliases"] == [
        "Main effects are clear of each other, but not of interactions: what stands for one factor may in part be what "
        "any two others do together.",
        "No interaction of two factors can be told by itself.",
    ]
    assert document["combinations"] == []
    assert of_crossed()[0]["aliases"] == [
        "Main effects are clear of each other.",
        "Every interaction of two factors can be told.",
    ]


@pytest.mark.parametrize(
    ("counts", "strength", "mixed", "told"),
    [((2,) * 3, 2, True, 0), ((2,) * 4, 2, False, 0), ((2,) * 5, 4, False, 10), ((2, 2, 3), None, False, 3)],
)
def test_what_is_mixed_follows_from_the_cells(counts, strength, mixed, told):
    """By their resolution: of 2^(3-1) it is III, of 2^(4-1) IV, of 2^(5-1) V (Box, Hunter and Hunter, chapter 12)."""
    levels = {f"f{i}": tuple(map(str, range(count))) for i, count in enumerate(counts)}
    places = fraction(counts, strength=strength) if strength else full(counts)
    model = Model(levels=levels, cells=[tuple(map(str, cell)) for cell in places])
    assert any(model.mixed_with(factor) for factor in levels) is mixed
    assert len(model.interactions()) == told


def test_a_half_of_three_factors_mixes_each_with_the_product_of_the_two_others():
    """In 2^(3-1) with a = bc, a true interaction b × c and nothing else looks like an effect of a."""
    levels = dict.fromkeys("abc", ("0", "1"))
    cells = [tuple(map(str, cell)) for cell in fraction((2, 2, 2))]
    model = Model(levels=levels, cells=cells)
    assert model.mixed_with("a") == [("b", "c")]
    truth = np.array([(cell[1] != cell[2]) * 1.0 for cell in cells])
    shifted = model.weights(model.row("a", "1")) @ truth
    assert abs(shifted) == pytest.approx(1.0)


def test_no_interaction_of_a_true_pair_is_seen_as_another_where_all_can_be_told():
    model = Model(levels={"f": ("a", "b", "c"), "g": ("x", "y"), "h": ("0", "1")},
                  cells=list(itertools.product("abc", "xy", "01")))  # fmt: skip
    truth = np.array([(cell[0] == "b") * (cell[1] == "y") * 1.0 for cell in model.cells])
    parts = {pair: truth @ part @ truth for pair, part in model.interactions().items()}
    assert parts["f", "g"] > 0.1
    assert parts["f", "h"] == pytest.approx(0, abs=1e-12) and parts["g", "h"] == pytest.approx(0, abs=1e-12)


def test_the_first_sentence_says_which_choice_matters_most():
    rng = np.random.default_rng(1)
    values = [[*(0.3 * (c[2] == "c1") + 0.1 * (c[3] == "d1") + rng.normal(0, 0.05, 5))] for c in four().cells.values()]
    document, text = of_fraction(values)
    sources = by(document["sources"], "source")
    assert [one["source"] for one in document["sources"]][:2] == ["c", "d"], "the largest share first"
    gap = gap_of_levels(cells_with(values, 2, "c1"), cells_with(values, 2, "c0"), effects=11, digits=3)
    assert text.startswith(
        f"Of four choices c matters most ({sources['c']['share']:.2f} of the variance; c1 is better than c0 by {gap}), "
        f"then d ({sources['d']['share']:.2f}); no difference is shown for "
    )
    assert "are not ruled out) (corrected for 5 tests)." in text
    _, text = of_fraction(values, smallest=0.2)
    assert re.search(r"; (a and b|b and a) make no difference beyond ±0.2 \(corrected", text)
    _, text = of_fraction(values, smallest=0.01)
    assert "; not enough seeds for " in text and "more a cell would be needed to see 0.01" in text


def test_a_level_says_what_its_interval_carries():
    document, text = of_crossed(smallest=0.5)
    levels = by(document["levels"], "level")
    assert levels["b"]["words"] == "b > a" and levels["c"]["words"] == "equal to within ±0.5"
    assert levels["a"]["words"] == "" and levels["a"]["effect"] is None
    gap = gap_of_levels([CROSSED["bx"], CROSSED["by"]], [CROSSED["ax"], CROSSED["ay"]], effects=3, digits=2)
    first = f"f matters most (0.48 of the variance; b is better than a by {gap}), then g (0.14)"
    assert text == f"Of two choices {first}; what f does depends on g (corrected for 3 tests)."
    assert document["combinations"][0]["mean"] == pytest.approx(np.mean(CROSSED["ax"]))


def test_nothing_that_is_shown_is_said_as_such():
    rng = np.random.default_rng(3)
    _, text = of_fraction(rng.normal(0, 1, (16, 3)).tolist())
    assert text.startswith("Of four choices none is shown to matter; no difference is shown for ")


def test_what_choices_do_together_shows_where_the_cells_cannot_tell_what_it_is():
    values = [
        [*(0.3 * (c[0] == "a0") * (c[1] == "b0") * (c[2] == "c0") + np.array([0.0, 0.01]))]
        for c in four().cells.values()
    ]
    document, text = of_fraction(values)
    assert by(document["sources"], "source")["interactions (mixed)"]["words"] == "act together"
    assert "; choices also act together, in ways that these cells cannot tell apart (corrected" in text


def test_one_seed_a_cell_has_means_and_no_interval():
    document, text = of_fraction([each[:1] for each in FRACTION])
    assert text == "Not enough seeds: one seed gives no interval, at least 2 more a cell would be needed."
    assert all(one["effect_low"] is None and one["p"] is None for one in document["levels"])
    assert document["levels"][0]["mean"] is not None and document["sources"][0]["f"] is None


def test_cells_that_lack_runs_are_left_out_and_effects_are_least_squares_over_the_others():
    scores = dict(zip(four().cells, FRACTION, strict=True))
    lost = list(scores)[3:6:2]
    remaining = {name: each for name, each in scores.items() if name not in lost}
    document, _ = section.of_scores(four(), {**remaining, lost[0]: scores[lost[0]][:1]}, Measure())
    assert document["cells"] == 14 and document["planned"] == 16
    cells = [four().cells[name] for name in remaining]
    columns = [[1.0, *(float(cell["abcd".index(name[0])] == name) for name in COEFFICIENTS)] for cell in cells]
    expected = np.linalg.lstsq(np.array(columns), np.array([np.mean(each) for each in remaining.values()]))[0][1:]
    found = {one["level"]: one["effect"] for one in document["levels"] if one["effect"] is not None}
    assert found == pytest.approx(dict(zip(COEFFICIENTS, expected, strict=True)))


def test_a_level_without_a_cell_and_cells_that_are_too_few_say_so():
    scores = {name: each for name, each in zip(four().cells, FRACTION, strict=True) if four().cells[name][2] != "c3"}
    document, text = section.of_scores(four(), scores, Measure())
    level = by(document["levels"], "level")["c3"]
    assert (level["runs"], level["mean"], level["effect"], level["words"]) == (0, None, None, "no finished runs tell")
    assert "the runs that have finished say nothing of c" in text
    assert document["aliases"] == ["The cells that have run are too few to tell all main effects from each other."]


def test_cells_that_do_not_vary_are_taken_at_their_word():
    values = [[float(cell[2] == "c1")] * 2 for cell in four().cells.values()]
    document, text = of_fraction(values)
    sources = by(document["sources"], "source")
    assert sources["c"]["p"] == 0.0 and sources["a"]["p"] == 1.0 and sources["c"]["share"] == pytest.approx(1.0)
    much = "(1.00 of the variance; c1 is better than c0 by 1.00 [1.00, 1.00])"
    assert text.startswith(f"Of four choices c alone is shown to matter {much}")
