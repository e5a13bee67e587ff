"""Sampling with another engine: the trainer's own log-probabilities, the logged mismatch, and its correction."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from align_lab import equations as eq
from align_lab.base import registry
from align_lab.base.errors import SamplerError
from align_lab.base.types import Batch, PolicyOutput, Rollout
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.train.mixture import Mixture
from align_lab.train.rounds import Rounds
from tests.train.small import algorithm, loop

registry.scan()
ROLLOUTS = [name for name in registry.names("algo") if algorithm(name).needs.samples]
NO_EXPECTATION = ("online_dpo", "iterative_dpo", "raft")  # their losses are right for completions of any policy


class Rounding(TorchSampler):
    """The torch sampler with a fixed error in the log-probabilities it reports, like an engine of low precision."""

    exact = False
    gap = 0.3

    def __call__(self, *args, **kwargs):
        samples = super().__call__(*args, **kwargs)
        noise = self.gap * torch.sin(torch.arange(samples.logp.numel())).view_as(samples.logp)
        return replace(samples, logp=(samples.logp + noise) * samples.mask)

    def begin(self, *args, **kwargs):
        return replace(super().begin(*args, **kwargs), sync_seconds=0.25)


def with_engine(name, sampler, *, cap=None, **plan):
    fields = {"ppo_max": {"critic_init": "policy", "critic_pretrain_steps": 0}}.get(name, {})
    it = loop(algorithm(name, **fields), dtype=torch.float64, steps=1, **plan)
    it.source = with_sampler(it.source, sampler)
    it.importance_cap = cap
    return it


def with_sampler(source, sampler):
    """The same source of experience, whose completions another sampler draws."""
    if isinstance(source, Rounds):
        return replace(source, source=with_sampler(source.source, sampler))
    if isinstance(source, Mixture):
        return replace(source, rollouts=with_sampler(source.rollouts, sampler))
    return replace(source, sampler=sampler)


def weights_after(it):
    it.run()
    return torch.cat([p.flatten() for p in it.learner.policy.parameters()]), it.journal.rows[-1]


@pytest.mark.parametrize("name", ROLLOUTS)
def test_without_correction_the_samplers_log_probabilities_change_nothing(name):
    """The ratio of the update, the KL and the entropies use the trainer's log-probabilities."""
    plain, expected = weights_after(with_engine(name, TorchSampler()))
    other, row = weights_after(with_engine(name, Rounding()))
    torch.testing.assert_close(other, plain, rtol=1e-9, atol=1e-12)
    for key in ("objective/kl", "objective/entropy", "policy/approxkl_avg", "val/ratio"):
        assert row.get(key) == pytest.approx(expected.get(key), abs=1e-9)


@pytest.mark.parametrize("name", ROLLOUTS)
def test_the_correction_of_a_sampler_without_error_changes_nothing(name):
    exact = Rounding()
    exact.gap = 0.0
    plain, _ = weights_after(with_engine(name, TorchSampler()))
    other, row = weights_after(with_engine(name, exact, cap=2.0))
    torch.testing.assert_close(other, plain, rtol=1e-7, atol=1e-10)
    if not algorithm(name).needs.pairs:  # pairs of a set have no sampler's log-probabilities
        assert row["sampling/kl"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in ROLLOUTS if not algorithm(name).needs.pairs])
def test_the_correction_multiplies_each_tokens_advantage_by_its_capped_importance_weight(name):
    """The expected weight is computed here from the rollout alone."""
    it = with_engine(name, Rounding(), cap=1.1)
    rollout = it.source.collect(0, groups=4).experience.rollout
    advantage, _ = it.algo.advantages(rollout, it.algo.init_state())
    weighted = it._importance_weighted(advantage, rollout).advantage
    ratio = torch.exp(rollout.logp_old - rollout.logp_sampler)
    assert ratio[rollout.mask].max() > 1.1 > ratio[rollout.mask].min()
    weight = torch.ones_like(ratio) if name in NO_EXPECTATION else torch.clamp(ratio, max=1.1)
    expected = advantage.advantage * weight
    torch.testing.assert_close(weighted[rollout.mask], expected[rollout.mask])
    assert not weighted[~rollout.mask].any()


