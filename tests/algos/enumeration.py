"""The exact expectation of a policy gradient, over every group of completions of a policy that can be enumerated.

The policy has five tokens, of which token 0 ends a completion; a completion has at most two tokens. The second token
depends on the first one, and so do the critic's values.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from align_lab.base.types import Batch, PolicyOutput, Rollout

V, T = 5, 2
RANDOM = torch.Generator().manual_seed(3)
THETA = torch.randn(1 + V, V, generator=RANDOM, dtype=torch.float64)  # row 0: first token; row 1+a: after token a
REFERENCE = torch.randn(1 + V, V, generator=RANDOM, dtype=torch.float64)
VALUE = torch.randn(1 + V, generator=RANDOM, dtype=torch.float64)  # of a prefix, in the rows of THETA
COMPLETIONS = torch.tensor([[0, 0], *itertools.product(range(1, V), range(V))])  # [N T]
SCORE = 1 + torch.randn(len(COMPLETIONS), generator=RANDOM, dtype=torch.float64)
MASK = torch.stack([torch.ones(len(COMPLETIONS), dtype=torch.bool), COMPLETIONS[:, 0] != 0], -1)
STATES = torch.stack([torch.zeros(len(COMPLETIONS), dtype=torch.long), 1 + COMPLETIONS[:, 0]], -1)  # row of each token


def logps(theta: Tensor) -> Tensor:
    """Log-probability of every token of every completion, [N T], 0 where a completion has ended."""
    return theta.log_softmax(-1)[STATES, COMPLETIONS] * MASK


def true_gradient(kl_coef: float) -> Tensor:
    """Of E[r - β Σₜ log π/π_ref], the sum over all completions."""
    theta = THETA.clone().requires_grad_()
    logp = logps(theta)
    reward = SCORE - kl_coef * (logp - logps(REFERENCE)).sum(-1)
    return torch.autograd.grad((logp.sum(-1).exp() * reward).sum(), theta)[0]


def greedy_score() -> Tensor:
    """The score of the completion whose tokens are each the most likely one."""
    first = int(THETA[0].argmax())
    second = int(THETA[1 + first].argmax()) if first else 0
    return SCORE[(torch.tensor([first, second]) == COMPLETIONS).all(-1)][0]


def expected_gradient(algorithm: Any, G: int) -> Tensor:
    """The expected ascent direction of an algorithm's first update with one group of G completions."""
    theta = THETA.clone().requires_grad_()
    groups = torch.tensor(list(itertools.product(range(len(COMPLETIONS)), repeat=G)))  # each is a prompt of its own
    logp, mask = logps(theta)[groups], MASK[groups]
    value = VALUE[STATES][groups] * mask
    x = Rollout(
        mask=mask,
        score=SCORE[groups],
        logp_old=logp.detach(),
        logp_ref=logps(REFERENCE)[groups],
        value=value,
        longest=T,
        score_greedy=greedy_score().expand(len(groups)),
    )
    advantage = algorithm.advantages(x, algorithm.init_state())[0]
    probability = logp.detach().sum((-2, -1)).exp()
    batch = Batch(
        mask=mask,
        logp_old=x.logp_old,
        logp_ref=x.logp_ref,
        advantage=advantage.advantage * probability[:, None, None],
        returns=advantage.returns,
        value=value,
        longest=T,
        tokens=1.0,
        sequences=float(G),
    )
    loss = algorithm.loss(PolicyOutput(logp=logp, value=value), batch).loss
    return -torch.autograd.grad(loss, theta)[0]
