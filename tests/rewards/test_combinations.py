"""Rewards that are computed from others: their arithmetic, and how abstentions, failures and steps pass through."""

import statistics
from dataclasses import dataclass
from typing import ClassVar

import pytest

from align_lab.base import registry
from align_lab.base.contracts import Reward
from align_lab.base.task import Example, Failure, Score, StepScore
from align_lab.rewards.ensemble import Ensemble
from align_lab.rewards.noise import Noise
from align_lab.rewards.process import Process
from align_lab.rewards.weighted import Weighted
from align_lab.train.scoring import step_rewards

registry.scan()
FAILED = Failure("no reason")


class Fixed:
    """A scorer with outcomes that are given."""

    def __init__(self, *total, steps=(), answers=()):
        self.given = Score(total=total, steps=steps, answers=answers)

    def score(self, examples, completions):
        return self.given


class ByText:
    """Scores a text by a table, and remembers what it was given."""

    def __init__(self, table):
        self.table, self.seen = table, []

    def score(self, examples, completions):
        self.seen += completions
        return Score(total=[self.table[text.strip()] for text in completions])


def scored(reward, scorers, *completions):
    return reward.combine(scorers).score([Example.of_text("p") for _ in completions], completions)


def weighted(**weights):
    return Weighted(of={name: {"name": "length", "weight": weight} for name, weight in weights.items()})


def test_weighted_adds_up_and_an_abstention_leaves_its_weight_to_the_others():
    scorers = {"a": Fixed(1.0, None, None, 1.0), "b": Fixed(10.0, 10.0, None, FAILED)}
    score = scored(weighted(a=2.0, b=0.5), scorers, *"wxyz")
    assert score.total[:3] == [2 * 1 + 0.5 * 10, 10 * 2.5, None]
    assert score.total[3] == Failure("b: no reason")
    assert score.parts == {"a": [1.0, None, None, 1.0], "b": [10.0, 10.0, None, FAILED]}


def test_weighted_may_subtract_and_a_weight_of_zero_only_logs():
    scorers = {"a": Fixed(1.0, None), "b": Fixed(4.0, 4.0), "c": Fixed(100.0, 7.0)}
    assert scored(weighted(a=1.0, b=-0.25, c=0.0), scorers, *"xy").total == [1 - 0.25 * 4, -4 * 1.25]


def test_a_number_that_is_not_finite_fails_the_sum():
    score = scored(weighted(a=1.0, b=1.0), {"a": Fixed(float("nan")), "b": Fixed(1.0)}, "x")
    assert "a: the reward returned nan, which is no finite number" in score.total[0].reason


def test_weighted_passes_steps_on_with_the_weight_of_their_part():
    steps = [[StepScore(start=0, end=2, score=1.0), StepScore(start=2, end=5, score=3.0)]]
    scorers = {"a": Fixed(4.0, steps=steps), "b": Fixed(None)}
    score = scored(weighted(a=2.0, b=6.0), scorers, "abcde")
    assert score.total == [4 * 8.0]  # the weight of b falls to a
    assert [step.score for step in score.steps[0]] == [8.0, 24.0]


def test_answers_of_the_first_part_that_extracts_some_are_kept():
    scorers = {"a": Fixed(1.0, 1.0), "b": Fixed(1.0, 0.0, answers=["4", None])}
    assert scored(weighted(a=1.0, b=1.0), scorers, *"xy").answers == ["4", None]


@pytest.mark.parametrize(
    ("fields", "score"),
    [
        ({}, statistics.fmean([1, 2, 6])),
        ({"mode": "min"}, 1),
        ({"mode": "mean_minus_sd"}, 3 - (14 / 3) ** 0.5),
        ({"mode": "mean_minus_sd", "coefficient": 0.5}, 3 - 0.5 * (14 / 3) ** 0.5),
    ],
)
def test_ensemble_combines_the_members_that_do_not_abstain(fields, score):
    reward = Ensemble(of={name: {"name": "length"} for name in "abcd"}, **fields)
    scorers = dict(zip("abcd", (Fixed(1.0, None), Fixed(2.0, None), Fixed(6.0, None), Fixed(None, None)), strict=True))
    assert scored(reward, scorers, *"xy").total == [pytest.approx(score), None]
    scorers["d"] = Fixed(FAILED, 1.0)
    assert scored(reward, scorers, *"xy").total == [Failure("d: no reason"), 1.0]


def test_noise_has_the_standard_deviation_and_is_the_same_when_it_is_drawn_again():
    texts = [f"text {number}" for number in range(4000)]
    reward, scorers = Noise(of={"name": "length"}, sd=0.5), {"reward": Fixed(*[2.0] * 4000)}
    first = scored(reward, scorers, *texts)
    assert statistics.fmean(first.total) == pytest.approx(2.0, abs=0.03)
    assert statistics.stdev(first.total) == pytest.approx(0.5, abs=0.02)
    assert scored(reward, scorers, *texts).total == first.total
    assert set(first.parts["without_noise"]) == {2.0}
    other = scored(Noise(of={"name": "length"}, sd=0.5, seed=1), scorers, *texts).total
    assert abs(statistics.correlation(first.total, other)) < 0.06


def test_noise_leaves_abstentions_and_failures():
    assert scored(Noise(of={"name": "length"}), {"reward": Fixed(None, FAILED)}, *"xy").total == [None, FAILED]


