"""Warm-up, decay, clipping, weight decay and the order of minibatches, measured on the weights themselves.

With β₁ = β₂ = 0 AdamW moves every weight by lr · sign(gradient), and with an ε far above all gradients by
lr · gradient / ε.
"""

from __future__ import annotations

import math

import pytest
import torch

from tests.wiring.by_hand import recorded_steps, rows_of
from tests.wiring.conftest import choice, names

SIGNS = ("train.beta1=0", "train.beta2=0", "train.adam_eps=1e-30")
EPS = 1e6
SLOPES = ("train.beta1=0", "train.beta2=0", f"train.adam_eps={EPS}")
HALF = math.sqrt(0.5)


def moves(it, steps, model="policy"):
    """The change of the weights in each step, as one vector."""
    parameters = list(getattr(it.loop.learner, model).parameters())

    def weights():
        return torch.cat([parameter.detach().flatten().clone() for parameter in parameters])

    it.loop.state = it.loop.algo.init_state()
    changes, rows = [], []
    for _ in range(steps):
        before = weights()
        rows.append(it.loop.advance())
        changes.append(weights() - before)
    return changes, rows


@pytest.mark.parametrize(
    ("decay", "factors"),
    [
        ("constant", [1 / 3, 2 / 3, 1, 1, 1, 1]),
        ("linear", [1 / 3, 2 / 3, 1, 3 / 4, 2 / 4, 1 / 4]),
        ("cosine", [1 / 3, 2 / 3, 1, (1 + HALF) / 2, 1 / 2, (1 - HALF) / 2]),
    ],
)
def test_every_weight_moves_by_the_learning_rate_after_warm_up_and_decay(run, decay, factors):
    it = run("algo=rloo", *SIGNS, "train.steps=6", "train.warmup_steps=2", f"train.decay={decay}", "train.lr=1e-4")
    changes, rows = moves(it, 6)
    assert [float(one.abs().max()) for one in changes] == pytest.approx([1e-4 * f for f in factors], rel=1e-6)
    assert [row["lr"] for row in rows] == pytest.approx([1e-4 * f for f in factors])


def test_a_policy_that_waits_for_its_critic_warms_up_later_and_decays_to_the_same_end(run):
    plan = ("train.steps=6", "train.warmup_steps=1", "train.decay=linear", "train.lr=1e-4", "train.critic_lr=1e-2")
    fields = {"critic_init": "policy", "critic_pretrain_steps": 2, "ptx_coef": 0.0}
    changes, rows = moves(run("algo=ppo_max", *SIGNS, *plan, algo=fields), 6)
    expected = [0, 0, 1 / 2, 1, 2 / 3, 1 / 3]
    assert [float(one.abs().max()) for one in changes] == pytest.approx([1e-4 * f for f in expected], rel=1e-6)
    assert [row["lr"] for row in rows] == pytest.approx([1e-4 * f for f in expected])
    heads, _ = moves(run("algo=ppo_max", *SIGNS, *plan, algo=fields), 6, "critic")
    assert [float(one.abs().max()) for one in heads] == pytest.approx(
        [1e-2 * f for f in (1 / 2, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5)], rel=1e-6
    )


@pytest.mark.parametrize("model", ["policy", "critic"])
def test_the_gradient_is_clipped_to_its_greatest_norm_for_each_model_by_itself(run, model):
    plan = (*SLOPES, "train.steps=2", "train.lr=1", "train.critic_lr=1", "algo=ppo")
    free, rows = moves(run(*plan, "train.max_grad_norm=.inf"), 1, model)
    norm = float(free[0].norm()) * EPS
    assert norm == pytest.approx(rows[0][f"optim/{model}_grad_norm"], rel=1e-3)
    (clipped,), rows = moves(run(*plan, f"train.max_grad_norm={norm / 4}"), 1, model)
    assert float(clipped.norm()) * EPS == pytest.approx(norm / 4, rel=1e-3)
    assert rows[0][f"optim/{model}_grad_norm"] == pytest.approx(norm, rel=1e-3)  # logged before clipping
    torch.testing.assert_close(4 * clipped, free[0], rtol=1e-3, atol=1e-12)
    (loose,), _ = moves(run(*plan, f"train.max_grad_norm={norm * 100}"), 1, model)
    torch.testing.assert_close(loose, free[0], rtol=1e-3, atol=1e-12)


