"""Evaluation: several completions of a prompt, several sets, judges, and what their metrics mean."""

import math

import pytest

from align_lab.base import registry
from align_lab.base.hyperparameters import Train
from align_lab.base.metrics import of_run
from align_lab.base.settings import Evaluation, Sampling
from align_lab.base.task import Example, Score
from align_lab.models.policy import Text
from align_lab.rollout.prompts import Prompts
from align_lab.train.evaluate import Evaluator, summary
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


def evaluated(samples=1, sets=None, prompts_used=3, metric="eval/score"):
    sampling = Sampling(max_new_tokens=8, temperature=1.0, missing_eos_penalty=PENALTY)
    evaluate = Evaluator(
        sets=sets or {"evaluation": prompts("a good film", "a bad film", "the plot")},
        reward=LimitedScorer(scorer=Columns()),
        judges={"liked": LimitedScorer(scorer=CountWord("o"))},
        sampling=sampling,
        plan=Evaluation(prompts=prompts_used, samples=samples, metric=metric),
        reference=lambda: model(),
    )
    return evaluate(Learner(Train(), model(), temperature=1.0), step=5)


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
