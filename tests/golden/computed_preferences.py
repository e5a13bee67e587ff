"""The golden values of losses on preference pairs, as this package computes them (see `computed`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from align_lab import equations as eq
from align_lab.algos.cpo import CPO
from align_lab.algos.dpo import DPO
from align_lab.algos.ipo import IPO
from align_lab.algos.iterative_dpo import IterativeDPO
from align_lab.algos.kto import KTO
from align_lab.algos.online_dpo import OnlineDPO
from align_lab.algos.orpo import ORPO
from align_lab.algos.sail_dp import SAILDP
from align_lab.algos.sail_pp import SAILPP
from align_lab.algos.sail_pr import SAILPR
from align_lab.algos.simpo import SimPO
from align_lab.algos.slic_hf import SLiCHF
from align_lab.algos.slic_norm import SLiCNorm
from align_lab.base.contracts import Algorithm
from align_lab.base.types import Batch, PolicyOutput, Rollout

from .computed import Fields, advantages, per_sequence
from .folder import Folder

FIRST_PREFERRED = [[1.0, 0.0]]


def pairs_of(g: Folder) -> tuple[Tensor, Batch, float]:
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


def preference_loss(algo: Algorithm, logp: Tensor, batch: Batch) -> tuple[Fields, Fields]:
    """(loss and gradient in each side's log-probability, metrics); the first completion of a pair is the chosen one."""
    score = torch.tensor(FIRST_PREFERRED, dtype=torch.float64).expand(len(logp), 2)
    x = Rollout(mask=batch.mask, score=score, logp_old=logp, logp_ref=batch.logp_ref, origin=batch.origin)
    labeled = replace(batch, advantage=advantages(algo, x).advantage)
    logp = logp.clone().requires_grad_()
    out = algo.loss(PolicyOutput(logp=logp), labeled)
    chosen, rejected = per_sequence(torch.autograd.grad(out.loss, logp)[0], labeled.mask).unbind(-1)
    return {"loss": out.loss, "grad_chosen": chosen, "grad_rejected": rejected}, out.metrics


def each_pair(logp: Tensor, batch: Batch) -> list[tuple[Tensor, Batch]]:
    """Every pair as a minibatch of its own."""
    singles = []
    for row in range(len(logp)):
        values = {key: x[row : row + 1] if isinstance(x, Tensor) else x for key, x in vars(batch).items()}
        singles.append((logp[row : row + 1], Batch(**(values | {"sequences": float(logp.shape[1])}))))
    return singles


def per_pair(algo: Algorithm, logp: Tensor, batch: Batch) -> Tensor:
    return torch.stack([preference_loss(algo, *single)[0]["loss"] for single in each_pair(logp, batch)])


def _with_pairs(algo: Algorithm, logp: Tensor, batch: Batch) -> Fields:
    return {**preference_loss(algo, logp, batch)[0], "per_pair": per_pair(algo, logp, batch)}


def dpo(g: Folder) -> Fields:
    logp, batch, beta = pairs_of(g)
    metrics = [preference_loss(DPO(beta=beta), *single)[1] for single in each_pair(logp, batch)]
    return {
        **_with_pairs(DPO(beta=beta), logp, batch),
        "implicit_reward_chosen": torch.stack([one["rewards/chosen"] for one in metrics]),
        "implicit_reward_rejected": torch.stack([one["rewards/rejected"] for one in metrics]),
    }


def _like_dpo(algo_of: Callable[[float], Algorithm], **of_batch: Any) -> Callable[[Folder], Fields]:
    """An algorithm whose loss on these pairs is that of DPO."""

    def compute(g: Folder) -> Fields:
        logp, batch, beta = pairs_of(g)
        return _with_pairs(algo_of(beta), logp, replace(batch, **of_batch))

    return compute


def cpo_of_log_ratios(g: Folder) -> Fields:
    """CPO's preference term is DPO's with log-probabilities in place of log-ratios: here it is given those."""
    logp, batch, beta = pairs_of(g)
    return _with_pairs(CPO(beta=beta, nll_coef=0.0), logp - batch.logp_ref, batch)


def _likelihood(g: Folder, algo: Algorithm) -> Tensor:
    """The negative log-likelihood of chosen completions, where each sequence is the chosen one of a pair."""
    logp, mask = (x.flatten(0, 1).unsqueeze(1).expand(-1, 2, -1) for x in (g.new_logp, g.mask))
    zeros = torch.zeros_like(logp)
    counts = {"tokens": float(mask.sum()), "sequences": float(2 * len(logp))}
    return preference_loss(algo, logp, Batch(mask=mask, logp_old=logp, advantage=zeros, **counts))[1]["loss/nll_avg"]


def cpo_likelihood(g: Folder) -> Tensor:
    return _likelihood(g, CPO())


def orpo_likelihood(g: Folder) -> Tensor:
    return _likelihood(g, ORPO())


FROM_SET = {"noise": torch.ones(3, 2), "origin": torch.zeros(3)}
online_dpo = _like_dpo(lambda beta: OnlineDPO(beta=beta))
iterative_dpo = _like_dpo(lambda beta: IterativeDPO(beta=beta))
sail_dp_of_the_set = _like_dpo(lambda beta: SAILDP(beta=beta), **FROM_SET)
sail_pp_of_the_set = _like_dpo(lambda beta: SAILPP(beta=beta), **FROM_SET)
sail_pr_of_the_set = _like_dpo(lambda beta: SAILPR(beta=beta), **FROM_SET)


def cdpo(g: Folder, eps: float) -> Fields:
    logp, batch, beta = pairs_of(g)
    return preference_loss(DPO(beta=beta, label_smoothing=eps), logp, batch)[0]


def ipo_sum(g: Folder) -> Fields:
    logp, batch, beta = pairs_of(g)
    return _with_pairs(IPO(beta=beta), logp, batch)


def ipo_mean(g: Folder) -> Fields:
    logp, batch, beta = pairs_of(g)
    return _with_pairs(IPO(beta=beta, over_tokens="mean"), logp, batch)


def slic_norm(g: Folder) -> Fields:
    logp, batch, beta = pairs_of(g)
    return _with_pairs(SLiCNorm(beta=beta), logp, batch)


def slic_hf(g: Folder) -> Fields:
    """The case has the hinge alone, with delta=1."""
    logp, batch, _ = pairs_of(g)
    return _with_pairs(SLiCHF(delta=1.0, nll_coef=0.0), logp, batch)


def simpo(g: Folder, beta: float, gamma: float) -> Tensor:
    logp, batch, _ = pairs_of(g)
    return per_pair(SimPO(beta=beta, gamma=gamma), logp, batch)


def orpo(g: Folder) -> Fields:
    """The term of the odds ratio: the loss without its likelihood, which is logged."""
    logp, batch, beta = pairs_of(g)
    results = [preference_loss(ORPO(odds_coef=beta), *single) for single in each_pair(logp, batch)]
    odds = eq.log_odds(eq.sequence_mean(logp, batch.mask))
    return {
        "beta_log_sigmoid": torch.stack([metrics["loss/nll_avg"] - fields["loss"] for fields, metrics in results]),
        "log_odds_mean": (odds[:, 0] - odds[:, 1]).mean(),
    }


def kto(g: Folder) -> Fields:
    """Each completion as a minibatch of its own, whose statistics hold the z that the case states."""
    logp, batch, beta = pairs_of(g)
    statistics = {"log_ratio": torch.tensor(g.file("preference_losses")["kto"]["z"]), "desirable": torch.ones(())}
    sides = []
    for side in (0, 1):
        one_sided = {key: x[:, side : side + 1] if isinstance(x, Tensor) else x for key, x in vars(batch).items()}
        singles = each_pair(logp[:, side : side + 1], Batch(**one_sided))
        sides.append(torch.stack([_kto_loss(KTO(beta=beta), *one, 1.0 - side, statistics) for one in singles]))
    return {"chosen": sides[0], "rejected": sides[1]}


def _kto_loss(algo: KTO, logp: Tensor, batch: Batch, score: float, statistics: dict[str, Tensor]) -> Tensor:
    x = Rollout(mask=batch.mask, score=torch.full((1, 1), score, dtype=torch.float64), logp_old=logp)
    batch = replace(batch, advantage=advantages(algo, x).advantage, statistics=statistics)
    return algo.loss(PolicyOutput(logp=logp), batch).loss
