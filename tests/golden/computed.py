"""The golden values as this package computes them, by an algorithm where one covers the case, else by its equation.

Each function takes the folder and the numbers in the case's key; it returns the fields of the case, or its value.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from math import inf
from typing import Any

import torch
from torch import Tensor

from align_lab import equations as eq
from align_lab.algos.dpo import DPO
from align_lab.algos.grpo import GRPO
from align_lab.algos.online_dpo import OnlineDPO
from align_lab.algos.ppo import PPO
from align_lab.algos.ppo_max import PPOMax
from align_lab.algos.reinforce import Reinforce
from align_lab.algos.reinforce_pp import ReinforcePP
from align_lab.algos.rloo import RLOO
from align_lab.base.contracts import Algorithm
from align_lab.base.types import Advantage, Batch, PolicyOutput, Rollout

from .folder import Folder

Fields = Mapping[str, Any]


def advantages(algo: Algorithm, x: Rollout) -> Advantage:
    return algo.advantages(x, algo.init_state())[0]


def per_sequence(x: Tensor, mask: Tensor) -> Tensor:
    """The value that all counted tokens of a sequence share: [P G T] -> [P G]."""
    return eq.masked_sum(x, mask) / mask.sum(-1).clamp(min=1)


# ---- rewards, returns, advantages ----


def token_rewards(g: Folder) -> Fields:
    reward = eq.token_reward(g.rollout(), g.score, g.file("token_rewards")["inputs"]["kl_coef"])
    return {"token_reward": reward, "seq_sum": eq.masked_sum(reward, g.mask)}


def clipped_rewards(g: Folder) -> Fields:
    file = g.file("token_rewards")
    score = g.rows(file["clipped_example"]["scores"]).clamp(*file["clipped_example"]["clip"])
    return {"token_reward": eq.token_reward(g.rollout(), score, file["inputs"]["kl_coef"])}


def gae(g: Folder, gamma: float, lam: float) -> Fields:
    inputs = g.file("gae")["inputs"]
    value = g.refer(inputs["values"])
    advantage = eq.gae(g.refer(inputs["token_reward"]), value, g.mask, gamma=gamma, lam=lam)
    return {"advantages": advantage, "returns": advantage + value}


def ppo_max_gae(g: Folder, gamma: float, lam: float) -> Fields:
    """PPO-max without normalization of score and advantage is plain GAE."""
    kl_coef = g.file("token_rewards")["inputs"]["kl_coef"]
    algo = PPOMax(kl_coef=kl_coef, gamma=gamma, lam=lam, score_norm="none", score_clip=inf)
    result = advantages(algo, g.rollout())
    return {"advantages": result.advantage, "returns": result.returns}


def ppo_gae(g: Folder, lam: float, gamma: float = 1.0, eps: float | None = None) -> Fields:
    """Returns before whitening, advantages after; the whitened case states no gamma, which is 1."""
    assert eps in (None, 1e-8), "PPO whitens with 1e-8"
    kl_coef = g.file("token_rewards")["inputs"]["kl_coef"]
    result = advantages(PPO(kl_coef=kl_coef, gamma=gamma, lam=lam), g.rollout())
    return {"advantages": result.advantage, "returns": result.returns}


def _to_whiten(g: Folder) -> Tensor:
    return g.refer(g.file("advantage_whitening")["inputs"])


def moments(g: Folder) -> Fields:
    whole = eq.update_moments(eq.initial_moments(), _to_whiten(g)[g.mask])
    return {"mean": whole["mean"], "biased_var": whole["m2"] / whole["count"]}


def whiten_moss(g: Folder, eps: float) -> Fields:
    return {"adv": eq.whiten(_to_whiten(g), g.mask, correction=0, eps=eps)}


def whiten_openrlhf(g: Folder, floor: float) -> Fields:
    return {"adv": eq.whiten(_to_whiten(g), g.mask, correction=0, floor=floor)}


def whiten_trl(g: Folder, eps: float) -> Fields:
    return {"adv": eq.whiten(_to_whiten(g), g.mask, correction=1, eps=eps)}


def clip_moss(g: Folder, eps: float, clip: float) -> Tensor:
    assert eps == 1e-6, "PPO-max whitens with 1e-6"
    return PPOMax(advantage_norm="batch", advantage_clip=clip).shape_advantage(_to_whiten(g), g.mask)


# ---- PPO's losses ----


def ratio(g: Folder) -> Tensor:
    """With A = -1 and no clip, the surrogate is the ratio itself."""
    surrogate = eq.clipped_surrogate(g.new_logp, g.old_logp, -torch.ones(()), g.mask, clip=inf)
    return eq.masked(surrogate.loss, g.mask)


def _policy_loss(g: Folder, algo: PPO | ReinforcePP | GRPO) -> Fields:
    batch = g.batch(g.refer(g.file("ppo_policy_loss")["inputs"]["advantages"]))
    out, grad = g.update(algo, batch)
    approx_kl = eq.masked_mean(eq.k1(batch.logp_old, g.new_logp), batch.mask, over=batch.tokens)
    return {
        "loss": out.metrics["loss/policy_avg"],
        "clip_frac": out.metrics["policy/clipfrac_avg"],
        "grad": grad,
        "approx_kl": approx_kl,
    }


def ppo_policy(g: Folder) -> Fields:
    return _policy_loss(g, PPO(clip=g.file("ppo_policy_loss")["inputs"]["eps"]))


def reinforce_pp_policy(g: Folder) -> Fields:
    return _policy_loss(g, ReinforcePP(clip=g.file("ppo_policy_loss")["inputs"]["eps"]))


def grpo_policy(g: Folder) -> Fields:
    return _policy_loss(g, GRPO(kl_coef=0, clip=g.file("ppo_policy_loss")["inputs"]["eps"]))


def clip_probe(g: Folder) -> Tensor:
    """One token, whose advantage and ratio the note states: 'A=-1, ratio=e^2'."""
    file = g.file("ppo_policy_loss")
    A, power = re.search(r"A=(-?[\d.]+), ratio=e\^(-?[\d.]+)", file["dual_clip_probe"]["note"]).groups()
    token = torch.ones(1, dtype=torch.float64)
    return eq.clipped_surrogate(
        token * float(power), token * 0, token * float(A), token.bool(), clip=file["inputs"]["eps"]
    ).loss


def value_loss(g: Folder) -> Fields:
    inputs = g.file("value_loss")["inputs"]
    batch = g.batch(torch.zeros_like(g.old_logp), g.refer(inputs["returns"]))
    clipped, free = (g.update(PPO(value_clip=clip), batch)[0].metrics for clip in (inputs["clip"], inf))
    return {
        "loss_clipped": clipped["loss/value_avg"],
        "loss_unclipped": free["loss/value_avg"],
        "clip_frac": clipped["val/clipfrac_avg"],
    }


def _moss_loss(g: Folder, entropy: Tensor | None = None, **flags: Any) -> Tensor:
    inputs = g.file("moss_ppo_total_loss")["inputs"]
    stated = {"clip": inputs["pg_clip"], "value_clip": inputs["value_clip"], "vf_coef": inputs["vf_loss_weight"]}
    algo = PPOMax(**(stated | flags))
    batch = g.batch(algo.shape_advantage(g.refer(inputs["advantages"]), g.mask), g.refer(inputs["returns"]))
    return g.update(algo, batch, entropy)[0].loss


def moss_loss(g: Folder) -> Fields:
    inputs = g.file("moss_ppo_total_loss")["inputs"]
    others = int(re.match(r"(\d+)-token", inputs["vocab"]).group(1)) - 1  # tokens that share the remaining probability
    p = g.new_logp.exp()
    entropy = -p * p.log() - torch.special.xlogy(1 - p, (1 - p) / others)
    weight, target = inputs.get("entropy_weight", 0.01), inputs.get("entropy_clip", 0.5)  # the file states neither
    return {
        "shipping_flags": _moss_loss(g),
        "plus_adv_norm": _moss_loss(g, advantage_norm="batch"),
        "no_clips": _moss_loss(g, clip=inf, value_clip=inf),
        "entropy": _moss_loss(g, entropy, entropy_coef=weight, entropy_target=target),
    }


def moss_clip(g: Folder, clip: float) -> Tensor:
    return _moss_loss(g, advantage_norm="batch", advantage_clip=clip)


# ---- running moments and baselines ----


def _batches(g: Folder, step: float) -> list[Tensor]:
    """Scores of the steps up to this one, [P G=1] each."""
    steps = g.file("ppo_max_reward_norm")["steps"][: int(step) + 1]
    return [torch.tensor(s["batch"], dtype=torch.float64).unsqueeze(-1) for s in steps]


def _one_token(score: Tensor) -> Rollout:
    """[P G] -> completions of one token, with a KL of 0 and a critic whose values are 0."""
    zeros = torch.zeros_like(score).unsqueeze(-1)
    return Rollout(mask=zeros == 0, score=score, logp_old=zeros, logp_ref=zeros, value=zeros)


def _shaped_score(g: Folder, step: float, **fields: Any) -> Tensor:
    """The advantage of a completion of one token, without critic or KL, is its shaped score."""
    algo = PPOMax(**fields)
    state, result = algo.init_state(), None
    for score in _batches(g, step):
        result, state = algo.advantages(_one_token(score), state)
    return result.advantage


def shaped_scores(g: Folder, step: float) -> Fields:
    return {
        "scaled": _shaped_score(g, step, score_norm="scale", score_clip=inf),
        "normalised": _shaped_score(g, step, score_norm="standardize", score_clip=inf),
    }


def clipped_scores(g: Folder, step: float, clip: float) -> Tensor:
    return _shaped_score(g, step, score_norm="standardize", score_clip=clip)


def running_moments(g: Folder, step: float) -> Fields:
    running = eq.initial_moments()
    for batch in _batches(g, step):
        running, own = eq.update_moments(running, batch), eq.update_moments(eq.initial_moments(), batch)
    return {
        "batch_mean": own["mean"],
        "batch_std": eq.running_std(own),
        "running_mean": running["mean"],
        "running_var_biased": running["m2"] / running["count"],
        "running_std_unbiased": eq.running_std(running),
        "count": running["count"],
    }


def reinforce(g: Folder, step: float) -> Fields:
    algo = Reinforce(kl_coef=0)
    baseline, state, result = None, algo.init_state(), None
    for inputs in g.file("reinforce")["steps"][: int(step) + 1]:
        baseline = state["mean"]
        result, state = algo.advantages(_one_token(g.grouped(1).rows(inputs["R"])), state)
    return {"baseline_before": baseline, "advantage": result.advantage, "baseline_after": state["mean"]}


def reinforce_third(g: Folder) -> Fields:
    algo = Reinforce(kl_coef=0)
    advantage = eq.spread(reinforce(g, 2)["advantage"].view(g.mask.shape[:2]), g.mask)
    out, grad = g.update(algo, g.batch(advantage))
    return {"third_step_loss": out.loss, "third_step_grad": grad}


# ---- RLOO and REINFORCE++ ----


def rloo(g: Folder) -> Fields:
    inputs = g.file("rloo")["inputs"]
    g = g.grouped(inputs["k"])
    result = advantages(RLOO(kl_coef=inputs["beta"]), g.rollout())
    return {
        "seq_kl_k1": eq.masked_sum(eq.k1(g.old_logp, g.ref_logp), g.mask),
        "R": g.score + eq.kl_penalty(g.rollout(), inputs["beta"]),
        "paper_advantage_seq": per_sequence(result.advantage, g.mask),
    }


def rloo_example(g: Folder, k: float) -> Fields:
    """The key's number is the group's size, which the list of scores states as well."""
    case = g.file("rloo")[f"k{k:g}_example"]
    score = torch.tensor([case["scores"]], dtype=torch.float64)
    return {"advantages": advantages(RLOO(kl_coef=case["beta"]), _one_token(score)).advantage}


def rloo_of_scores(g: Folder, k: float) -> Tensor:
    score = torch.tensor([g.file("grpo")["advantage"][f"k{k:g}_scores"]], dtype=torch.float64)
    return advantages(RLOO(kl_coef=0), _one_token(score)).advantage


def rloo_loss(g: Folder) -> Fields:
    advantage = eq.spread(g.refer(g.file("rloo_loss")["inputs"]["advantages"]), g.mask)
    out, grad = g.update(RLOO(), g.batch(advantage))
    return {"loss": out.loss, "grad": grad}


def _reinforce_pp(g: Folder, gamma: float = 1.0) -> ReinforcePP:
    inputs = g.file("reinforce_pp")["inputs"]
    return ReinforcePP(kl_coef=inputs["kl_coef"], clip=inputs["eps"], gamma=gamma, score_clip=inf)


def reinforce_pp(g: Folder) -> Fields:
    algo = _reinforce_pp(g)
    advantage = advantages(algo, g.rollout()).advantage
    out, grad = g.update(algo, g.batch(advantage))
    return {"advantage_openrlhf": advantage, "policy_loss": out.loss, "policy_grad": grad}


def reinforce_pp_gamma(g: Folder, gamma: float) -> Tensor:
    return advantages(_reinforce_pp(g, gamma), g.rollout()).advantage


def reinforce_pp_return(g: Folder, gamma: float) -> Tensor:
    reward = eq.token_reward(g.rollout(), g.score, _reinforce_pp(g).kl_coef)
    return eq.reward_to_go(reward, g.mask, gamma=gamma)


def reinforce_pp_verl(g: Folder) -> Tensor:
    """verl whitens with the unbiased variance + 1e-8."""
    return eq.whiten(reinforce_pp_return(g, 1.0), g.mask, correction=1, eps=1e-8)


# ---- GRPO ----


def grpo_advantage(g: Folder, eps: float) -> Tensor:
    g = g.grouped(g.file("grpo")["inputs"]["k"])
    return per_sequence(advantages(GRPO(std_eps=eps), g.rollout()).advantage, g.mask)


def _grpo_of(scores: list[float], eps: float) -> Tensor:
    score = torch.tensor([scores], dtype=torch.float64)
    return advantages(GRPO(std_eps=eps), _one_token(score)).advantage


def grpo_of_scores(g: Folder, k: float) -> Tensor:
    """The case adds nothing to the standard deviation."""
    return _grpo_of(g.file("grpo")["advantage"][f"k{k:g}_scores"], eps=1e-12)


def grpo_of_equal_scores(g: Folder) -> Fields:
    return {"adv": _grpo_of(g.file("grpo")["zero_std_group"]["scores"], eps=1e-4)}


def grpo_loss(g: Folder, beta: float) -> Fields:
    """TRL adds 1e-4 to the standard deviation."""
    file = g.file("grpo")
    g = g.grouped(file["inputs"]["k"])
    algo = GRPO(kl_coef=beta, clip=file["trl_losses"]["eps"], std_eps=1e-4)
    out, grad = g.update(algo, g.batch(advantages(algo, g.rollout()).advantage))
    return {"loss": out.loss, "grad": grad}


# ---- pairs ----


def _pairs(g: Folder) -> tuple[Tensor, Batch, float]:
    """Each completion's total log-probability, divided evenly over its tokens: (logp [P 2 T], batch, beta)."""
    inputs = g.file("preference_losses")["inputs"]
    length, policy, ref = (
        torch.tensor([inputs[f"{name}_chosen"], inputs[f"{name}_rejected"]], dtype=torch.float64).T
        for name in ("len", "policy", "ref")
    )
    mask = torch.arange(int(length.max())) < length.unsqueeze(-1)
    logp, logp_ref = (eq.spread(total / length, mask) for total in (policy, ref))
    batch = Batch(
        mask=mask,
        logp_old=logp,
        logp_ref=logp_ref,
        advantage=torch.zeros_like(logp),
        tokens=float(mask.sum()),
        sequences=float(length.numel()),
    )
    return logp, batch, inputs["beta"]


