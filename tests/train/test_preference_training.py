"""What the loop does for algorithms on preferences: rounds, mixtures, and KTO's reference point."""

from __future__ import annotations

import copy

import pytest
import torch

from align_lab.train.draws import permutation
from align_lab.train.experience import left_padding
from align_lab.train.experience_metrics import experience_metrics
from align_lab.train.mixture import Mixture
from tests.train.small import CountWord, algorithm, loop, model, rows


def run(name, *, steps=4, load=None, **fields):
    it = loop(algorithm(name, **fields), dtype=torch.float64, steps=steps)
    if load is not None:
        it.load_state_dict(load.journal.saved[3])
        it.start_rows = [row for row in load.journal.samples if row["step"] == 0]
    it.run()
    return it


def test_rounds_of_one_step_are_online_dpo():
    assert rows(run("iterative_dpo", round_steps=1)) == rows(run("online_dpo"))


def test_a_round_is_sampled_by_the_policy_that_it_begins_with():
    """The log-probabilities of all of its steps are that policy's, however often the policy is updated in between."""
    it = loop(algorithm("iterative_dpo", round_steps=2), dtype=torch.float64)
    for step in range(4):
        if step % 2 == 0:
            beginning = copy.deepcopy(it.learner.policy)
        collected = it.source.collect(step, groups=it.groups)
        mask, old = collected.experience.rollout.mask, collected.experience.rollout.logp_old
        begun, now = (logps(it, policy, collected.experience) for policy in (beginning, it.learner.policy))
        torch.testing.assert_close(old[mask], begun[mask])
        assert torch.allclose(old[mask], now[mask]) == (step % 2 == 0)
        it._learn(step, collected)


@torch.no_grad()
def logps(it, policy, experience):
    mask = experience.rollout.mask
    ids, pad = experience.ids.flatten(0, 1), left_padding(experience.pad.flatten())
    return policy(ids, pad, mask.flatten(0, 1), temperature=it.learner.temperature).view(mask.shape)


def test_the_seconds_of_a_round_belong_to_the_step_that_samples_it():
    """Else the update of a later step, which is what remains of its time, would take less than no time."""
    it = run("iterative_dpo", steps=4, round_steps=2)
    rolled_out = [row["time/rollout"] for row in it.journal.rows[1:]]
    assert [seconds > 0 for seconds in rolled_out] == [True, False, True, False]
    assert all(row["time/update"] > 0 for row in it.journal.rows[1:])


@pytest.mark.parametrize("reference", ["start", "round"])
def test_a_run_stopped_in_the_middle_of_a_round_continues_as_if_it_had_not_been(reference):
    """Step 3 is the first of a round of two, so one step that is sampled but not used is in the checkpoint."""
    fields = {"round_steps": 2, "reference": reference}
    whole = run("iterative_dpo", steps=6, **fields)
    waiting = whole.journal.saved[3]["source"]["waiting"]
    assert len(waiting) == 1
    resumed = run("iterative_dpo", steps=6, load=whole, **fields)
    assert rows(resumed) == rows(whole)[4:]
    for key, value in whole.learner.policy.state_dict().items():
        assert torch.equal(value, resumed.learner.policy.state_dict()[key])


def test_a_reference_of_the_round_is_the_policy_that_the_round_begins_with():
    """In the first round that is the start policy, and later it is not."""
    fixed, reset = (rows(run("iterative_dpo", steps=4, round_steps=2, reference=name)) for name in ("start", "round"))
    kl = [[row.get("objective/kl") for row in run_rows[1:]] for run_rows in (fixed, reset)]
    assert kl[0][:2] == pytest.approx(kl[1][:2], abs=1e-12)
    assert all(abs(value) > 1e-3 for value in kl[0][2:]) and kl[1][2:] == [0.0, 0.0]


@pytest.mark.parametrize("name", ["sail_pp", "sail_pr", "sail_released"])
def test_sail_mixes_pairs_and_samples_in_the_share_that_it_names(name):
    it = loop(algorithm(name, share=0.25), dtype=torch.float64, prompts_per_step=8)
    assert isinstance(it.source, Mixture)
    rollout = it.source.collect(0, groups=it.groups).experience.rollout
    assert rollout.origin.tolist() == [0] * 6 + [1] * 2
    assert rollout.mask.shape[1] == 2


def test_sail_pp_never_reads_the_score_of_what_it_samples():
    """Its policy labels them; the scores of the same run with another reward change nothing but the log."""
    runs = [loop(algorithm("sail_pp", share=1.0), dtype=torch.float64, reward=CountWord(word)) for word in ("a", "bad")]
    for it in runs:
        it.run()
    first, second = (it.learner.policy.state_dict() for it in runs)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_ktos_reference_point_is_that_of_the_minibatch_by_plain_forward_passes():
    """Each prompt with a completion of another one, for the policy and the start policy, in micro-batches.

    With a reference of other weights it is above 0: the completions are the start policy's.
    """
    it = loop(algorithm("kto"), dtype=torch.float64, micro_batch=2, lr=1e-2)
    it.reference = model(seed=1, dtype=torch.float64)
    points = []
    for step in range(3):
        collected = it.source.collect(step, groups=it.groups)
        points.append((expected_point(it, collected.experience, step), it._learn(step, collected)))
    for expected, row in points:
        assert row["rewards/reference_point"] == pytest.approx(expected, abs=1e-9)
    assert max(expected for expected, _ in points) > 1e-3


@torch.no_grad()
def expected_point(it, experience, step):
    """By one forward pass a completion, without padding."""
    x = experience.take(permutation(len(experience.ids), "epoch", it.seed, step, 0))
    T, total = x.rollout.mask.shape[-1], 0.0
    prompts, completions = x.ids[:, 0, :-T], x.ids[:, 0, -T:]
    for row in range(len(x.ids)):
        before = (row - back for back in range(1, len(x.ids)))
        other = next((one for one in before if not torch.equal(prompts[one], prompts[row])), row - 1)
        mask = x.rollout.mask[other]
        ids = torch.cat([prompts[row, int(x.pad[row, 0]) :], completions[other]])[None]
        now, start = (
            each(ids, None, mask, temperature=it.learner.temperature) for each in (it.learner.policy, it.reference)
        )
        total += float(((now - start) * mask).sum())
    return max(0.0, total / len(x.ids))


def test_scores_and_kl_of_a_mixture_are_those_of_its_samples_alone():
    """The pairs of the set were scored, and sampled by the start policy, before training."""
    it = loop(algorithm("sail_pr", share=0.5), dtype=torch.float64)
    it.advance()
    collected = it.source.collect(1, groups=it.groups)
    x = collected.experience.rollout
    advantage, _ = it.algo.advantages(x, ())
    row = experience_metrics(collected, advantage)
    own = x.origin == 1
    assert 0 < int(own.sum()) < len(own)
    assert row["objective/scores"] == pytest.approx(float(x.score[own].mean()))
    kl = ((x.logp_old - x.logp_ref) * x.mask).sum(-1)
    assert row["objective/kl"] == pytest.approx(float(kl[own].mean())) and kl[~own].abs().max() < 1e-12
