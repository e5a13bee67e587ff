"""One-step-off asynchronous rollouts: a step learns from completions of the policy of the step before it.

Noukhovitch et al., Asynchronous RLHF: Faster and More Efficient Off-Policy RL for Language Models, arXiv 2410.18252:
while the policy learns from one step, its weights from before that update sample the completions of the next step.

    y₀ ~ π_θ₀,   yₜ ~ π_θₜ₋₁                                               (step t begins with the weights θₜ)
    θₜ₊₁ = θₜ + the algorithm's update with yₜ, each token's advantage times min(π_θₜ / π_θₜ₋₁, cap)

The weight is that of truncated importance sampling (`equations.importance_weight`, `sampling.importance_cap`), between
the policy that learns and the one that sampled. Everything else that an algorithm reads is of the step that learns: the
KL to the reference, the values of the critic, and π_old of a ratio, which is π_θₜ (the decoupled objective of Hilton et
al., Batch size-invariance for policy optimization, arXiv 2110.00641, whose proximal policy is π_θₜ).
A baseline of a group, or of its prompt's most likely completion, is of the policy that sampled, as it must be.
Algorithms whose loss assumes nothing about where completions come from (`needs.on_policy` False) are not weighted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from align_lab.train.asked import Asked, Place, restored
from align_lab.train.experience import Collected
from align_lab.train.rollouts import Rollouts


@dataclass(kw_only=True)
class OneStepOff:
    """Asks for the completions of step t+1 before the update of step t, and needs them after it.

    Which weights sample a step depends on its number alone: in the first step, those that learn; and what was asked for
    is part of the checkpoint. Nothing is asked for after the last step, also where a budget of episodes or
    tokens ends the run; where one of seconds does, the last completions are neither used nor charged.
    """

    rollouts: Rollouts
    asked: Asked | None = None  # for the next step
    episodes: int = 0  # charged so far
    tokens: int = 0

    def collect(self, step: int, *, groups: int) -> Collected:
        """The experience of one step; that of the next one is on its way. If it raises, no state has changed."""
        started, stale = time.perf_counter(), self.asked is not None
        own = self.asked or self.rollouts.ask(step, groups, first=self.rollouts.drawn)
        episodes, tokens = own.charges(self.rollouts.world)
        episodes, tokens = self.episodes + episodes, self.tokens + tokens
        following = None
        if not self.rollouts.learner.plan.ended(step + 1, episodes=episodes, tokens=tokens):
            following = self.rollouts.ask(step + 1, groups, first=own.place.first + groups)
        self.rollouts.sampler.release_device()
        begun = [one for one in (own, following) if one is not None and one is not self.asked]
        collected = self.rollouts.finish(own, self.rollouts.seconds(started, begun), stale=stale)
        self.asked, self.episodes, self.tokens = following, episodes, tokens
        return replace(collected, metrics={**collected.metrics, "sampling/staleness": float(stale)})

    def state_dict(self) -> dict[str, Any]:
        """The state of the rollouts, and the completions of the next step, for which it waits."""
        state = {"source": self.rollouts.state_dict(), "episodes": self.episodes, "tokens": self.tokens}
        return state if self.asked is None else state | {"asked": self.asked.state_dict(self.rollouts.world)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned. A collective operation."""
        self.rollouts.load_state_dict(state["source"])
        self.episodes, self.tokens, self.asked = state["episodes"], state["tokens"], None
        if (asked := state.get("asked")) is not None:
            greedy = None if asked["greedy"] is None else restored(asked["greedy"])
            self.asked = self.rollouts.asked_before(Place(**asked["place"]), restored(asked["completions"]), greedy)
