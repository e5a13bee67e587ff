"""The golden values of algorithms that compare the completions of a prompt with each other, in place of a critic."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import torch
from torch import Tensor

from align_lab import equations as eq
from align_lab.algos.cispo import CISPO
from align_lab.algos.dapo import DAPO
from align_lab.algos.dr_grpo import DrGRPO
from align_lab.algos.grpo import GRPO
from align_lab.algos.gspo import GSPO
from align_lab.algos.policy_gradient import PolicyGradient
from align_lab.algos.raft import RAFT
from align_lab.algos.reinforce_pp import ReinforcePP
from align_lab.algos.reinforce_pp_baseline import ReinforcePPBaseline
from align_lab.algos.remax import ReMax
from align_lab.algos.remax_released import ReMaxReleased
from align_lab.algos.rloo import RLOO
from align_lab.base.contracts import Algorithm

from .computed import Fields, advantages, one_token, per_sequence, policy_loss
from .folder import Folder


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
    return {"advantages": advantages(RLOO(kl_coef=case["beta"]), one_token(score)).advantage}


def rloo_of_scores(g: Folder, k: float) -> Tensor:
    score = torch.tensor([g.file("grpo")["advantage"][f"k{k:g}_scores"]], dtype=torch.float64)
    return advantages(RLOO(kl_coef=0), one_token(score)).advantage


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
    return advantages(GRPO(std_eps=eps), one_token(score)).advantage


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


def grpo_policy(g: Folder) -> Fields:
    return policy_loss(g, GRPO(kl_coef=0, clip=g.file("ppo_policy_loss")["inputs"]["eps"]))


def centered_scores(g: Folder) -> Tensor:
    """Dr. GRPO's advantage."""
    g = g.grouped(g.file("grpo")["inputs"]["k"])
    return per_sequence(advantages(DrGRPO(), g.rollout()).advantage, g.mask)


def centered_of_scores(g: Folder, k: float) -> Tensor:
    score = torch.tensor([g.file("grpo")["advantage"][f"k{k:g}_scores"]], dtype=torch.float64)
    return advantages(DrGRPO(), one_token(score)).advantage


def _trl_loss(g: Folder, algo: Algorithm) -> Fields:
    """TRL's losses take the advantages that the file states, those of GRPO."""
    stated = g.file("grpo")["trl_losses"]
    batch = g.batch(eq.spread(g.rows(stated["advantages"]), g.mask))
    out, grad = g.update(algo, replace(batch, longest=stated["max_completion_length_for_dr_grpo"]))
    return {"loss": out.loss, "grad": grad}


def dr_grpo_loss(g: Folder, beta: float) -> Fields:
    return _trl_loss(g, DrGRPO(kl_coef=beta, clip=g.file("grpo")["trl_losses"]["eps"]))


def token_mean_loss(g: Folder) -> Fields:
    """In a batch of one part, TRL's bnpo and dapo are both the mean over tokens; neither has DAPO's higher clip."""
    eps = g.file("grpo")["trl_losses"]["eps"]
    return _trl_loss(g, DAPO(clip=eps, clip_high=eps))


# ---- the same surrogates on other advantages ----


def dr_grpo_policy(g: Folder) -> Fields:
    """verl's constant is the width of the batch; its dual clip is not active here."""
    return policy_loss(g, DrGRPO(clip=g.file("ppo_policy_loss")["inputs"]["eps"]))


def dapo_policy(g: Folder, low: float, high: float) -> Fields:
    return policy_loss(g, DAPO(clip=low, clip_high=high))


def gspo_policy(g: Folder) -> Fields:
    """With the clip range of the paper, which is the default."""
    return policy_loss(g, GSPO())


def overlong(g: Folder) -> Fields:
    """Twice the mean reward of two completions, less the score of the one that has a single token and no penalty."""
    case = g.file("misc")["dapo_overlong"]
    algo = DAPO(overlong_share=case["buffer"] / case["max_new_tokens"])
    after = []
    for length, score in zip(case["lengths"], case["rewards_before"], strict=True):
        x = one_token(torch.full((1, 2), float(score), dtype=torch.float64))
        mask = torch.arange(case["max_new_tokens"]).expand(1, 2, -1) < torch.tensor([[[length], [1]]])
        x = replace(x, mask=mask, logp_old=torch.zeros(mask.shape), longest=case["max_new_tokens"])
        mean = algo.advantages(x, ())[0].metrics["objective/rlhf_reward"]
        after.append(2 * mean - score)
    return {"rewards_after": torch.stack(after)}


# ---- the family of policy gradients ----


def _family(g: Folder, aggregation: str) -> PolicyGradient:
    return PolicyGradient(aggregation=aggregation, kl="none", clip=g.file("ppo_policy_loss")["inputs"]["eps"])


def family_token_mean(g: Folder) -> Fields:
    return policy_loss(g, _family(g, "token_mean"))


