"""Evaluation: several completions of a prompt, several sets, judges, and what their metrics mean."""

import math
from dataclasses import dataclass

import pytest

from align_lab.base import registry
from align_lab.base.contracts import Reward
from align_lab.base.errors import ConfigError
from align_lab.base.hyperparameters import Train
from align_lab.base.metrics import of_run
from align_lab.base.settings import Evaluation, Sampling
from align_lab.base.task import Example, Failure, Score
from align_lab.models.text import Text
from align_lab.rollout.prompts import Prompts
from align_lab.train.evaluate import Evaluator
from align_lab.train.evaluation_metrics import summary
from align_lab.train.learner import Learner
from align_lab.train.scoring import LimitedScorer
from tests.train.small import CountWord, model, tokenizer

registry.scan()
PENALTY = 1.0  # Sampling.missing_eos_penalty


class Columns:
    """Scores a completion by a column of its example alone."""

    def score(self, examples, completions):
        assert len(examples) == len(completions)
        return Score(total=[float(example.columns["value"]) for example in examples])


def prompts(*texts):
    examples = [Example.of_text(text, value=10 * number) for number, text in enumerate(texts)]
    return Prompts.encode(examples, Text(tokenizer=tokenizer(), eos=0), context=24, new=8)


def evaluated(samples=1, sets=None, prompts_used=3, metric="eval/score", reward=None, reference=None, start=(), **plan):
    sampling = Sampling(max_new_tokens=8, temperature=1.0, missing_eos_penalty=PENALTY)
    evaluate = Evaluator(
        sets=sets or {"evaluation": prompts("a good film", "a bad film", "the plot")},
        reward=reward if isinstance(reward, LimitedScorer) else LimitedScorer(scorer=reward or Columns()),
        judges={"liked": LimitedScorer(scorer=CountWord("o"))},
        sampling=sampling,
        plan=Evaluation(prompts=prompts_used, samples=samples, metric=metric, **plan),
        reference=reference or (lambda: model()),
    )
    return evaluate(Learner(Train(), model(), temperature=1.0), step=5, start=start)