def test_process_scores_each_step_and_adds_up():
    scorer = ByText({"one": 1.0, "two": 2.0, "": 0.0, "bad": FAILED, "none": None})
    texts = ["one\n\n two\n", "", "none\none", "one\nbad", "none"]
    score = scored(Process(of={"name": "length"}), {"reward": scorer}, *texts)
    assert score.total == [3.0, 0.0, 1.0, Failure("step 2: no reason"), None]
    assert scorer.seen == ["one", " two", "none", "one", "one", "bad", "none"]
    assert score.steps[0] == [StepScore(start=0, end=3, score=1.0), StepScore(start=5, end=9, score=2.0)]
    assert score.steps[1:] == [[], [StepScore(start=5, end=8, score=1.0)], (), ()]


def test_process_has_no_step_of_space_alone():
    score = scored(Process(of={"name": "length"}, separator=";"), {"reward": ByText({"a": 1.0, "b": 2.0})}, "a; ;b")
    assert score.total == [3.0] and [step.start for step in score.steps[0]] == [0, 4]


def test_process_may_give_the_text_so_far_and_take_the_mean():
    scorer = ByText({"a": 1.0, "a;b": 5.0})
    reward = Process(of={"name": "length"}, separator=";", given="prefix", total="mean")
    score = scored(reward, {"reward": scorer}, "a;b")
    assert score.total == [3.0] and [step.score for step in score.steps[0]] == [0.5, 2.5]


def test_process_has_a_limit_of_steps_and_of_time():
    scorer = ByText({"a": 1.0, "a\na\na": 1.0})
    score = scored(Process(of={"name": "length"}, max_steps=3), {"reward": scorer}, "a\n" * 4 + "a")
    assert scorer.seen == ["a", "a", "a\na\na"] and score.total == [3.0]
    reward = Process(of={"name": "length"}, separator=r"^(a|a)*$", seconds=0.1)
    (failed,) = scored(reward, {"reward": scorer}, "a" * 60 + "!").total
    assert "more than 0.1 s" in failed.reason


def test_the_steps_of_process_reach_the_tokens_at_which_they_end():
    import torch
    from tokenizers import Tokenizer, decoders, models

    letters = Tokenizer(models.BPE({"a": 0, "b": 1, "\n": 2}, []))
    letters.decoder = decoders.Fuse()
    score = scored(Process(of={"name": "length"}), {"reward": ByText({"a": 1.0, "b": 2.0})}, "a\nb")
    rewards = step_rewards(score.steps, torch.tensor([[0, 2, 1]]), torch.ones(1, 3, dtype=torch.bool), letters)
    assert rewards.tolist() == [[1.0, 0.0, 2.0]]


def test_a_combination_of_untrained_rewards_loads_them():
    reward = Weighted(of={"short": {"name": "length", "longest": 1, "margin": 1, "weight": 3.0}})
    score = reward.load(None).score([Example.of_text("p")] * 2, ["one", "one two three"])
    assert score.total == [0.0, -3.0]


@dataclass(frozen=True, kw_only=True)
class Paid(Reward):
    """A reward whose scores cost tokens."""

    costs: ClassVar = ("tokens",)

    def parts(self):
        return self.costs

    def load(self, folder):
        return PaidScorer()


class PaidScorer:
    """Ten tokens for each character."""

    def score(self, examples, completions):
        return Score(total=[1.0 for _ in completions], parts={"tokens": [10.0 * len(text) for text in completions]})


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Weighted(of={"a": {"name": "tc_paid", "weight": 2.0}}), "a_tokens"),
        (lambda: Ensemble(of={"a": {"name": "tc_paid"}, "b": {"name": "length"}}), "a_tokens"),
        (lambda: Noise(of={"name": "tc_paid"}), "tokens"),
        (lambda: Process(of={"name": "tc_paid"}), "tokens"),
        (lambda: Noise(of={"name": "weighted", "of": {"a": {"name": "tc_paid", "weight": 1.0}}}), "a_tokens"),
    ],
)
def test_what_a_reward_inside_costs_is_part_of_the_combination(make, name):
    registry.register("reward", "tc_paid")(Paid)
    try:
        reward = make()
        assert reward.cost_parts() == (name,) and name in reward.parts()
        score = reward.load(None).score([Example.of_text("p")] * 2, ["a\nbb", ""])
    finally:
        del registry._components["reward", "tc_paid"]
    assert score.parts[name] == ([30.0, 0.0] if isinstance(reward, Process) else [40.0, 0.0])


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (Weighted(), "reward=weighted is computed from a reward, and names 0. Type reward.of.NAME.name=COMPONENT"),
        (Ensemble(of={"a": {"name": "length"}}), "at least 2 rewards, and names 1"),
        (Noise(), "Type reward.of.name=COMPONENT"),
        (weighted(a=0.0), "all weights of reward=weighted are 0"),
        (weighted(a=float("inf")), "reward.of.a.weight=inf: it must be a finite number"),
        (Weighted(of={"my part": {"name": "length"}}), "of.my part: the name becomes that of a metric"),
        (Weighted(of={"a": {"name": "regex"}}), "of.a: reward.pattern is empty"),
        (Noise(of={"name": "regex"}), "of: reward.pattern is empty"),
        (Process(of={"name": "length"}, separator="("), "reward.separator=(: it is no regular expression"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_type(reward, message):
    (problem,) = reward.problems()
    assert message in problem