def family_sequence_mean(g: Folder) -> Fields:
    return policy_loss(g, _family(g, "sequence_mean"))


def family_sequence_sum(g: Folder) -> Fields:
    return policy_loss(g, _family(g, "sequence_sum"))


def family_constant(g: Folder) -> Fields:
    """verl's constant is the width of the batch; its dual clip is not active for these advantages."""
    return policy_loss(g, _family(g, "constant"))


def _family_k3(g: Folder, aggregation: str, beta: float) -> Fields:
    """With k3 in the loss, where β is not 0."""
    eps = g.file("grpo")["trl_losses"]["eps"]
    kl = "k3_loss" if beta else "none"
    return _trl_loss(g, PolicyGradient(aggregation=aggregation, kl=kl, kl_coef=beta, clip=eps))


def family_k3_token_mean(g: Folder, beta: float) -> Fields:
    return _family_k3(g, "token_mean", beta)


def family_k3_sequence_mean(g: Folder, beta: float) -> Fields:
    return _family_k3(g, "sequence_mean", beta)


def family_k3_constant(g: Folder, beta: float) -> Fields:
    return _family_k3(g, "constant", beta)


def openrlhf_rloo(g: Folder) -> Fields:
    """OpenRLHF leaves the KL out of the baseline, and subtracts that of each token and those after it."""
    inputs = g.file("rloo")["inputs"]
    algo = PolicyGradient(baseline="leave_one_out", kl="token_reward", kl_coef=inputs["beta"])
    g = g.grouped(inputs["k"])
    return {"adv": advantages(algo, g.rollout()).advantage}


# ---- REINFORCE++ with a baseline, ReMax, RAFT ----


def _pp_baseline(g: Folder) -> tuple[Folder, ReinforcePPBaseline]:
    file = g.file("reinforce_pp")
    kl_coef = file["reinforce_pp_baseline"]["k2_coef"]
    return g.grouped(g.common["k"]), ReinforcePPBaseline(kl_coef=kl_coef, clip=file["inputs"]["eps"], score_clip=inf)


def pp_baseline(g: Folder) -> Fields:
    g, algo = _pp_baseline(g)
    advantage = advantages(algo, g.rollout()).advantage
    out, grad = g.update(algo, g.batch(advantage))
    centered = eq.centered_groups(g.score)
    return {
        "group_centred": centered,
        "advantage_openrlhf": advantage,
        "advantage_verl": eq.whiten(eq.spread(centered, g.mask), g.mask, correction=1, eps=1e-8),
        "total_loss_with_k2": out.loss,
        "grad": grad,
    }


def remax(g: Folder) -> Fields:
    """verl's advantage; and the authors' loss, which is a mean over tokens, on the authors' returns."""
    inputs = g.file("remax")["inputs"]
    algo = ReMax(kl_coef=inputs["kl_coef"])
    greedy = g.rows(inputs["greedy_score"])[:, 0]  # every completion of a prompt states its prompt's
    batch = g.batch(g.refer(g.file("remax")["original_gamma1"]))
    out, _ = g.update(algo, replace(batch, sequences=batch.tokens))
    return {
        "verl_advantage": advantages(algo, g.rollout(score_greedy=greedy)).advantage,
        "actor_loss_gamma1": out.loss,
    }


def remax_released(g: Folder, gamma: float) -> Tensor:
    """The returns of the authors' code."""
    inputs = g.file("remax")["inputs"]
    algo = ReMaxReleased(kl_coef=inputs["kl_coef"], gamma=gamma, score_clip=inputs["clip"])
    greedy = g.rows(inputs["greedy_score"])[:, 0]
    return advantages(algo, g.rollout(score_greedy=greedy)).advantage


def remax_released_loss(g: Folder) -> Tensor:
    algo = ReMaxReleased(kl_coef=g.file("remax")["inputs"]["kl_coef"])
    return g.update(algo, g.batch(g.refer(g.file("remax")["original_gamma1"])))[0].loss


def cispo_of_rewards(g: Folder) -> Tensor:
    """CISPO's advantage is GRPO's; its loss at a ratio of 1 is ReMax's, a mean over tokens."""
    batch = g.batch(g.refer(g.file("remax")["original_gamma1"]))
    return g.update(CISPO(), replace(batch, logp_old=g.new_logp))[0].loss


def cispo_advantage(g: Folder, eps: float) -> Tensor:
    g = g.grouped(g.file("grpo")["inputs"]["k"])
    return per_sequence(advantages(CISPO(std_eps=eps), g.rollout()).advantage, g.mask)


def raft(g: Folder) -> Tensor:
    """The winner is the only completion with an advantage."""
    score = torch.tensor(g.file("misc")["raft"]["scores"], dtype=torch.float64)
    won = advantages(RAFT(kl_coef=0), one_token(score)).advantage.squeeze(-1)
    assert won.sum(-1).eq(1).all()
    return won.argmax(-1).double()