def test_each_completion_of_a_prompt_is_a_row_with_its_number():
    rows = evaluated(samples=2)
    assert [(row["index"], row["sample"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert {row["prompt"] for row in rows if row["index"] == 1} == {"a bad film"}
    assert any(one["completion"] != two["completion"] for one, two in zip(rows[::2], rows[1::2], strict=True))


def test_the_first_completion_of_several_is_that_of_a_single_one():
    one, several = evaluated(), evaluated(samples=3)
    assert "sample" not in one[0] and "set" not in one[0]
    assert [row["completion"] for row in several if row["sample"] == 0] == [row["completion"] for row in one]


def test_reward_and_judges_see_the_example_of_each_completion():
    for row in evaluated(samples=2):
        assert row["score"] == 10 * row["index"] - PENALTY * (not row["ended"])
        assert row["liked"] == pytest.approx(row["completion"].count("o") - 0.01 * len(row["completion"]))


def test_a_second_set_has_rows_of_its_own_and_as_many_prompts_as_it_has():
    sets = {"same": prompts("a good film", "a bad film", "the plot"), "harder": prompts("is it good", "a plot")}
    rows = evaluated(sets=sets)
    assert [(row["set"], row["index"]) for row in rows] == [
        *(("same", i) for i in range(3)),
        *(("harder", i) for i in range(2)),
    ]
    assert rows[3]["prompt"] == "is it good"


def row(index, score, **other):
    values = {"kl": 0.0, "length": 2, "ended": True, "win": 0.5, "entropy_sum": 1.0, "completion": "a b"}
    return {"index": index, "score": score, **values, **other}


def test_the_standard_error_is_over_prompts_and_not_over_completions():
    """Prompt means 1, 2 and 6: mean 3, variance (4 + 1 + 9) / 2 = 7, standard error sqrt(7 / 3)."""
    scores = {0: (0.0, 2.0), 1: (2.0, 2.0), 2: (4.0, 8.0)}
    rows = [row(index, score, sample=n) for index, pair in scores.items() for n, score in enumerate(pair)]
    metrics = summary(rows, judges=(), decides="score")
    assert metrics["eval/score"] == 3.0
    assert metrics["eval/score_se"] == pytest.approx(math.sqrt(7 / 3))


def test_every_metric_of_several_sets_is_declared_with_the_meaning_of_the_first():
    config = {
        "reward": {"name": "vader"},
        "data": {"name": "movie_reviews"},
        "evaluation": {"judges": {"liked": {"name": "vader"}}, "metric": "eval/liked", "sets": ["same", "harder"]},
    }
    declared = of_run(config)
    rows = [row(0, 1.0, liked=2.0, set="same"), row(0, 3.0, liked=5.0, set="harder")]
    metrics = summary(rows, judges=["liked"], decides="liked")
    assert (metrics["eval/liked"], metrics["eval/harder/liked"], metrics["eval/harder/score"]) == (2.0, 5.0, 3.0)
    assert metrics.keys() <= declared.keys()
    assert declared["eval/harder/liked"] == declared["eval/liked"] and declared["eval/liked"].unit == "-1 to 1"
    assert not [name for name in declared if name.startswith("eval/same")]  # the first set has no prefix
    assert "eval/score_se" not in declared  # the standard error is that of the deciding metric


def test_the_win_is_by_the_score_that_decides():
    rows = evaluated(metric="eval/liked")
    start = [
        {**row, "liked": row["liked"] + gap, "score": row["score"] - gap}
        for row, gap in zip(rows, (1, -1, 0), strict=True)
    ]
    assert [row["win"] for row in evaluated(metric="eval/liked", start=start)] == [0.0, 1.0, 0.5]
    assert [row["win"] for row in evaluated(start=start)] == [1.0, 0.0, 0.5]


class Sometimes:
    """A score for the first prompt, none for the second, and a failure for the third."""

    def score(self, examples, completions):
        outcomes = (2.0, None, Failure("no answer"))
        return Score(total=[outcomes[example.columns["value"] // 10] for example in examples])


def test_a_completion_without_a_score_has_none_and_a_failure_its_reason():
    limited = LimitedScorer(scorer=Sometimes(), max_failed=1.0)
    rows = evaluated(reward=limited, samples=2)
    assert [row["score"] for row in rows] == [*(2.0 - PENALTY * (not row["ended"]) for row in rows[:2]), *[None] * 4]
    assert [row.get("failures") for row in rows] == [None] * 4 + [{"score": "no answer"}] * 2
    assert [row["win"] for row in rows] == [0.5, 0.5, None, None, None, None]
    metrics = summary(rows, judges=["liked"], decides="score")
    assert metrics["eval/score"] == sum(row["score"] for row in rows[:2]) / 2
    assert metrics["eval/score_failed"] == metrics["eval/score_abstained"] == pytest.approx(1 / 3)
    assert metrics["eval/win_rate"] == 0.5 and "eval/liked_failed" not in metrics


class Verifier:
    """Is there an e in the completion? The answer is its first letter; one part counts letters."""

    def score(self, examples, completions):
        return Score(
            total=[float("o" in text) for text in completions],
            parts={"letters": [len(text) for text in completions]},
            answers=[text.strip()[0] if "o" in text else None for text in completions],
        )


def test_greedy_completions_do_not_depend_on_the_seed_and_are_the_most_likely_tokens():
    first, second = (evaluated(temperature=0, seed=seed) for seed in (1, 2))
    assert [row["completion"] for row in first] == [row["completion"] for row in second]
    assert [row["completion"] for row in first] != [row["completion"] for row in evaluated(seed=1)]


def test_the_policy_decodes_as_the_evaluation_says_and_not_as_training_does():
    texts = {
        key: [row["completion"] for row in evaluated(**plan)]
        for key, plan in {"usual": {}, "same": {"temperature": 1.0}, "cold": {"temperature": 0.1}}.items()
    }
    assert texts["usual"] == texts["same"] != texts["cold"]
    assert {row["length"] for row in evaluated(max_new_tokens=3)} <= {1, 2, 3}
    narrow = evaluated(top_p=1e-6)
    assert [row["completion"] for row in narrow] == [row["completion"] for row in evaluated(temperature=0)]


def test_kl_and_entropy_are_measured_at_the_temperature_of_training():
    """Of the start policy against itself KL is 0 however it decodes; against another one it is that of the texts."""
    for plan in ({}, {"temperature": 0}, {"temperature": 0.1}):
        assert [row["kl"] for row in evaluated(**plan)] == pytest.approx([0.0] * 3, abs=1e-5)

    class Sharper:
        """The model at half the temperature that it is asked for."""

        def __init__(self):
            self.model = model()

        def __call__(self, *args, temperature, **more):
            return self.model(*args, temperature=temperature / 2, **more)

    greedy, narrow = (evaluated(reference=Sharper, **plan) for plan in ({"temperature": 0}, {"top_p": 1e-6}))
    assert [row["kl"] for row in greedy] == pytest.approx([row["kl"] for row in narrow], abs=1e-5)
    assert all(abs(row["kl"]) > 1e-3 for row in greedy)


def test_parts_answers_and_the_score_without_the_penalty_are_kept_by_the_name_of_their_scorer():
    rows = evaluated(samples=2, reward=Verifier(), pass_at=[1, 2])
    for row in rows:
        assert row["parts"] == {"score": {"letters": len(row["completion"])}}
        assert row["correct"] == float("o" in row["completion"])
        assert (row["answers"]["score"] is None) == (row["correct"] == 0.0)
        assert row["score"] == row["correct"] - PENALTY * (not row["ended"])
    metrics = summary(rows, judges=["liked"], decides="score", pass_at=[1, 2])
    correct = [row["correct"] for row in rows]
    assert metrics["eval/pass@1"] == pytest.approx(sum(correct) / 6)
    assert metrics["eval/pass@2"] == sum(max(pair) for pair in zip(correct[::2], correct[1::2], strict=True)) / 3
    assert metrics["eval/score_letters"] == pytest.approx(sum(len(row["completion"]) for row in rows) / 6)
    assert metrics["eval/score_unread"] == pytest.approx(1 - sum(correct) / 6)
    assert metrics["eval/pass@2_low"] < metrics["eval/pass@2"] <= metrics["eval/pass@2_high"]


def test_pass_at_k_of_scores_that_are_not_right_or_wrong_is_refused():
    with pytest.raises(ConfigError, match="must be 0 or 1, and eval/score is 10"):
        evaluated(samples=2, pass_at=[1])


def test_parts_pass_at_k_and_answers_are_declared_for_every_set():
    registry.register("reward", "te_verifier")(Verified)
    config = {
        "reward": {"name": "te_verifier"},
        "data": {"name": "movie_reviews"},
        "evaluation": {
            "judges": {"second": {"name": "te_verifier"}},
            "metric": "eval/second",
            "sets": ["same", "harder"],
            "pass_at": [1, 4],
        },
    }
    try:
        declared = of_run(config)
    finally:
        del registry._components["reward", "te_verifier"]
    names = ["score_letters", "second_letters", "second_unread", "pass@1", "pass@4_low", "maj@4", "maj@4_high"]
    assert {f"eval/{name}" for name in names} | {f"eval/harder/{name}" for name in names} <= declared.keys()
    assert "eval/maj@1" not in declared and declared["eval/pass@4"].better == "higher"


@dataclass(frozen=True, kw_only=True)
class Verified(Reward):
    """A verifier with a part."""

    def parts(self):
        return ("letters",)

    def load(self, folder):
        return Verifier()
