"""pass@k and maj@k against all draws of k completions, and intervals whose coverage is enumerated or simulated."""

import itertools
import math
from statistics import fmean

import numpy as np
import pytest

from align_lab.base.errors import ConfigError
from align_lab.train import pass_at
from align_lab.train.evaluation_intervals import measured
from align_lab.train.intervals import bounded_mean, unbounded_mean


@pytest.mark.parametrize(("n", "correct"), [(1, 1), (4, 0), (4, 1), (5, 3), (6, 6)])
def test_pass_at_k_is_the_share_of_all_choices_of_k_with_a_correct_one(n, correct):
    completions = [True] * correct + [False] * (n - correct)
    for k in range(1, n + 1):
        choices = [any(choice) for choice in itertools.combinations(completions, k)]
        assert pass_at.pass_at(n, correct, k) == pytest.approx(fmean(choices))


@pytest.mark.parametrize(
    ("answers", "correct", "k", "expected"),
    [
        ("aab", [1, 1, 0], 3, 1.0),
        ("abb", [1, 0, 0], 3, 0.0),
        ("ab", [1, 0], 2, 0.5),  # a tie: one of the two is drawn
        ("abc", [1, 0, 0], 3, 1 / 3),
        ("aabb", [1, 1, 0, 0], 2, 0.5),  # the votes of the first two and of the last two
        ("aabbc", [1, 1, 0, 0, 0], 2, 0.5),  # the fifth is in no group of two
    ],
)
def test_maj_at_k_is_the_vote_of_k_completions(answers, correct, k, expected):
    assert pass_at.majority_at(list(answers), correct, k) == pytest.approx(expected)


def test_a_completion_without_an_answer_does_not_vote():
    assert pass_at.majority_at(["a", None, None], [1.0, 0.0, 0.0], 3) == 1.0
    assert pass_at.majority_at([None, None], [0.0, 0.0], 2) == 0.0


def rows(*prompts, answers=None):
    """The rows of prompts by the scores of their completions, with answers of one letter each."""
    given = [{"answers": {"score": letter}} for text in answers or () for letter in text]
    pairs = [(index, value) for index, values in enumerate(prompts) for value in values]
    return [
        {"index": index, "correct": value, "completion": "", **(given[place] if given else {})}
        for place, (index, value) in enumerate(pairs)
    ]


