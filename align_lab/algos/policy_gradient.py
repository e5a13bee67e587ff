"""Policy gradients with one switch for each thing in which the papers differ: baseline, normalization, KL, aggregation.

A family to compare single choices with everything else equal (`sweeps=one_choice`), not a paper's algorithm. The
papers disagree about which choice matters: the baseline (Ahmadian et al., arXiv 2402.14740), the normalization over the
batch (Hu et al., arXiv 2501.03262), the constraint on the policy (Zheng et al., arXiv 2307.04964).

    R    = r(x, y),  minus β Σₜ log π(yₜ)/π_ref(yₜ) with kl=sequence_reward
    Aᵢ   = Rᵢ - bᵢ                                                              baseline
    Aᵢₜ  = Aᵢ,  minus β Σ_{s≥t} log π(yₛ)/π_ref(yₛ) with kl=token_reward
    Aᵢₜ  divided by the standard deviation of its group, or whitened over all tokens of the batch     normalization
    Lᵢₜ  = max(-A ρ, -A clip(ρ, 1-ε, 1+ε)),  plus β k2 or β k3 with kl=k2_loss, kl=k3_loss
    L    = mean over tokens, over sequences of their means or sums, or of sums divided by max_new_tokens   aggregation

Settings that are other algorithms' (tests/algos/test_policy_gradient.py):
    rloo          leave_one_out, none,  sequence_reward, sequence_sum     for the first update of a step
    grpo          group_mean,    group, k3_loss,         sequence_mean
    reinforce_pp  none,          batch, token_reward,    token_mean       for scores within its clip
    reinforce     moving_average, none, sequence_reward, sequence_sum     for the first update of a step
With one update a rollout, the default (train.epochs=1 train.minibatches=1), ρ is 1 and the clip never acts.
Choices: ε and β are those of most of the papers; the group's standard deviation is GRPO's, the batch's REINFORCE++'s.
Step rewards count with the score of their completion. A learned baseline is `algo=ppo`, which needs a critic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State

if TYPE_CHECKING:
    from torch import Tensor

BASELINES = ("none", "moving_average", "leave_one_out", "group_mean")
NORMALIZATIONS = ("none", "group", "batch")
KL_FORMS = ("none", "sequence_reward", "token_reward", "k2_loss", "k3_loss")
AGGREGATIONS = ("token_mean", "sequence_mean", "sequence_sum", "constant")


@register("algo", "policy_gradient")
@dataclass(frozen=True, kw_only=True)
class PolicyGradient(Algorithm):
    """PPO's surrogate without a critic; baseline, normalization, form of the KL and aggregation are fields."""

    baseline: Literal["none", "moving_average", "leave_one_out", "group_mean"] = param(
        "leave_one_out", "what is subtracted from the reward of a completion", choices=BASELINES
    )
    normalization: Literal["none", "group", "batch"] = param(
        "none", "what the advantages are divided by: nothing, the std of their group, whitened over the batch's tokens",
        choices=NORMALIZATIONS,
    )  # fmt: skip
    kl: Literal["none", "sequence_reward", "token_reward", "k2_loss", "k3_loss"] = param(
        "sequence_reward", "where the KL penalty is: in the reward of the sequence or of each token, or in the loss",
        choices=KL_FORMS,
    )  # fmt: skip
    kl_coef: float = param(0.05, "β, weight of the KL penalty", low=0, tune=log(0.01, 0.3))
    aggregation: Literal["token_mean", "sequence_mean", "sequence_sum", "constant"] = param(
        "token_mean", "how the losses of tokens are averaged; constant: their sum / (sequences · max_new_tokens)",
        choices=AGGREGATIONS,
    )  # fmt: skip
    clip: float = param(0.2, "ε, clip range of the ratio", above=0, tune=log(0.1, 0.4), infinite="no clip")
    std_eps: float = param(1e-4, "added to the standard deviation of a group", above=0)

    @property
    def needs(self) -> Needs:
        """The reference if there is a KL penalty, and two samples per prompt where they are compared."""
        compares = self.baseline in ("leave_one_out", "group_mean") or self.normalization == "group"
        return Needs(reference=self._beta() > 0, min_group_size=2 if compares else 1)

    def init_state(self) -> State:
        """Running moments of the reward, whose mean is the moving average."""
        return eq.initial_moments()

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Reward minus baseline, with the KL of each token where it belongs, normalized."""
        R = x.score + eq.kl_penalty(x, self._beta("sequence_reward"))
        later_kl = eq.reward_to_go(eq.token_penalty(x, self._beta("token_reward")), x.mask, gamma=1.0)
        A = eq.spread(self._centered(R, state), x.mask) + later_kl
        beta_in_reward = self._beta("sequence_reward", "token_reward")
        advantage = Advantage(advantage=self._normalized(A, R, x.mask), metrics=eq.reward_metrics(x, beta_in_reward))
        return advantage, eq.update_moments(state, R)

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """The clipped surrogate and the KL of the loss, averaged as `aggregation` says."""
        policy = eq.clipped_surrogate(now.logp, x.logp_old, x.advantage, x.mask, clip=self.clip)
        loss = self._averaged(policy.loss, x)
        metrics = eq.policy_metrics(loss, now, x, policy)
        if (beta := self._beta("k2_loss", "k3_loss")) > 0:
            estimator = {"k2_loss": eq.k2, "k3_loss": eq.k3}[self.kl]
            kl = self._averaged(estimator(eq.masked(now.logp, x.mask), eq.masked(x.logp_ref, x.mask)), x)
            loss = loss + beta * kl
            metrics["loss/kl_avg"] = kl.detach()
        return LossOutput(loss=loss, metrics=metrics)

    def _beta(self, *forms: str) -> float:
        """β if the KL has one of these forms, else 0; without forms, if it has any."""
        return self.kl_coef if self.kl in (forms or KL_FORMS[1:]) else 0.0

    def _centered(self, R: Tensor, state: State) -> Tensor:
        """Reward minus baseline, [P G] -> [P G]."""
        if self.baseline == "leave_one_out":
            return R - eq.leave_one_out(R)
        if self.baseline == "group_mean":
            return eq.centered_groups(R)
        return R - float(state["mean"]) if self.baseline == "moving_average" else R

    def _normalized(self, A: Tensor, R: Tensor, mask: Tensor) -> Tensor:
        """[P G T] -> [P G T]."""
        if self.normalization == "group":
            return A / (R.std(-1, keepdim=True).unsqueeze(-1) + self.std_eps)
        return eq.whiten(A, mask, correction=0, floor=1e-8) if self.normalization == "batch" else A

    def _averaged(self, per_token: Tensor, x: Batch) -> Tensor:
        """[P G T] -> a scalar."""
        if self.aggregation == "sequence_mean":
            return eq.mean_of_means(per_token, x.mask, over=x.sequences)
        over = {
            "token_mean": x.tokens,
            "sequence_sum": x.sequences,
            "constant": x.sequences * (x.longest or x.mask.shape[-1]),
        }
        return eq.masked_mean(per_token, x.mask, over=over[self.aggregation])
