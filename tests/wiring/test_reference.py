"""The reference stays the start policy, the newest policy samples, and all have the sampling temperature."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from align_lab.rollout.torch_sampler import TorchSampler
from tests.wiring.by_hand import Row, assert_logps, differ, entropy, logps, recorded_steps, rows_of
from tests.wiring.conftest import choice, names, needs_of
from tests.wiring.test_pairs import reordered

WITH_REFERENCE = names(lambda needs: needs.samples and needs.reference and not needs.pairs)
FAST = ("train.lr=0.03",)


def of_start(name):
    rounds = needs_of(name).rounds
    return rounds is None or rounds.reference == "start"


@pytest.mark.parametrize("name", [name for name in WITH_REFERENCE if of_start(name)])
def test_the_reference_is_the_start_policy_after_every_step(run, name):
    overrides, fields = choice(name)
    it = run(*overrides, *FAST, **fields)
    taken = recorded_steps(it, 3)
    for got, _ in taken:
        assert_logps(got.experience.rollout.logp_ref, got.experience, it.start.model, 0.7)
    got, before = taken[-1]
    assert differ(got.experience.rollout.logp_ref, got.experience, before, 0.7)
    assert differ(got.experience.rollout.logp_ref, got.experience, it.loop.learner.policy, 0.7)


@pytest.mark.parametrize("name", ["rloo", "ppo"])
def test_with_adapters_the_reference_is_the_policy_without_them(run, name):
    pytest.importorskip("peft")
    adapters = {"lora": {"rank": 2, "alpha": 8.0, "seed": 0}}
    it = run(f"algo={name}", "train.lr=0.1", model=adapters)
    plain = run(f"algo={name}").start.model
    taken = recorded_steps(it, 3)
    for got, _ in taken:
        assert_logps(got.experience.rollout.logp_ref, got.experience, plain, 0.7)
    got, before = taken[-1]
    assert differ(got.experience.rollout.logp_old, got.experience, plain, 0.7)
    assert_logps(got.experience.rollout.logp_old, got.experience, before, 0.7)
    assert all(".lora_" in key for key, p in it.loop.learner.policy.named_parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ["rloo", "ppo", "grpo"])
@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.6])
def test_every_log_probability_has_the_sampling_temperature(run, name, temperature):
    it = run(f"algo={name}", *FAST, f"sampling.temperature={temperature}")
    got, before = recorded_steps(it, 2)[-1]
    assert_logps(got.experience.rollout.logp_old, got.experience, before, temperature)
    assert_logps(got.experience.rollout.logp_ref, got.experience, it.start.model, temperature)
    now, _ = it.algo.calls[-1]
    assert_logps(now.logp, reordered(it, got.experience), before, temperature)


def test_human_text_has_temperature_one_whatever_the_sampling_temperature_is(run):
    it = run("algo=ppo_max", algo={"critic_init": "policy", "critic_pretrain_steps": 0})
    ((_, before),) = recorded_steps(it, 1)
    now, _ = it.algo.calls[0]
    batch = it.loop.pretrain(0)
    for i, (ids, mask) in enumerate(zip(batch.ids.tolist(), batch.mask, strict=True)):
        row = Row((i, 0), ids[:1], ids[1 : 1 + int(mask.sum())])
        assert now.logp_pretrain[i][mask].tolist() == pytest.approx(logps(before, row, 1.0).tolist(), abs=1e-9)
    assert now.tokens_pretrain == float(batch.mask.sum())


def test_entropy_has_the_sampling_temperature(run):
    it = run("algo=ppo_max", algo={"critic_init": "policy", "critic_pretrain_steps": 0, "entropy_coef": 0.01})
    ((got, before),) = recorded_steps(it, 1)
    now, _ = it.algo.calls[-1]
    for row in rows_of(reordered(it, got.experience)):
        assert float(now.entropy[row.place].detach().sum()) == pytest.approx(entropy(before, row, 0.7), abs=1e-9)


class Remembers:
    """The torch sampler, with the tokens that it has sampled: (prompt, completion) of every row."""

    exact = True

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def __call__(self, weights, prompts, pad, **options):
        samples = TorchSampler()(weights, prompts, pad, **options)
        pads = [0] * len(prompts) if pad is None else pad.tolist()
        for ids, own, tokens, mask in zip(prompts.tolist(), pads, samples.tokens, samples.mask, strict=True):
            self.rows.append(Row((0, 0), ids[own:], tokens[mask].tolist()))
        return samples

    def release_device(self) -> None:
        pass


@pytest.mark.parametrize("decoding", [{}, {"temperature": 0.0}, {"temperature": 1.4}])
def test_an_evaluation_measures_kl_and_entropy_at_the_temperature_of_training(run, decoding):
    it = run("algo=rloo", *FAST, evaluation=decoding)
    recorded_steps(it, 2)
    policy, start = it.loop.learner.policy, it.start
    remembers = Remembers()
    rows = dataclasses.replace(it.loop.evaluate, sampler=remembers)(it.loop.learner, step=2)
    for row, own in zip(rows, remembers.rows, strict=True):
        assert row["prompt"] == start.tokenizer.decode(own.prompt) and row["length"] == len(own.completion)
        kl = float((logps(policy, own, 0.7) - logps(start.model, own, 0.7)).sum())
        assert row["kl"] == pytest.approx(kl, abs=1e-8)
        assert row["entropy_sum"] == pytest.approx(entropy(policy, own, 0.7), abs=1e-8)
    assert any(abs(row["kl"]) > 1e-3 for row in rows)


def test_greedy_evaluation_takes_the_most_likely_token(run):
    it = run("algo=rloo", evaluation={"temperature": 0.0})
    start = it.start
    for row in it.loop.evaluate(it.loop.learner, step=0):
        ids = start.tokenizer.encode(row["prompt"]).ids
        for _ in range(row["length"]):
            ids.append(int((start.model.hidden(torch.tensor([ids]))[0, -1] @ start.model.head.t()).argmax()))
        written = ids[len(start.tokenizer.encode(row["prompt"]).ids) :]
        assert start.tokenizer.decode([i for i in written if i != start.eos]) == row["completion"]


def test_a_seed_moves_the_first_weights_of_the_adapters_where_the_start_policy_varies(run):
    pytest.importorskip("peft")

    def adapters(seed, *varied):
        lora = {"rank": 2, "alpha": 8.0, "seed": 0}
        it = run("algo=rloo", f"seed={seed}", f"vary=[{','.join(['rl', *varied])}]", model={"lora": lora})
        named = it.loop.learner.policy.named_parameters()
        return torch.cat([p.detach().flatten() for key, p in named if ".lora_A" in key])

    fixed = adapters(0)
    assert len(fixed) and torch.equal(adapters(3), fixed) and torch.equal(adapters(0, "policy"), fixed)
    assert not torch.equal(adapters(3, "policy"), fixed)