def test_means_are_over_prompts_and_a_prompt_with_fewer_than_k_scored_completions_is_left_out():
    """Prompt 0: 1 of 2 correct; prompt 1: 2 of 2; prompt 2 has one completion with a score."""
    result = pass_at.metrics(rows([1.0, 0.0], [1.0, 1.0], [0.0, None]), decides="score", ks=[1, 2])
    assert result["pass@1"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert result["pass@2"] == 1.0 and result["pass@2_high"] == 1.0
    assert result["pass@2_low"] == pytest.approx(0.025**0.5)  # Clopper and Pearson, 2 of 2: (α/2)^(1/n)
    assert not [name for name in result if name.startswith("maj")]  # no answers were extracted


def test_votes_need_answers_and_their_metric_stands_beside_pass_at_k():
    result = pass_at.metrics(rows([1.0, 1.0, 0.0], [0.0, 0.0, 1.0], answers=["aab", "xxy"]), decides="score", ks=[1, 3])
    assert (result["maj@3"], result["pass@3"]) == (0.5, 1.0)
    assert "maj@1" not in result


def test_scores_that_are_not_0_or_1_are_refused_with_what_to_type():
    with pytest.raises(ConfigError, match=r"eval/liked is 0.5 .*evaluation.metric=eval/NAME"):
        pass_at.check([{"correct": 0.5, "completion": "c"}], "eval/liked")
    pass_at.check(rows([1.0, 0.0, None]), "eval/score")


@pytest.mark.parametrize("p", [0.02, 0.1, 0.3, 0.5, 0.85])
@pytest.mark.parametrize("n", [5, 12])
def test_of_right_and_wrong_the_interval_holds_at_any_number_of_prompts(n, p):
    """The exact coverage, over every number of correct prompts; and what the normal approximation covers."""
    covered = normal = 0.0
    for correct in range(n + 1):
        chance = math.comb(n, correct) * p**correct * (1 - p) ** (n - correct)
        values = [1.0] * correct + [0.0] * (n - correct)
        low, high = bounded_mean(values)
        covered += chance * (low <= p <= high)
        half = 1.96 * np.std(values) / n**0.5
        normal += chance * (abs(correct / n - p) <= half)
    assert covered >= 0.95 > normal


LAWS = {  # of a prompt's pass@k: what it may be, with which probability
    "pass@2 of 4": ([0.0, 0.5, 5 / 6, 1.0], [0.55, 0.25, 0.15, 0.05]),
    "mostly none": ([0.0, 0.25, 1.0], [0.9, 0.08, 0.02]),
    "all near a half": ([0.4, 0.5, 0.6], [0.2, 0.6, 0.2]),
}


@pytest.mark.parametrize("law", LAWS)
def test_of_other_shares_the_simulated_coverage_is_at_least_nominal(law, monkeypatch):
    monkeypatch.setattr("align_lab.train.intervals.DRAWS", 2000)
    values, weights = (np.array(column) for column in LAWS[law])
    rng, mean = np.random.default_rng(7), float(np.dot(*LAWS[law]))
    samples = rng.choice(values, p=weights, size=(600, 8))
    ends = [bounded_mean(sample) for sample in samples]
    assert fmean(low <= mean <= high for low, high in ends) >= 0.94


def test_values_that_vary_less_have_a_narrower_interval_than_right_and_wrong():
    low, high = bounded_mean([0.4, 0.5, 0.6] * 8)
    wrong_low, wrong_high = bounded_mean([0.0, 1.0] * 12)
    assert 0.4 < low < 0.5 < high < 0.6 and high - low < (wrong_high - wrong_low) / 2


def test_draws_give_what_clopper_and_pearson_give_where_both_apply():
    """A value next to 1 is drawn, 1 is computed: 9 of 12 prompts."""
    drawn, exact = (bounded_mean([value] * 9 + [0.0] * 3) for value in (1 - 1e-9, 1.0))
    assert drawn == pytest.approx(exact, abs=0.01)
    assert exact == pytest.approx((0.4281, 0.9451), abs=1e-4)  # R: binom.test(9, 12)$conf.int


def test_without_values_nothing_is_known():
    assert bounded_mean([]) == (0.0, 1.0)
    assert unbounded_mean([3.0]) is None


def test_scores_of_any_size_have_students_interval():
    """Mean 2, sd 1, n 3: 2 ± 4.302653 / sqrt(3), with the quantile of Student's t with 2 degrees of freedom."""
    assert unbounded_mean([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-5)


def test_two_values_have_an_interval_too():
    """Mean 1, sd sqrt(2), n 2: 1 ± 12.706205, the quantile of Student's t with 1 degree of freedom."""
    assert unbounded_mean([0.0, 2.0]) == pytest.approx((1 - 12.706205, 1 + 12.706205), abs=1e-4)


def test_differences_of_right_and_wrong_have_the_exact_interval_from_minus_1_to_1():
    """The win over the start policy: 9 of 12 prompts were lost before and are won now, the others the reverse."""
    before = [scored(index, 0.0, win=float(index >= 9)) for index in range(12)]
    after = [scored(index, 0.0, win=float(index < 9)) for index in range(12)]
    win = measured(after, before, judges=(), decides="score", pass_at=())["eval/win_rate"]
    assert (win["change_low"], win["change_high"]) == pytest.approx((2 * 0.4281 - 1, 2 * 0.9451 - 1), abs=2e-4)
    assert (win["start"], win["value"], win["change"]) == (0.25, 0.75, 0.5)


def scored(index, score, **more):
    usual = {"kl": 0.0, "length": 2, "ended": True, "win": 0.5, "entropy_sum": 1.0, "completion": "a b"}
    return {"index": index, "score": score, **usual, **more}


def test_differences_from_the_start_policy_are_paired_by_prompt():
    """Prompts differ by 10, the policy by exactly 1 on each: the change is sure, the level is not."""
    start = [scored(index, 10.0 * index) for index in range(4)]
    rows = [scored(index, 10.0 * index + 1) for index in range(4)]
    score = measured(rows, start, judges=(), decides="score", pass_at=())["eval/score"]
    assert (score["start"], score["value"], score["change"]) == (15.0, 16.0, 1.0)
    assert (score["change_low"], score["change_high"]) == (1.0, 1.0)
    assert score["low"] < 0 < 30 < score["high"]


def test_a_score_of_right_and_wrong_has_the_exact_interval_and_a_kl_of_0_has_not():
    rows = [scored(index, float(index < 9)) for index in range(12)]
    result = measured(rows, rows, judges=(), decides="score", pass_at=())
    assert (result["eval/score"]["low"], result["eval/score"]["high"]) == pytest.approx((0.4281, 0.9451), abs=1e-4)
    assert (result["eval/kl"]["low"], result["eval/kl"]["high"]) == (0.0, 0.0)
    assert result["eval/score"]["change_low"] < 0 < result["eval/score"]["change_high"]


def test_a_second_set_has_intervals_of_its_own_and_a_missing_score_none():
    rows = [scored(0, 1.0, set="same"), scored(1, 3.0, set="same"), scored(0, None, set="harder")]
    result = measured(rows, rows, judges=(), decides="score", pass_at=())
    assert result["eval/score"]["value"] == 2.0 and result["eval/score"]["low"] is not None
    assert "eval/harder/score" not in result and result["eval/harder/kl"]["value"] == 0.0
    assert "eval/score_se" not in result
