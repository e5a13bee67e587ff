"""What a run is charged: completions, tokens, labels and FLOPs, against counts of what was sampled, read and scored."""

from __future__ import annotations

import pytest

from tests.wiring.by_hand import parameters, recorded_steps, rows_of
from tests.wiring.conftest import REWARD_MODEL

N = parameters()


def read(experience):
    """The tokens of prompts and completions that a model reads."""
    return sum(len(row.prompt) + len(row.completion) for row in rows_of(experience))


def written(experience):
    """The tokens of completions."""
    return sum(len(row.completion) for row in rows_of(experience))


def prompted(experience):
    """The tokens of prompts, of which a group has one."""
    return sum(len(row.prompt) for row in rows_of(experience) if row.place[1] == 0)


def test_the_model_has_as_many_weights_as_its_dimensions_say(run):
    assert sum(p.numel() for p in run("algo=rloo").start.model.parameters()) == N


@pytest.mark.parametrize("reference", [True, False])
def test_a_step_is_charged_for_what_it_samples_scores_and_computes(run, reference):
    it = run("algo=rloo", algo={"kl_coef": 0.05 if reference else 0.0})
    tokens = flops = 0
    for got, _ in recorded_steps(it, 3):
        tokens += written(got.experience)
        seen = read(got.experience)
        generated = prompted(got.experience) + written(got.experience)
        flops += 2 * N * generated + 2 * N * seen * reference + 6 * N * seen
        assert (got.episodes, got.labels, got.tokens) == (16, 16, written(got.experience))
        assert got.ended == int(got.experience.rollout.ended.sum())
    progress = it.loop.progress
    assert (progress.step, progress.episode, progress.labels, progress.tokens) == (3, 48, 48, tokens)
    assert progress.flops == pytest.approx(flops, rel=1e-12)


def test_every_epoch_and_the_critic_cost_their_flops(run):
    it = run("algo=ppo", "train.epochs=3", "train.minibatches=2")
    ((got, _),) = recorded_steps(it, 1)
    critic, seen = N + 16, read(got.experience)
    generated = prompted(got.experience) + written(got.experience)
    expected = 2 * N * generated + 2 * (N + critic) * seen + 3 * 6 * (N + critic) * seen
    assert it.loop.progress.flops == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("minibatches", [1, 2])
def test_every_update_reads_the_human_text_and_is_charged_for_it(run, minibatches):
    fields = {"critic_init": "policy", "critic_pretrain_steps": 0}
    plan = ("algo=ppo_max", f"train.minibatches={minibatches}", "train.epochs=2")
    with_text, without = run(*plan, algo=fields), run(*plan, algo={**fields, "ptx_coef": 0.0})
    recorded_steps(with_text, 1)
    recorded_steps(without, 1)
    batch = with_text.loop.pretrain(0)
    human = int(batch.mask.sum()) + len(batch.ids)
    assert human > 20 and without.loop.pretrain is None
    gap = with_text.loop.progress.flops - without.loop.progress.flops
    assert gap == pytest.approx(6 * N * human * 2 * minibatches, rel=1e-12)


def test_the_most_likely_completions_of_a_step_are_charged_too(run):
    plain, greedy = (run("algo=rloo", algo={"name": "asks", "greedy": wanted}) for wanted in (False, True))
    ((a, _),), ((b, _),) = recorded_steps(plain, 1), recorded_steps(greedy, 1)
    assert (a.episodes, a.labels) == (16, 16) and (b.episodes, b.labels) == (20, 20)
    assert len(greedy.scorer.asked if greedy.scorer is greedy.loop.source.reward.scorer else []) == 20
    assert 4 <= b.tokens - a.tokens <= 4 * 6
    assert (a.prompt_tokens, b.prompt_tokens) == (prompted(a.experience), 2 * prompted(b.experience))
    assert b.experience.rollout.score_greedy.shape == (4,)


def test_groups_that_are_sampled_in_place_of_others_are_charged_too_and_are_of_further_prompts(run):
    it = run("algo=rloo", algo={"name": "asks", "refills": 3, "at_least": 1.4, "reference": False})
    before = it.loop.source.drawn
    ((got, _),) = recorded_steps(it, 1)
    batches = len(it.loop.source.reward.scorer.asked) // 16
    assert batches > 1
    assert (got.episodes, got.labels) == (16 * batches, 16 * batches)
    assert it.loop.source.drawn - before == 4 * batches
    assert (got.experience.rollout.score.amax(1) > 1.4).all() and 1 <= len(got.experience.ids) <= 4
    assert got.tokens > written(got.experience) and got.prompt_tokens >= prompted(got.experience) + 4 * (batches - 1)
    keys = [key for key, _ in it.loop.source.reward.scorer.asked][::4]
    assert len(set(keys[:8])) == min(8, len(keys))  # the second batch has the prompts that the first one has not


def test_labeled_pairs_cost_what_was_sampled_for_them_once(run):
    it = run("algo=dpo", "train.steps=5", "preferences.pairs=12")
    progress, rows = it.loop.progress, []
    for got, _ in recorded_steps(it, 4):
        rows.append((got.episodes, got.labels))
    assert rows[0][0] > 0 and rows[2] == rows[3] == (0, 0)
    assert progress.episode == progress.labels and progress.episode % (64 * 4) == 0  # whole batches of four samples
    assert progress.tokens >= progress.episode


def test_pairs_of_the_data_cost_two_completions_and_a_label_each_once(run):
    it = run("algo=dpo", "sampling.max_new_tokens=12", preferences={"source": "data", "pairs": None})
    taken = recorded_steps(it, 3)  # 8 pairs, 8 a step
    assert [(got.episodes, got.labels, got.tokens) for got, _ in taken] == [(16, 8, 0), (0, 0, 0), (0, 0, 0)]
    seen = read(taken[0][0].experience)
    assert it.loop.progress.flops == pytest.approx(2 * N * seen + 3 * 6 * N * seen, rel=1e-12)


@pytest.mark.parametrize("name", ["rloo", "dpo"])
def test_evaluations_are_not_charged(run, name):
    often, once = run(f"algo={name}", evaluation={"every": 1}), run(f"algo={name}", evaluation={"every": 3})
    for it in (often, once):
        it.loop.run()
    a, b = (
        {k: v for k, v in vars(it.loop.progress).items() if k not in ("seconds", "best_score")} for it in (often, once)
    )
    assert a == b and len(often.loop.journal.samples) > len(once.loop.journal.samples)
    assert [row["budget/flops"] for row in often.rows] == [row["budget/flops"] for row in once.rows]


def test_a_start_policy_costs_nothing_before_its_first_step(run):
    it = run("algo=rloo")
    it.loop.run()
    first = it.rows[0]
    assert (first["episode"], first["budget/tokens"], first["budget/labels"], first["budget/flops"]) == (0, 0, 0, 0)


def test_a_run_ends_after_the_step_in_which_its_budget_is_spent(run):
    it = run("algo=rloo", "train.steps=9", "train.budget.episodes=33")
    it.loop.run()
    assert it.rows[-1]["episode"] == 48


def test_a_trained_reward_model_scores_without_a_charge_of_its_own(run):
    it = run("algo=rloo", reward=REWARD_MODEL)
    ((got, _),) = recorded_steps(it, 1)
    assert (got.episodes, got.labels) == (16, 16)
