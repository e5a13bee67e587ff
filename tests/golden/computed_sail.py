"""The golden values of SAIL as this package computes them: the released code, exact gradients, expectations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from align_lab import equations as eq
from align_lab.algos.dpo import DPO
from align_lab.algos.sail_dp import SAILDP
from align_lab.algos.sail_pp import SAILPP
from align_lab.algos.sail_pr import SAILPR
from align_lab.algos.sail_released import SAILReleased
from align_lab.base.contracts import Algorithm
from align_lab.base.types import Batch, PolicyOutput, Rollout

from .computed import Fields, advantages
from .computed_preferences import pairs_of, per_pair, preference_loss
from .folder import Folder

KEPT, SWITCHED = 0.0, 1.0 - 1e-12  # random numbers for which the policy keeps, or switches, the order of a pair


def _routed(g: Folder, noise: float = KEPT) -> tuple[Tensor, Batch, float]:
    """All three pairs belong to the variant: sampled, or in the share that the policy labels."""
    logp, batch, beta = pairs_of(g)
    numbers = torch.tensor([[noise, noise]], dtype=torch.float64).expand(len(logp), 2)
    return logp, replace(batch, origin=torch.ones(len(logp)), noise=numbers), beta


def _of_all(g: Folder, algo: Algorithm) -> Fields:
    logp, batch, _ = _routed(g)
    return {**preference_loss(algo, logp, batch)[0], "loss_per_pair": per_pair(algo, logp, batch)}


def sail_inputs(g: Folder) -> Fields:
    """The file's z has beta in it."""
    logp, batch, beta = _routed(g)
    z = beta * eq.gap(eq.log_ratio(logp, batch.logp_ref, batch.mask), torch.tensor([1.0, -1.0]).expand(len(logp), 2))
    keep = torch.stack([(eq.policy_label(z, torch.full_like(z, at)) == 1) for at in torch.linspace(0, 1, 100_001)])
    assert (keep.double().mean(0) - torch.sigmoid(z)).abs().max() < 1e-4  # the share of the labels that are kept
    return {
        "z": z,
        "log_sigmoid": eq.log_preference(z),
        "p_keep_label": torch.sigmoid(z),
        "p_switch_label": torch.sigmoid(-z),
    }


def sail_dp(g: Folder, rho: float) -> Fields:
    return _of_all(g, SAILDP(beta=pairs_of(g)[2], share=1.0, rho=rho))


def sail_pp(g: Folder, pi: float) -> Fields:
    return _of_all(g, SAILPP(beta=pairs_of(g)[2], share=1.0, pi=pi))


def sail_pr(g: Folder, gamma: float) -> Fields:
    return _of_all(g, SAILPR(beta=pairs_of(g)[2], share=1.0, gamma=gamma))


def released_pp(g: Folder, pi: float) -> Fields:
    return _of_all(g, SAILReleased(beta=pairs_of(g)[2], coef=pi))


def released_pr(g: Folder, gamma: float) -> Fields:
    return _of_all(g, SAILReleased(beta=pairs_of(g)[2], labels="reward", coef=gamma))


def switched(g: Folder) -> Fields:
    """Labels that the policy has switched; the coefficient is that of the file's other cases of DP and PP."""
    logp, batch, beta = _routed(g, SWITCHED)
    return {"loss_per_pair": per_pair(SAILPP(beta=beta, share=1.0, pi=0.2), logp, batch)}


# ---- expectations over three completions of one token, by enumeration of pairs and labels ----


class Case(NamedTuple):
    """A pair of completions in the order of its label, and the probability of pair and label."""

    first: int
    second: int
    probability: float


def _cases(*, completions: Tensor, preference: Tensor) -> Iterator[Case]:
    for first, second in itertools.product(range(len(completions)), repeat=2):
        drawn = float(completions[first] * completions[second])
        order = float(preference[first, second])
        yield Case(first, second, drawn * order)
        yield Case(second, first, drawn * (1 - order))


def _expectation(g: Folder, algo: Algorithm, *, of_policy: bool, by_policy: bool) -> Fields:
    """The objective and the gradient in theta that the algorithm's losses have in expectation."""
    file = g.file("sail_exact_expectation")
    theta = torch.tensor(file["theta"], dtype=torch.float64, requires_grad=True)
    logp, ref = theta.log_softmax(-1), torch.tensor(1 / len(theta), dtype=torch.float64).log()
    value = (file["beta"] * (logp - ref)).detach() if by_policy else torch.tensor(file["true_reward"]).double()
    data = torch.tensor(file["dataset_dist"], dtype=torch.float64)
    completions = logp.exp().detach() if of_policy else data
    preference = torch.sigmoid(value[:, None] - value[None, :])
    objective, gradient = torch.zeros(()), torch.zeros_like(theta)
    for case in _cases(completions=completions, preference=preference):
        loss, slope = _one_pair(algo, theta, ref, case)
        objective, gradient = objective - case.probability * loss, gradient - case.probability * slope
    return {"objective": objective, "gradient": gradient}


def _one_pair(algo: Algorithm, theta: Tensor, ref: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    """(-F of the pair, the gradient of its loss); the policy keeps the order of the label."""
    logp = theta.log_softmax(-1)[torch.tensor([[case.first, case.second]])].unsqueeze(-1)  # [1 2 1]
    mask, origin, noise = torch.ones_like(logp, dtype=torch.bool), torch.ones(1), torch.zeros(1, 2)
    score = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    x = Rollout(mask=mask, score=score, logp_old=logp.detach(), logp_ref=ref.expand_as(logp), origin=origin)
    batch = Batch(
        mask=mask,
        logp_old=x.logp_old,
        logp_ref=x.logp_ref,
        advantage=advantages(algo, x).advantage,
        tokens=2.0,
        sequences=2.0,
        origin=origin,
        noise=noise,
    )
    out = algo.loss(PolicyOutput(logp=logp), batch)
    margin = out.metrics["rewards/margins"]
    return -torch.nn.functional.logsigmoid(margin), torch.autograd.grad(out.loss, theta)[0]


def _beta(g: Folder) -> float:
    return g.file("sail_exact_expectation")["beta"]


def expected_dpo(g: Folder) -> Fields:
    return _expectation(g, DPO(beta=_beta(g)), of_policy=False, by_policy=False)


def expected_dp(g: Folder) -> Fields:
    return _expectation(g, SAILDP(beta=_beta(g), share=1.0, rho=1.0), of_policy=False, by_policy=True)


def expected_pp(g: Folder) -> Fields:
    return _expectation(g, SAILPP(beta=_beta(g), share=1.0, pi=1.0), of_policy=True, by_policy=True)


def expected_pr(g: Folder) -> Fields:
    return _expectation(g, SAILPR(beta=_beta(g), share=1.0, gamma=1.0), of_policy=True, by_policy=False)
