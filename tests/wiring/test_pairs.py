"""Preference pairs: which completion is the chosen one, and whose log-probabilities a pair has."""

from __future__ import annotations

import pytest
import torch

from tests.wiring.by_hand import assert_logps, differ, logps, number_of, recorded_steps, rows_of, texts
from tests.wiring.conftest import needs_of
from tests.wiring.parts import KnowsTheExample, Scored, true_score

FROM_DATA = {"source": "data", "pairs": None}


def scored_pairs(it):
    """(score of the chosen, score of the rejected) of every pair, from their texts alone."""
    rows = rows_of(it.loop.source.experience)
    scores = [true_score(number_of(prompt), completion) for prompt, completion, _ in (texts(it, row) for row in rows)]
    return list(zip(scores[::2], scores[1::2], strict=True))


def test_the_chosen_completion_of_a_labeled_pair_is_the_one_with_the_higher_score(run):
    it = run("algo=dpo", "sampling.missing_eos_penalty=0")
    pairs = scored_pairs(it)
    assert len(pairs) == 12
    assert all(chosen > rejected for chosen, rejected in pairs)
    stored = it.loop.source.experience.rollout.score.double()
    torch.testing.assert_close(stored, torch.tensor(pairs, dtype=torch.float64), rtol=0, atol=1e-6)


def test_a_labeled_pair_is_the_best_and_the_worst_of_the_samples_of_its_prompt(run, monkeypatch):
    scorer = Scored()
    monkeypatch.setattr(KnowsTheExample, "load", lambda self, folder: scorer)
    it = run("algo=dpo", "sampling.missing_eos_penalty=0", "preferences.seed=77")  # a set that no other test has built
    numbers = [true_score(int(key.split("-")[1]), text) for key, text in scorer.asked]
    groups = [numbers[i : i + 4] for i in range(0, len(numbers), 4)]
    keys = [scorer.asked[i : i + 4] for i in range(0, len(numbers), 4)]
    assert all(len({key for key, _ in group}) == 1 for group in keys)
    expected = [(max(group), min(group)) for group in groups if max(group) > min(group)]
    torch.testing.assert_close(torch.tensor(scored_pairs(it)), torch.tensor(expected[:12]))


def test_a_pair_whose_better_completion_did_not_end_is_turned_by_the_penalty(run):
    it = run("algo=dpo", "sampling.missing_eos_penalty=8", "sampling.max_new_tokens=3")
    rows = [texts(it, row) for row in rows_of(it.loop.source.experience)]
    turned = 0
    for (prompt, chosen, chosen_ended), (_, rejected, rejected_ended) in zip(rows[::2], rows[1::2], strict=True):
        assert chosen_ended >= rejected_ended
        number = number_of(prompt)
        turned += true_score(number, chosen) < true_score(number, rejected)
    assert turned


def test_the_chosen_completion_of_a_pair_of_the_data_is_the_one_that_the_data_prefers(run):
    it = run("algo=dpo", "sampling.max_new_tokens=12", preferences=FROM_DATA)
    rows = [texts(it, row) for row in rows_of(it.loop.source.experience)]
    assert len(rows) == 16
    for (prompt, chosen, _), (_, rejected, _) in zip(rows[::2], rows[1::2], strict=True):
        assert (chosen, rejected) == (f" {number_of(prompt)} good", f" {number_of(prompt)} bad bad")
    assert it.loop.source.experience.rollout.score.tolist() == [[1.0, 0.0]] * 8


@pytest.mark.parametrize(
    "algo", [{"name": "asks", "pairs": 1.0, "paired": False}, {"name": "asks", "pairs": 1.0}], ids=["single", "paired"]
)
def test_a_label_belongs_to_its_completion_also_where_the_completions_of_pairs_are_apart(run, algo):
    it = run("algo=dpo", "sampling.max_new_tokens=12", algo=algo, preferences=FROM_DATA)
    experience = it.loop.source.experience
    for row in rows_of(experience):
        assert float(experience.rollout.score[row.place]) == texts(it, row)[1].endswith(" good")
    assert experience.rollout.score.shape == ((8, 2) if algo.get("paired", True) else (16, 1))
    assert it.loop.groups == (8 if algo.get("paired", True) else 16)


