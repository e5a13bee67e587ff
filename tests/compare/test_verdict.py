"""Verdicts, words and the seeds that are needed, against values worked out elsewhere."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import nctdtr, stdtrit

from align_lab.compare.headline import headline
from align_lab.compare.verdict import MOST, NO_DIFFERENCE, ranked, seeds_needed, verdicts
from tests.compare.test_statistics import quick, seeds_of_one

three_arms = st.fixed_dictionaries(dict.fromkeys(("ppo", "rloo", "dpo"), seeds_of_one))


def test_seeds_needed_are_the_power_tables():
    """Two-sided t test, α 0.05, power 0.8, n a group: Cohen 1988 and G*Power give 394, 64, 26, 17, 12."""
    effects = [0.2, 0.5, 0.8, 1.0, 1.2]
    comparison = [seeds_needed(math.sqrt(2), smallest=d, confidence=0.95, ratio=2) for d in effects]
    assert comparison == [394, 64, 26, 17, 12]


def test_seeds_are_counted_up_to_a_thousand_more():
    """With many degrees of freedom (1.96 + 0.8416) · spread = √n, so spread 11.2 takes 985 and 11.5 takes 1039."""
    options = {"smallest": 1.0, "confidence": 0.95, "ratio": 1e6}
    assert seeds_needed(11.2, **options) == 985
    assert seeds_needed(11.5, **options) is None and seeds_needed(11.5, start=40, **options) == 1039
    assert seeds_needed(11.5, start=39, **options) is None


@pytest.mark.parametrize("effect", [0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("confidence", [0.95, 0.995])
def test_seeds_needed_have_the_power_that_the_noncentral_t_promises(effect, confidence):
    n = seeds_needed(math.sqrt(2), smallest=effect, confidence=confidence, ratio=2)
    assert n is not None

    def power(n):
        return 1 - nctdtr(2 * n - 2, effect * math.sqrt(n / 2), stdtrit(2 * n - 2, (1 + confidence) / 2))

    assert power(n - 1) < 0.8 <= power(n)


def test_words_follow_the_corrected_interval():
    """Spread 0.1, gap 0.25: t = 3.06 (ν = 4, p = 0.038) decides one pair, not the same pair among three."""
    two = {"ppo": [0.25, 0.35, 0.45], "dpo": [0.0, 0.1, 0.2]}
    assert verdicts(two)[0].words == "ppo > dpo"
    assert verdicts(two)[0].p == pytest.approx(0.0377, abs=1e-3)
    three = verdicts(two | {"sft": [9.0, 9.1, 9.2]}, smallest=0.1)
    assert [(c.a, c.b) for c in three] == [("sft", "ppo"), ("sft", "dpo"), ("ppo", "dpo")]
    assert [c.words for c in three[:2]] == ["sft > ppo", "sft > dpo"]
    assert three[2].words.startswith("not enough seeds: about ") and three[2].p == pytest.approx(3 * 0.0377, abs=2e-3)


def test_an_interval_inside_the_smallest_gap_shows_that_arms_are_equal():
    arms = {"ppo": [1.0, 1.01, 1.02], "rloo": [1.0, 1.01, 1.02]}
    assert [(c.words, c.needed) for c in verdicts(arms, smallest=0.1)] == [("equal to within ±0.1", None)]
    tenfold = {name: [10 * value for value in values] for name, values in arms.items()}
    assert verdicts(tenfold, smallest=0.1)[0].words.startswith("not enough seeds")
    assert verdicts(tenfold, smallest=1.0)[0].needed is None


def test_without_a_gap_that_matters_nothing_is_called_equal_and_no_seeds_are_asked_for():
    arms = {"ppo": [1.0, 1.01, 1.02], "rloo": [1.0, 1.01, 1.02]}
    assert [(c.words, c.needed) for c in verdicts(arms)] == [(NO_DIFFERENCE, None)]


def test_an_interval_that_is_narrow_but_reaches_beyond_the_smallest_gap_does_not_show_equality():
    """Half-width 0.053 around 0.052, and 0.1 is the gap that matters: 0.105 is not ruled out."""
    arms = {"ppo": [0.052, 0.075, 0.029], "rloo": [0.0, 0.024, -0.024]}
    (comparison,) = verdicts(arms, smallest=0.1)
    assert comparison.gap.low < 0 and 0.1 < comparison.gap.high < 0.11
    assert comparison.words.startswith("not enough seeds: about ")


def test_the_number_of_seeds_to_add_is_the_power_tables():
    """sd 1 in both arms, 3 seeds, a gap of 1 to see: 17 a group (Cohen 1988), 14 more. A gap of 0.01 takes 157,000."""
    arms = {"ppo": [0.1, 1.1, 2.1], "dpo": [0.0, 1.0, 2.0]}
    (comparison,) = verdicts(arms, smallest=1.0)
    assert (comparison.words, comparison.needed) == (
        "not enough seeds: about 14 more an arm would be needed to see 1",
        14,
    )
    (comparison,) = verdicts(arms, smallest=0.01)
    assert (
        comparison.words == "not enough seeds: more than 1000 more an arm would be needed to see 0.01"
        and comparison.needed == MOST + 1
    )


def test_one_seed_is_not_enough():
    (comparison,) = verdicts({"ppo": [1.0], "dpo": [0.0, 0.1, 0.2]})
    assert comparison.words == "not enough seeds: one seed gives no interval, at least 2 more an arm would be needed"
    assert comparison.needed == 2 and comparison.better is None and math.isnan(comparison.p)
    assert comparison.gap.mean == pytest.approx(0.9) and math.isnan(comparison.gap.low)


def test_arms_without_spread_differ_when_their_values_do():
    """0.1 has no exact binary form: the mean of ten is not the mean of three, which must not count as a gap."""
    assert verdicts({"ppo": [0.1] * 10, "dpo": [0.1] * 3})[0].words == NO_DIFFERENCE
    (comparison,) = verdicts({"ppo": [0.1] * 10, "dpo": [0.2] * 3})
    assert (comparison.words, comparison.p) == ("dpo > ppo", 0.0)
    assert verdicts({"ppo": [0.5] * 3, "dpo": [0.0, 0.1, 0.2]})[0].words == "ppo > dpo"  # one arm without


def test_pairs_are_made_by_seed_whatever_the_order():
    arms = {"ppo": [0.0, 10.0, 20.1], "dpo": [19.1, -1.0, 9.1]}
    seeds = {"ppo": [1, 2, 3], "dpo": [3, 1, 2]}
    (comparison,) = verdicts(arms, seeds=seeds, paired=True)
    assert comparison.words == "ppo > dpo"
    assert comparison.gap.mean == pytest.approx((1.0 + 0.9 + 1.0) / 3)
    assert verdicts(arms, seeds=seeds)[0].better is None  # without pairs the seeds hide it


def test_pairs_are_made_of_the_seeds_that_both_arms_have():
    arms = {"ppo": [1.0, 2.0, 3.1, 50.0], "dpo": [0.0, 1.0, 2.0]}
    (comparison,) = verdicts(arms, seeds={"ppo": [1, 2, 3, 4], "dpo": [1, 2, 3]}, paired=True)
    assert comparison.gap.mean == pytest.approx(3.1 / 3)
    (comparison,) = verdicts(arms, seeds={"ppo": [1, 2, 3, 4], "dpo": [1, 8, 9]}, paired=True)
    assert comparison.words.startswith("not enough seeds: one seed")
    (comparison,) = verdicts(arms, seeds={"ppo": [1, 2, 3, 4], "dpo": [7, 8, 9]}, paired=True)
    assert "the two arms have no seed in common" in comparison.words
    assert (comparison.better, comparison.gap.mean) == (None, pytest.approx(56.1 / 4 - 1))


def test_the_words_name_the_better_arm_even_where_the_means_of_all_seeds_say_otherwise():
    arms = {"lucky": [0.0, 0.01, 0.02, 90.0], "steady": [1.0, 1.01, 1.03]}
    (comparison,) = verdicts(arms, seeds={"lucky": [1, 2, 3, 4], "steady": [1, 2, 3]}, paired=True)
    assert (comparison.a, comparison.better, comparison.worse) == ("lucky", "steady", "lucky")
    assert comparison.words == "steady > lucky"
    assert headline([comparison], arms).startswith("steady is better than lucky by ")


@pytest.mark.parametrize(
    ("arms", "options", "said"),
    [
        ({"ppo": [1.0, math.nan], "dpo": [1.0, 2.0]}, {}, "'ppo' has no finite value at \\[1\\]"),
        ({"ppo": [1.0, math.inf], "dpo": [1.0]}, {"seeds": {"ppo": [7, 9], "dpo": [7]}}, "no finite value at \\[9\\]"),
        ({"ppo": [], "dpo": [1.0]}, {}, "'ppo' has no values"),
        ({"ppo": [1.0], "dpo": [1.0]}, {"paired": True}, "needs seeds="),
        ({"ppo": [1.0], "dpo": [1.0]}, {"seeds": {"ppo": [1]}}, "'dpo' has 1 values and seeds \\[\\]"),
        ({"ppo": [1.0, 2.0]}, {"seeds": {"ppo": [1, 1]}}, "one seed a value, each once"),
        ({"ppo": [1.0]}, {"confidence": 95}, "confidence < 1"),
        ({"ppo": [1.0]}, {"smallest": 0.0}, "smallest > 0"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(arms, options, said):
    with pytest.raises(ValueError, match=said):
        verdicts(arms, **options)


@quick
@given(three_arms, st.sampled_from([0.5, 10.0, 100.0]))
def test_the_p_value_and_the_interval_never_disagree(arms, smallest):
    for comparison in verdicts(arms, smallest=smallest):
        assert (comparison.p < 0.05) == (comparison.better is not None)
        assert (comparison.needed is None) == (not comparison.words.startswith("not enough seeds"))
        inside = -smallest <= comparison.gap.low and comparison.gap.high <= smallest
        assert comparison.words.startswith("equal") == (comparison.better is None and inside)


@quick
@given(three_arms, st.integers(-50, 50), st.permutations(["ppo", "rloo", "dpo"]), st.randoms())
def test_the_order_of_arms_and_seeds_and_the_zero_of_the_scale_do_not_matter(arms, shift, order, random):
    plain = verdicts(arms)
    moved = {name: [value + shift for value in arms[name]] for name in order}
    assert ranked(moved) == ranked(arms)
    assert verdicts(moved) == plain and headline(verdicts(moved), moved) == headline(plain, arms)
    shuffled = {name: random.sample(values, len(values)) for name, values in arms.items()}
    for one, other in zip(verdicts(shuffled), plain, strict=True):
        assert (one.gap.low, one.gap.high, one.p) == pytest.approx((other.gap.low, other.gap.high, other.p), abs=1e-9)