def _preference_loss(algo: DPO | OnlineDPO, logp: Tensor, batch: Batch) -> tuple[Fields, Fields]:
    score = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(len(logp), 2)
    x = Rollout(mask=batch.mask, score=score, logp_old=logp, logp_ref=batch.logp_ref)
    labeled = Batch(**(vars(batch) | {"advantage": advantages(algo, x).advantage}))
    logp = logp.clone().requires_grad_()
    out = algo.loss(PolicyOutput(logp=logp), labeled)
    chosen, rejected = per_sequence(torch.autograd.grad(out.loss, logp)[0], labeled.mask).unbind(-1)
    return {"loss": out.loss, "grad_chosen": chosen, "grad_rejected": rejected}, out.metrics


def dpo(g: Folder) -> Fields:
    logp, batch, beta = _pairs(g)
    result, _ = _preference_loss(DPO(beta=beta), logp, batch)
    single = []
    for row in range(len(logp)):  # a minibatch of one pair
        one = {key: value[row : row + 1] if isinstance(value, Tensor) else value for key, value in vars(batch).items()}
        single.append(_preference_loss(DPO(beta=beta), logp[row : row + 1], Batch(**(one | {"sequences": 2.0}))))
    return {
        **result,
        "per_pair": torch.stack([loss["loss"] for loss, _ in single]),
        "implicit_reward_chosen": torch.stack([metrics["rewards/chosen"] for _, metrics in single]),
        "implicit_reward_rejected": torch.stack([metrics["rewards/rejected"] for _, metrics in single]),
    }


