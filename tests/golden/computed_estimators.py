"""The golden values of estimators: of the KL, and of the policy gradient, whose expectation is taken by enumeration."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from align_lab import equations as eq
from align_lab.algos.dr_grpo import DrGRPO
from align_lab.algos.grpo import GRPO
from align_lab.algos.reinforce import Reinforce
from align_lab.algos.rloo import RLOO
from align_lab.base.contracts import Algorithm
from align_lab.base.types import Batch, PolicyOutput

from .computed import Fields, advantages, one_token
from .folder import Folder


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
    x = one_token(torch.tensor(file["rewards"], dtype=torch.float64)[arms])
    logp = policy.log()[arms].unsqueeze(-1).requires_grad_()
    batch = Batch(
        mask=x.mask,
        logp_old=logp.detach(),
        logp_ref=x.logp_ref,
        advantage=advantages(algo, x).advantage,
        tokens=float(file["k"]),
        sequences=float(file["k"]),
        longest=1,
    )  # each group is a batch of its own
    ascent = -torch.autograd.grad(algo.loss(PolicyOutput(logp=logp), batch).loss, logp)[0]
    score = torch.eye(len(policy), dtype=torch.float64)[arms] - policy  # ∇ log π(arm) in theta, [N k V]
    return policy[arms].prod(-1), (ascent * score).sum(1)


BIAS = {
    "reinforce": Reinforce(kl_coef=0),
    "loo": RLOO(kl_coef=0),
    "group_mean": DrGRPO(),
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
