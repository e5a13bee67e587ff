"""The result of a run: the rows of its last table and its sentence, for any reward, judges and metric."""

import pytest
import torch

from align_lab.base.metrics import METRICS, Metric
from align_lab.record.final_summary import FinalSummary
from align_lab.train.evaluation_metrics import standard_error

REVIEWS = METRICS | {
    "eval/gold_score": Metric("the unseen judge", "sd of human reviews", "higher", "gold score"),
    "eval/score": Metric("what the policy was trained on", "sd of human reviews", "higher", "proxy score"),
    "eval/vader": Metric("sentiment lexicon", "-1 to 1", "higher", "VADER"),
}
BY_JUDGE = FinalSummary(REVIEWS, "eval/gold_score", ["gold_score", "vader"])
BY_REWARD = FinalSummary(METRICS, "eval/score")


def row(**changes):
    return {
        "eval/gold_score": 0.0,
        "eval/score": 0.0,
        "eval/distinct_2": 0.9,
        "eval/gold_score_se": 0.03,
        "eval/score_se": 0.03,
        **{f"eval/{name}": value for name, value in changes.items()},
    }


@pytest.mark.parametrize(
    ("final", "words"),
    [
        (row(gold_score=0.5, score=0.6), "The policy learned: the gold score rose by 0.50"),
        (row(gold_score=0.05, score=0.6), "No improvement shown"),
        (
            row(gold_score=-0.5, score=0.6),
            "Over-optimized: the proxy score rose by 0.60 while the gold score fell by 0.50",
        ),
        (row(gold_score=-0.5, score=-0.1), "The policy got worse"),
        (row(gold_score=-5.0, score=3.0, distinct_2=0.1), "The policy collapsed"),
    ],
)
def test_the_sentence_claims_what_the_numbers_carry(final, words):
    assert words in BY_JUDGE.sentence(row(), final)


def test_a_run_that_is_judged_by_its_own_reward_cannot_be_called_over_optimized():
    assert BY_REWARD.sentence(row(), row(score=-0.5)).startswith("The policy got worse: the score fell by 0.50")
    assert "The score changed by +3.00. Try" in BY_REWARD.sentence(row(), row(score=3.0, distinct_2=0.1))


def test_the_table_begins_with_the_deciding_metric_and_names_each_score_once():
    assert [line.label for line in BY_JUDGE.rows()][:4] == ["gold score", "proxy score", "VADER", "win rate"]
    assert [line.key for line in BY_REWARD.rows()][:2] == ["eval/score", "eval/win_rate"]


def test_a_missing_score_is_said_and_never_taken_for_0():
    gone = {key: value for key, value in row().items() if not key.startswith("eval/gold_score")}
    shares = {"eval/gold_score_failed": 0.25, "eval/gold_score_abstained": 0.75}
    sentence = BY_JUDGE.sentence(row(), gone | shares)
    assert sentence.startswith("Nothing can be said: no completion has a gold score at the end")
    assert "25 % could not be scored, on 75 % there is no opinion" in sentence
    assert "before training" in BY_JUDGE.sentence(gone, row())


def test_without_the_optimized_score_the_judge_still_decides():
    gone = {key: value for key, value in row(gold_score=-0.5).items() if key != "eval/score"}
    assert BY_JUDGE.sentence(row(), gone).startswith("The policy got worse: the gold score fell by 0.50")
    collapsed = {**gone, "eval/distinct_2": 0.1}
    assert "The gold score changed by -0.50. Try" in BY_JUDGE.sentence(row(), collapsed)


def test_one_prompt_has_no_standard_error_and_proves_nothing():
    start, end = (
        {key: value for key, value in row(score=score).items() if not key.endswith("_se")} for score in (0.0, -1.0)
    )
    sentence = BY_REWARD.sentence(start, end)
    assert sentence.startswith("Nothing can be concluded from one prompt. The score changed by -1.00.")
    assert standard_error(torch.tensor([0.5])) is None


def test_completions_of_one_word_repeat_nothing():
    sentence = BY_REWARD.sentence(row(), row(score=0.5, distinct_2=0.0))
    assert sentence.startswith("The policy learned: the score rose by 0.50")
    assert sentence.endswith("At the end no completion has more than one word.")
    assert BY_REWARD.sentence(row(distinct_2=0.0), row(distinct_2=0.0)).endswith("(0.08).")