def online_dpo(g: Folder) -> Fields:
    logp, batch, beta = _pairs(g)
    return _preference_loss(OnlineDPO(beta=beta), logp, batch)[0]


def cdpo(g: Folder, eps: float) -> Fields:
    logp, batch, beta = _pairs(g)
    return _preference_loss(DPO(beta=beta, label_smoothing=eps), logp, batch)[0]


def bradley_terry(g: Folder) -> Fields:
    inputs = g.file("reward_model")["inputs"]
    chosen, rejected, margin = (
        torch.tensor(inputs[name], dtype=torch.float64, requires_grad=name != "margin")
        for name in ("chosen", "rejected", "margin")
    )
    loss = eq.bradley_terry(chosen, rejected).mean()
    grad_chosen, grad_rejected = torch.autograd.grad(loss, (chosen, rejected))
    return {
        "loss": loss,
        "logexp_loss": loss,
        "grad_chosen": grad_chosen,
        "grad_rejected": grad_rejected,
        "loss_with_margin": eq.bradley_terry(chosen, rejected, margin=margin).mean(),
    }


# ---- estimators, by exact enumeration ----


def _k(n: float) -> Any:
    return {1: eq.k1, 2: eq.k2, 3: eq.k3}[int(n)]


def kl_estimator(g: Folder, n: float) -> Fields:
    logp, mask = g.new_logp.requires_grad_(), g.mask
    value = eq.masked(_k(n)(logp, g.ref_logp), mask)
    total = eq.masked_sum(value, mask)
    return {
        "value": value,
        "grad_wrt_logp": torch.autograd.grad(total.sum(), logp, retain_graph=True)[0],
        "seq_sum": total,
        "token_mean": eq.masked_mean(value, mask, over=float(mask.sum())),
    }