def test_single_completions_of_the_data_are_learned_from_each_with_its_own_label(run):
    it = run("algo=kto", "sampling.max_new_tokens=12", "train.lr=0.01", data={"name": "single_words"},
             preferences=FROM_DATA)  # fmt: skip
    experience = it.loop.source.experience
    assert experience.rollout.score.shape == (8, 1) and it.loop.groups == 16
    shown = [(*texts(it, row), float(experience.rollout.score[row.place])) for row in rows_of(experience)]
    assert sorted(number_of(prompt) for prompt, *_ in shown) == list(range(8))
    for prompt, completion, ended, score in shown:
        number = number_of(prompt)
        assert (completion, ended, score) == (f" {number} good", True, float(number % 2 == 0))
    assert_logps(experience.rollout.logp_ref, experience, it.start.model, 0.7)
    before = [float(logps(it.start.model, row, 0.7).sum()) for row in rows_of(experience)]
    for got, _ in recorded_steps(it, 3):
        assert got.experience.rollout.score.shape == (16, 1)
    now = it.loop.learner.policy
    gain = [float(logps(now, row, 0.7).sum()) - old for row, old in zip(rows_of(experience), before, strict=True)]
    good = [one for one, (*_, score) in zip(gain, shown, strict=True) if score == 1]
    bad = [one for one, (*_, score) in zip(gain, shown, strict=True) if score == 0]
    assert sum(good) / len(good) > sum(bad) / len(bad)
    for _, batch in it.algo.calls:
        label = batch.advantage.sum(-1).sign().flatten()
        assert int((label == 1).sum()) == int((label == -1).sum()) == 8  # two passes over four of each


@pytest.mark.parametrize("source", ["reward", "data"])
@pytest.mark.parametrize("temperature", [None, 1.3])
def test_pairs_have_the_log_probabilities_of_the_start_policy_at_the_temperature_of_training(run, source, temperature):
    own = {"temperature": temperature, "source": source, "pairs": 8}
    it = run("algo=dpo", "sampling.max_new_tokens=12", preferences=own)
    expected = 0.7 if temperature is None else temperature
    experience = it.loop.source.experience
    assert_logps(experience.rollout.logp_old, experience, it.start.model, expected)
    assert_logps(experience.rollout.logp_ref, experience, it.start.model, expected)
    taken = recorded_steps(it, 3)
    for got, _ in taken:
        assert_logps(got.experience.rollout.logp_ref, got.experience, it.start.model, expected)
    got, before = taken[-1]
    now, _ = it.algo.calls[-1]
    assert differ(now.logp, reordered(it, got.experience), it.start.model, expected)
    assert_logps(now.logp, reordered(it, got.experience), before, expected)


def reordered(it, experience):
    """The experience in the order of the last update's only minibatch."""
    _, batch = it.algo.calls[-1]
    order = [
        next(i for i, other in enumerate(experience.rollout.logp_old) if torch.equal(own, other))
        for own in batch.logp_old
    ]
    return experience.take(torch.tensor(order))


def test_an_algorithm_that_samples_ignores_the_temperature_of_pairs(run):
    it = run("algo=rloo", preferences={"temperature": 1.3})
    ((got, before),) = recorded_steps(it, 1)
    assert_logps(got.experience.rollout.logp_old, got.experience, before, 0.7)
    assert_logps(it.algo.calls[0][0].logp, reordered(it, got.experience), before, 0.7)


def test_online_pairs_are_the_best_and_the_worst_of_the_step(run):
    it = run("algo=online_dpo")
    assert needs_of("online_dpo").samples
    ((got, _),) = recorded_steps(it, 1)
    _, batch = it.algo.calls[0]
    score = reordered(it, got.experience).rollout.score
    label = batch.advantage.sum(-1).sign()
    for scores, own in zip(score, label, strict=True):
        tie = bool(scores.max() == scores.min())
        assert own[int(scores.argmax())] == (0 if tie else 1) and own[int(scores.argmin())] == (0 if tie else -1)
        assert own.abs().sum() == (0 if tie else 2)
    assert label.any()


def test_every_pair_is_used_once_before_any_is_used_again(run):
    it = run("algo=dpo", "train.prompts_per_step=2", "train.group_size=4", preferences={"pairs": 12})
    used = [got.experience for got, _ in recorded_steps(it, 6)]
    sums = [round(float(x), 9) for experience in used for x in experience.rollout.logp_old.sum((1, 2))]
    assert len(set(sums[:12])) == 12 and sorted(sums[:12]) == sorted(sums[12:]) and sums[:12] != sums[12:]


def test_another_seed_learns_from_the_same_pairs_in_another_order(run):
    orders = []
    for seed in (5, 6):
        source = run("algo=dpo", f"seed={seed}").loop.source
        got = source.collect(0, groups=12).experience.rollout
        orders.append([round(float(x), 9) for x in got.logp_old.sum((1, 2))])
    assert sorted(orders[0]) == sorted(orders[1]) and orders[0] != orders[1]