def test_the_mismatch_is_logged_under_the_names_of_trl():
    _, row = weights_after(with_engine("rloo", Rounding()))
    ratio = "sampling/importance_sampling_ratio"
    assert row[f"{ratio}/min"] < row[f"{ratio}/mean"] < row[f"{ratio}/max"] <= torch.tensor(0.3).exp() + 1e-6
    assert (
        0.1 < row["sampling/sampling_logp_difference/mean"] < row["sampling/sampling_logp_difference/max"] <= 0.3 + 1e-9
    )
    assert row["sampling/kl"] > 0 and row["time/sync"] == 0.25
    _, plain = weights_after(with_engine("rloo", TorchSampler()))
    assert not [key for key in plain if key.startswith("sampling/") or key == "time/sync"]


def test_importance_weights_and_sampling_metrics_equal_values_computed_by_hand():
    logp, sampler = torch.tensor([[[-1.0, -2.0, -3.0]]]), torch.tensor([[[-1.5, -2.0, -9.0]]])
    x = Rollout(
        mask=torch.tensor([[[True, True, False]]]), score=torch.zeros(1, 1), logp_old=logp, logp_sampler=sampler
    )
    assert eq.importance_weight(x, 1.2).flatten().tolist() == pytest.approx([1.2, 1.0, 1.0])
    assert eq.importance_weight(x, 9.0).flatten().tolist() == pytest.approx([1.6487213, 1.0, 1.0])
    metrics = {name.split("/", 1)[1]: float(value) for name, value in eq.sampling_metrics(x).items()}
    assert metrics["importance_sampling_ratio/mean"] == pytest.approx((1.6487213 + 1) / 2)
    assert metrics["importance_sampling_ratio/min"] == 1.0
    assert metrics["sampling_logp_difference/mean"] == pytest.approx(0.25)
    assert metrics["kl"] == pytest.approx((1.6487213 - 1 - 0.5) / 2)


def test_when_the_sampler_dies_the_run_saves_and_resumes_exactly():
    class Dying(TorchSampler):
        calls = 0

        def __call__(self, *args, **kwargs):
            self.calls += 1
            if self.calls == 3:
                raise SamplerError("gone")
            return super().__call__(*args, **kwargs)

    it = loop(algorithm("rloo"), steps=5)
    it.save_every = 100
    it.source = replace(it.source, sampler=Dying())
    with pytest.raises(SamplerError):
        it.run()
    assert sorted(it.journal.saved) == [0, 2] and [row["step"] for row in it.journal.rows] == [0, 1, 2]
    resumed = loop(algorithm("rloo"), steps=5)
    resumed.load_state_dict(it.journal.saved[2])
    resumed.start_rows = [row for row in it.journal.samples if row["step"] == 0]
    resumed.run()
    whole = loop(algorithm("rloo"), steps=5)
    whole.run()
    assert {k: v for k, v in resumed.journal.rows[-1].items() if not k.startswith("time/")} == {
        k: v for k, v in whole.journal.rows[-1].items() if not k.startswith("time/")
    }


@pytest.mark.parametrize("name", [name for name in ROLLOUTS if algorithm(name).needs.on_policy])
def test_a_loss_that_is_corrected_is_linear_in_the_advantage(name):
    """Only then may the importance weight multiply the advantage: three times the advantage is three times the loss."""
    it = with_engine(name, Rounding())
    x = it.source.collect(0, groups=4).experience.rollout
    advantage, _ = it.algo.advantages(x, it.algo.init_state())
    moved = x.logp_old + 0.1 * torch.cos(torch.arange(x.logp_old.numel())).view_as(x.logp_old)
    now = PolicyOutput(logp=moved, value=x.value, entropy=torch.ones_like(moved) if it.algo.needs.entropy else None)

    def loss(factor):
        batch = Batch(
            mask=x.mask,
            logp_old=x.logp_old,
            advantage=factor * advantage.advantage,
            tokens=float(x.mask.sum()),
            sequences=float(x.mask[..., 0].numel()),
            logp_ref=x.logp_ref,
            value=x.value,
            returns=advantage.returns,
            longest=x.longest,
        )
        if it.algo.needs.statistics:
            batch = replace(batch, statistics=it.algo.statistics(now, batch))
        return float(it.algo.loss(now, batch).metrics["loss/policy_avg"])

    assert loss(3.0) == pytest.approx(3 * loss(1.0), rel=1e-9) and loss(1.0) != 0