def _demo(g: Folder) -> tuple[Tensor, Tensor, Tensor]:
    """(theta, log π, log ref) over the vocabulary; π depends on theta."""
    demo = g.file("kl_estimators")["expectation_demo"]
    theta = torch.tensor(demo["theta"], dtype=torch.float64, requires_grad=True)
    return theta, theta.log_softmax(-1), torch.tensor(demo["ref_logits"], dtype=torch.float64).log_softmax(-1)


def expected_kl(g: Folder, n: float) -> Tensor:
    _, logp, ref = _demo(g)
    return (logp.exp() * _k(n)(logp, ref)).sum()


def kl_as_loss(g: Folder, n: float) -> Tensor:
    """E[∇ k], with the sampling distribution fixed."""
    theta, logp, ref = _demo(g)
    return torch.autograd.grad((logp.detach().exp() * _k(n)(logp, ref)).sum(), theta)[0]


def kl_in_reward(g: Folder, n: float) -> Tensor:
    """E[k ∇ log π], with k detached."""
    theta, logp, ref = _demo(g)
    return torch.autograd.grad((logp.detach().exp() * _k(n)(logp, ref).detach() * logp).sum(), theta)[0]


def _group_gradients(g: Folder, algo: Algorithm) -> tuple[Tensor, Tensor]:
    """Over all V^k groups of one-token completions: their probability [N] and the gradient in theta [N V]."""
    file = g.file("estimator_bias")
    policy = torch.tensor(file["theta"], dtype=torch.float64).softmax(-1)
    arms = torch.tensor(list(itertools.product(range(len(policy)), repeat=file["k"])))  # [N k]
    x = _one_token(torch.tensor(file["rewards"], dtype=torch.float64)[arms])
    logp = policy.log()[arms].unsqueeze(-1).requires_grad_()
    batch = Batch(
        mask=x.mask,
        logp_old=logp.detach(),
        logp_ref=x.logp_ref,
        advantage=advantages(algo, x).advantage,
        tokens=float(file["k"]),
        sequences=float(file["k"]),
    )  # each group is a batch of its own
    ascent = -torch.autograd.grad(algo.loss(PolicyOutput(logp=logp), batch).loss, logp)[0]
    score = torch.eye(len(policy), dtype=torch.float64)[arms] - policy  # ∇ log π(arm) in theta, [N k V]
    return policy[arms].prod(-1), (ascent * score).sum(1)


BIAS = {
    "reinforce": Reinforce(kl_coef=0),
    "loo": RLOO(kl_coef=0),
    "grpo_unbiased_std_eps1e-4": GRPO(kl_coef=0, std_eps=1e-4),
}


def expected_gradient(g: Folder) -> Fields:
    gradients = {name: _group_gradients(g, algo) for name, algo in BIAS.items()}
    return {name: weight @ gradient for name, (weight, gradient) in gradients.items()}


def gradient_variance(g: Folder) -> Fields:
    gradients = {name: _group_gradients(g, algo) for name, algo in BIAS.items()}
    return {
        name: weight @ (gradient - weight @ gradient).square().sum(-1) for name, (weight, gradient) in gradients.items()
    }


def sft(g: Folder) -> Fields:
    return {"token_mean": -eq.masked_mean(g.new_logp, g.mask, over=float(g.mask.sum()))}
