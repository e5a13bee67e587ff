"""The golden values as this package computes them, by an algorithm where one covers the case, else by its equation.

Each function takes the folder and the numbers in the case's key; it returns the fields of the case, or its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Any

import torch
from torch import Tensor

from align_lab import equations as eq
from align_lab.algos.ppo import PPO
from align_lab.algos.ppo_max import PPOMax
from align_lab.algos.reinforce import Reinforce
from align_lab.algos.reinforce_pp import ReinforcePP
from align_lab.algos.vanilla_pg import VanillaPG
from align_lab.base.contracts import Algorithm
from align_lab.base.types import Advantage, Rollout

from ..train import small
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


def vanilla_pg(g: Folder) -> Fields:
    """GAE with neither discount nor bootstrapping."""
    kl_coef = g.file("token_rewards")["inputs"]["kl_coef"]
    result = advantages(VanillaPG(kl_coef=kl_coef), g.rollout())
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


def policy_loss(g: Folder, algo: Algorithm) -> Fields:
    """The losses of a file's advantages; the longest completion that might have been is as wide as the rows."""
    advantage = g.refer(g.file("ppo_policy_loss")["inputs"]["advantages"])
    batch = replace(g.batch(advantage), longest=g.mask.shape[-1])
    out, grad = g.update(algo, batch)
    approx_kl = eq.masked_mean(eq.k1(batch.logp_old, g.new_logp), batch.mask, over=batch.tokens)
    return {
        "loss": out.metrics["loss/policy_avg"],
        "clip_frac": out.metrics["policy/clipfrac_avg"],
        "grad": grad,
        "approx_kl": approx_kl,
    }


def ppo_policy(g: Folder) -> Fields:
    return policy_loss(g, PPO(clip=g.file("ppo_policy_loss")["inputs"]["eps"]))


def reinforce_pp_policy(g: Folder) -> Fields:
    return policy_loss(g, ReinforcePP(clip=g.file("ppo_policy_loss")["inputs"]["eps"]))


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


def _moss_loss(g: Folder, entropy: Tensor | None = None, preset: PPOMax | None = None, **flags: Any) -> Tensor:
    inputs = g.file("moss_ppo_total_loss")["inputs"]
    stated = {"clip": inputs["pg_clip"], "value_clip": inputs["value_clip"], "vf_coef": inputs["vf_loss_weight"]}
    algo = replace(preset or PPOMax(), **(stated | flags))
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


def moss_script_loss(g: Folder) -> Fields:
    """The preset as it is composed."""
    return {"shipping_flags": _moss_loss(g, preset=small.algorithm("ppo_max_moss_script"))}


def moss_clip(g: Folder, clip: float) -> Tensor:
    return _moss_loss(g, advantage_norm="batch", advantage_clip=clip)


# ---- running moments and baselines ----


def _batches(g: Folder, step: float) -> list[Tensor]:
    """Scores of the steps up to this one, [P G=1] each."""
    steps = g.file("ppo_max_reward_norm")["steps"][: int(step) + 1]
    return [torch.tensor(s["batch"], dtype=torch.float64).unsqueeze(-1) for s in steps]


def one_token(score: Tensor) -> Rollout:
    """[P G] -> completions of one token, with a KL of 0 and a critic whose values are 0."""
    zeros = torch.zeros_like(score).unsqueeze(-1)
    return Rollout(mask=zeros == 0, score=score, logp_old=zeros, logp_ref=zeros, value=zeros)


def _shaped_score(g: Folder, step: float, **fields: Any) -> Tensor:
    """The advantage of a completion of one token, without critic or KL, is its shaped score."""
    algo = PPOMax(**fields)
    state, result = algo.init_state(), None
    for score in _batches(g, step):
        result, state = algo.advantages(one_token(score), state)
    return result.advantage


def shaped_scores(g: Folder, step: float) -> Fields:
    return {
        "scaled": _shaped_score(g, step, score_norm="scale", score_clip=inf),
        "normalised": _shaped_score(g, step, score_norm="standardize", score_clip=inf),
    }


def moss_script_scores(g: Folder, step: float) -> Fields:
    """The preset as it is composed, without its KL and critic: it divides scores by their running deviation."""
    algo = replace(small.algorithm("ppo_max_moss_script"), kl_coef=0.0)
    state, result = algo.init_state(), None
    for score in _batches(g, step):
        result, state = algo.advantages(one_token(score), state)
    return {"scaled": result.advantage}


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
        result, state = algo.advantages(one_token(g.grouped(1).rows(inputs["R"])), state)
    return {"baseline_before": baseline, "advantage": result.advantage, "baseline_after": state["mean"]}


def reinforce_third(g: Folder) -> Fields:
    algo = Reinforce(kl_coef=0)
    advantage = eq.spread(reinforce(g, 2)["advantage"].view(g.mask.shape[:2]), g.mask)
    out, grad = g.update(algo, g.batch(advantage))
    return {"third_step_loss": out.loss, "third_step_grad": grad}


# ---- reward models ----


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


def sft(g: Folder) -> Fields:
    return {"token_mean": -eq.masked_mean(g.new_logp, g.mask, over=float(g.mask.sum()))}
