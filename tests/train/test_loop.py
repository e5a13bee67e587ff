"""The training loop: resuming, budgets, preference pairs, golden trajectories."""

import json

import pytest
import torch

from align_lab.base.errors import RewardError, Stopped
from align_lab.rewards.scores import Score
from align_lab.train.draws import draw
from tests.train.small import FIELDS, TRAJECTORIES, CountWord, algorithm, algorithms, loop, rows, trajectory

ALGOS = algorithms()


@pytest.mark.nightly
@pytest.mark.parametrize("name", ALGOS)
@pytest.mark.parametrize("step", [0, 1, 3])
def test_a_run_resumed_from_a_checkpoint_is_bit_identical(name, step):
    whole = loop(algorithm(name, **FIELDS.get(name, {})))
    whole.run()
    resumed = loop(algorithm(name, **FIELDS.get(name, {})))
    resumed.load_state_dict(whole.journal.saved[step])
    resumed.start_rows = [row for row in whole.journal.samples if row["step"] == 0]
    resumed.run()
    assert rows(resumed) == rows(whole)[step + 1 :]
    for key, value in whole.learner.policy.state_dict().items():
        assert torch.equal(value, resumed.learner.policy.state_dict()[key])


@pytest.mark.parametrize("name", ALGOS)
def test_the_trajectory_equals_the_golden_one(name):
    """Three steps of a fixed tiny training.

    If a change is intended, regenerate the file with `python -m tests.train.small`, and give the reason in the commit.
    """
    golden = json.loads(TRAJECTORIES.read_text())[name]
    for row, expected in zip(trajectory(name), golden, strict=True):
        assert row.keys() == expected.keys()
        for key in expected:
            assert row[key] == pytest.approx(expected[key], rel=1e-6, abs=1e-7), (row["step"], key)


def test_a_stop_request_saves_a_checkpoint_and_reports_it():
    it = loop(algorithm("rloo"))
    it.save_every = 100
    it.should_stop = lambda: it.progress.step == 2
    with pytest.raises(Stopped, match="after step 2") as error:
        it.run()
    assert error.value.status == 75
    assert 2 in it.journal.saved


@pytest.mark.parametrize(
    ("budget", "steps"), [({"episodes": 32}, 2), ({"episodes": 33}, 3), ({"tokens": 130}, 2), ({"seconds": 1e-9}, 1)]
)
def test_a_budget_ends_the_run_and_the_end_is_evaluated_and_saved(budget, steps):
    it = loop(algorithm("rloo"), budget=budget)
    it.run()
    assert it.progress.step == steps
    assert "eval/gold_score" in it.journal.rows[-1]
    assert steps in it.journal.saved


def test_only_an_evaluation_that_is_better_than_all_before_is_the_best():
    it = loop(algorithm("rloo"), lr=1e-30, steps=4)  # the policy stays, so that all evaluations are equal
    it.run()
    scores = [row["eval/score"] for row in it.journal.rows if "eval/score" in row]
    assert len(set(scores)) == 1 < len(scores) and it.journal.best == [0]
    assert [it._new_best({"eval/score": scores[0] + gap}) is None for gap in (-1, 0, 1, 1, 2)] == [
        *(True, True, False, True, False),
    ]  # fmt: skip
    assert it._new_best({"lr": 0.1}) is None


def test_pairs_are_charged_for_the_completions_that_made_them_and_only_once():
    it = loop(algorithm("dpo"), steps=5)  # 16 pairs, 8 a step: from the third step on they are used again
    it.run()
    assert [row["episode"] for row in it.journal.rows] == [
        0,
        32,
        64,
        64,
        64,
        64,
    ]  # each pair is the best and the worst of 4 completions
    rollouts = loop(algorithm("rloo"), steps=2)
    rollouts.run()
    assert rollouts.journal.rows[-1]["episode"] == 32


def test_every_item_is_drawn_once_before_any_is_drawn_again():
    items = torch.cat([draw(10, 4, 4 * step, seed=3) for step in range(5)]).tolist()
    assert sorted(items[:10]) == sorted(items[10:]) == list(range(10))
    assert items[:10] != items[10:]
    assert draw(3, 8, 0, seed=0).bincount(minlength=3).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


@pytest.mark.parametrize(
    ("totals", "message"),
    [([1.0], "returned 1 scores for 16 completions"), ([float("nan")] * 16, "returned nan, which is no finite number")],
)
def test_a_missing_or_non_finite_score_is_an_error_that_names_the_completion(totals, message):
    class Wrong(CountWord):
        def score(self, examples, completions):
            return Score(total=totals)

    it = loop(algorithm("rloo"), reward=Wrong(""))
    with pytest.raises(RewardError, match=message):
        it.run()


def test_the_reference_is_loaded_only_where_the_algorithm_needs_it():
    assert loop(algorithm("rloo", kl_coef=0.0)).source.reference is None
    assert loop(algorithm("rloo", kl_coef=0.1)).source.reference is not None
    assert loop(algorithm("rloo")).learner.critic is None


LEARNS_FROM_EQUAL_SCORES = [
    name for name in ALGOS if algorithm(name).needs.samples and not algorithm(name).needs.refills
]


@pytest.mark.parametrize("name", LEARNS_FROM_EQUAL_SCORES)
def test_empty_completions_are_scored_and_learned_from(name):
    """The policy generates the end-of-sequence token first: one counted token and an empty text."""
    it = loop(algorithm(name, **FIELDS.get(name, {})), steps=2)
    for policy in (it.learner.policy, it.evaluate.reference()):
        policy.embed.weight.data[0] += 20 * policy.hidden(torch.tensor([[5, 6]]))[0, -1].detach()
    it.run()
    assert {row["completions/min_length"] for row in it.journal.rows[1:]} == {1.0}
    assert any(row["completion"] == "" for row in it.journal.samples)