def test_the_step_goes_down_the_gradient_of_the_loss(run):
    it = run("algo=rloo", *SLOPES, "train.lr=1", "train.max_grad_norm=.inf", algo={"kl_coef": 0.0})
    start = it.start.model
    ((got, _),) = recorded_steps(it, 1)
    score = got.experience.rollout.score.double()
    loss = torch.zeros((), dtype=torch.float64)
    for row in rows_of(got.experience):
        p, g = row.place
        others = (score[p].sum() - score[p, g]) / 3
        ids = torch.tensor([row.prompt + row.completion])
        states = start.hidden(ids)[0][len(row.prompt) - 1 : -1]
        logp = (states @ start.head.t() / 0.7).log_softmax(-1).gather(1, torch.tensor(row.completion)[:, None]).sum()
        loss = loss - (score[p, g] - others) * logp / 16
    loss.backward()
    moved = {name: value.detach() for name, value in it.loop.learner.policy.named_parameters()}
    for (name, own), before in zip(start.named_parameters(), it.start.model.parameters(), strict=True):
        torch.testing.assert_close((moved[name] - before) * -EPS, own.grad, rtol=1e-3, atol=1e-4)


def test_weight_decay_shrinks_matrices_alone(run):
    it = run(
        "algo=rloo", "train.beta1=0", "train.beta2=0", "train.adam_eps=1e30", "train.lr=0.1", algo={"kl_coef": 0.0}
    )
    plain = run("algo=rloo", "train.adam_eps=1e30", "train.lr=0.1", "train.weight_decay=0.5")
    for loop, factor in ((it.loop, 1.0), (plain.loop, 1 - 0.1 * 0.5)):
        before = {name: value.detach().clone() for name, value in loop.learner.policy.named_parameters()}
        loop.state = loop.algo.init_state()
        loop.advance()
        for name, value in loop.learner.policy.named_parameters():
            expected = before[name] * (factor if value.ndim == 2 else 1.0)
            torch.testing.assert_close(value.detach(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", names(lambda needs: not needs.single_update))
def test_every_group_is_used_once_an_epoch_in_another_order_with_the_counts_of_its_minibatch(run, name):
    plan = ("train.prompts_per_step=8", "train.epochs=3", "train.minibatches=2", "train.micro_batch=8")
    overrides, fields = choice(name)
    it = run(*overrides, *plan, **fields)
    ((got, _),) = recorded_steps(it, 1)
    rollout = got.experience.rollout
    group = rollout.mask.shape[1]
    total, per_call = len(rollout.mask), max(1, 8 // group)
    used, minibatches = [], []
    for _, x in it.algo.calls:
        used += [place(own, rollout.logp_old) for own in x.logp_old]
        minibatches.append((x.tokens, x.sequences))
        assert len(x.mask) <= per_call
    epochs = [used[i : i + total] for i in range(0, len(used), total)]
    assert len(epochs) == 3
    for epoch in epochs:
        assert sorted(epoch) == sorted(place(own, rollout.logp_old) for own in rollout.logp_old)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    counts = rollout.mask.sum((1, 2)).tolist()
    expected = [
        (float(sum(counts[i] for i in part)), float(len(part) * group))
        for epoch in epochs
        for part in torch.tensor(epoch).chunk(2)
        for _ in range(-(-len(part) // per_call))
    ]
    assert minibatches == expected


def place(own, among):
    """The index of a group, or of the first one that is equal to it; it has the columns of its micro-batch alone."""
    T = own.shape[-1]
    return next(i for i, other in enumerate(among) if torch.equal(own, other[..., :T]) and not other[..., T:].any())


def test_the_baseline_of_reinforce_is_the_mean_reward_of_all_earlier_steps_and_is_saved(run):
    it = run("algo=reinforce", "train.steps=3")
    it.loop.run()
    earlier: list[float] = []
    for (_, x), rollout in zip(it.algo.calls, it.algo.rollouts, strict=True):
        kl = ((rollout.logp_old - rollout.logp_ref) * rollout.mask).sum(-1)
        R = rollout.score - 0.05 * kl
        expected = R - (sum(earlier) / len(earlier) if earlier else 0.0)
        own = x.advantage.sum(-1) / x.mask.sum(-1)
        assert sorted(own.flatten().tolist()) == pytest.approx(sorted(expected.flatten().tolist()), abs=1e-6)
        earlier += R.flatten().tolist()
    state = it.loop.journal.saved[3]["algo"]
    assert float(state["mean"]) == pytest.approx(sum(earlier) / len(earlier)) and float(state["count"]) == len(earlier)


def test_a_state_advances_once_a_step_and_a_resumed_run_continues_it(run):
    it = run("algo=rloo", "train.epochs=1", algo={"name": "asks"})
    it.loop.run()
    assert [it.loop.journal.saved[step]["algo"] for step in range(4)] == [(0,), (1,), (2,), (3,)]
    again = run("algo=rloo", "train.epochs=1", algo={"name": "asks"})
    again.loop.load_state_dict(it.loop.journal.saved[2])
    assert again.loop.state == (2,) and again.loop.progress.step == 2 and again.loop.source.drawn == 8


def test_an_entropy_target_between_the_entropies_of_micro_batches_is_that_of_the_whole_minibatch(run):
    fields = {"critic_init": "policy", "critic_pretrain_steps": 0, "ptx_coef": 0.0, "entropy_coef": 5.0}
    probe = run("algo=ppo_max", algo=fields)
    recorded_steps(probe, 1)
    now, x = probe.algo.calls[-1]
    means = [float((own * mask).sum() / mask.sum()) for own, mask in zip(now.entropy.detach(), x.mask, strict=True)]
    mean = float((now.entropy.detach() * x.mask).sum() / x.mask.sum())
    fields |= {"entropy_target": mean - 0.02}
    assert min(means) < fields["entropy_target"] < max(means)  # groups lie on both sides
    weights = []
    for plan in ((), ("train.micro_batch=4",)):
        it = run("algo=ppo_max", "train.beta1=0", "train.adam_eps=1", *plan, algo=fields)
        recorded_steps(it, 1)
        weights.append(torch.cat([p.detach().flatten() for p in it.loop.learner.policy.parameters()]))
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=1e-12)
    assert len(it.algo.calls) == 4


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_the_loss_gets_of_every_group_its_own_values_and_those_of_the_reference(run, name):
    it = run(f"algo={name}", "train.minibatches=2", "train.lr=0.03")
    recorded_steps(it, 2)
    rollout = it.algo.rollouts[-1]
    with torch.no_grad():
        advantage, _ = it.algo.algo.advantages(rollout, it.algo.init_state())
    assert float((rollout.logp_ref - rollout.logp_old).abs().max()) > 1e-3
    expected = {
        "logp_ref": rollout.logp_ref, "mask": rollout.mask, "value": rollout.value,
        "advantage": advantage.advantage, "returns": advantage.returns,
    }  # fmt: skip
    for _, x in it.algo.calls[-2:]:
        assert x.longest == 6  # sampling.max_new_tokens, however long the completions are
        places = [place(own, rollout.logp_old) for own in x.logp_old]
        for field, values in expected.items():
            own = getattr(x, field)
            assert (own is None) == (values is None)
            assert values is None or torch.equal(own, values[places][..., : own.shape[-1]]), field
        assert not rollout.mask[places][..., x.mask.shape[-1] :].any()


def test_every_step_has_the_human_text_that_belongs_to_it(run):
    it, asked = run("algo=ppo_max", algo={"critic_init": "policy", "critic_pretrain_steps": 0}), []
    given = it.loop.pretrain
    it.loop.pretrain = lambda step: asked.append(step) or given(step)
    recorded_steps(it, 3)
    assert asked == [0, 1, 2]
    for step, (now, _) in enumerate(it.algo.calls):
        batch = given(step)
        assert torch.equal(now.mask_pretrain, batch.mask) and now.tokens_pretrain == float(batch.mask.sum())


def test_the_human_text_counts_once_in_a_minibatch_however_many_micro_batches_it_has(run):
    fields = {"critic_init": "policy", "critic_pretrain_steps": 0}
    it = run("algo=ppo_max", "train.micro_batch=4", "train.minibatches=2", algo=fields)
    recorded_steps(it, 1)
    assert [now.logp_pretrain is not None for now, _ in it.algo.calls] == [True, False] * 2


def test_the_metrics_of_a_step_are_means_over_its_updates(run):
    it, outputs = run("algo=rloo", "train.epochs=2", "train.minibatches=2", algo={"name": "asks"}), []
    loss = it.algo.loss
    it.algo.loss = lambda now, x: outputs.append(loss(now, x)) or outputs[-1]
    it.loop.state = it.loop.algo.init_state()
    row = it.loop.advance()
    losses = [float(one.loss.detach()) for one in outputs]
    assert len(losses) == 4 and len(set(losses)) == 4
    assert row["loss/policy_avg"] == pytest.approx(sum(losses) / 4)
