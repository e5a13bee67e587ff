"""THE loop, one for all algorithms: collect, judge, update, log; evaluate and save when it is time.

It never asks for an algorithm's name: what an algorithm needs, it declares.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.errors import SamplerError, Stopped
from align_lab.base.hyperparameters import Train
from align_lab.base.types import Advantage, Rollout, State
from align_lab.base.world import World
from align_lab.train.engines.engine import shape
from align_lab.train.evaluate import Evaluator, summary
from align_lab.train.experience import Collected, ExperienceSource
from align_lab.train.learner import Learner
from align_lab.train.update import Pretrain, update


class Recorder(Protocol):
    """Where the loop writes: the run folder and whatever else listens."""

    def log(self, row: Mapping[str, float]) -> None: ...
    def log_samples(self, rows: Sequence[Mapping[str, Any]]) -> None: ...
    def save(self, step: int, state: dict[str, Any], *, best: float | None = None) -> None: ...


@dataclass
class Progress:
    """Where a run is. Everything here is checkpointed."""

    step: int = 0
    episode: int = 0
    tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    best_score: float | None = None


@dataclass(kw_only=True)
class Loop:
    """The parts of a run, put together by `align_lab.run.experiment`."""

    algo: Algorithm
    learner: Learner
    source: ExperienceSource
    evaluate: Evaluator
    journal: Recorder
    seed: int
    evaluate_every: int
    save_every: int
    importance_cap: float | None = None  # of the correction where another engine samples; None: none
    pretrain: Callable[[int], Pretrain] | None = None
    start_rows: Sequence[Mapping[str, Any]] = ()  # the start policy's evaluation
    should_stop: Callable[[], bool] = lambda: False
    world: World = World()
    state: State = ()
    progress: Progress = field(default_factory=Progress)
    saved: int = -1  # the step of the newest checkpoint

    @property
    def plan(self) -> Train:
        return self.learner.plan

    def run(self) -> None:
        """Train to the end of the steps or of the budget. Raises Stopped, after saving, when asked to stop."""
        if self.progress.best_score is None:
            self._first()
        while not self.done():
            if self.should_stop():
                self._keep()
                raise Stopped(
                    f"stopped after step {self.progress.step} and saved. Run the same command again to continue"
                )
            row = self.advance()
            last = self.done()
            if last or self.progress.step % self.evaluate_every == 0:
                row |= self._evaluate()
            self.journal.log(row)
            best = self._best_now(row)
            if last or best is not None or self.progress.step % self.save_every == 0:
                self._save(best)

    def close(self) -> None:
        self.evaluate.sampler.close()

    def done(self) -> bool:
        budget, now = self.plan.budget, self.progress
        spent = ((budget.episodes, now.episode), (budget.tokens, now.tokens), (budget.seconds, now.seconds))
        return now.step >= self.plan.steps or any(limit is not None and used >= limit for limit, used in spent)

    def advance(self) -> dict[str, float]:
        """One step: experience, advantages, updates. Returns its row of metrics."""
        began, cpu, step = time.perf_counter(), time.process_time(), self.progress.step
        collected = self._collect(step)
        with torch.no_grad():
            advantage, self.state = self.algo.advantages(collected.experience.rollout, self.state)
            advantage = self._corrected(advantage, collected.experience.rollout)
        critic = self.algo.needs.critic
        policy_from = critic.pretrain_steps if critic else 0
        losses = update(
            self.learner,
            self.algo,
            collected.experience,
            advantage,
            step=step,
            seed=self.seed,
            world=self.world,
            pretrain=self.pretrain(step) if self.pretrain else None,
            policy_from=policy_from,
        )
        seconds = self.world.max(time.perf_counter() - began)  # all processes count, and stop, alike
        now = self.progress
        now.step, now.episode, now.tokens = step + 1, now.episode + collected.episodes, now.tokens + collected.tokens
        now.seconds += seconds
        now.flops += self._flops(collected)
        spent = sum(collected.seconds.values())
        return (
            self._counts()
            | describe(collected, advantage)
            | losses
            | {"lr": self.learner.rate(number=step, policy_from=policy_from)}
            | {
                **collected.seconds,
                "time/update": seconds - spent,
                "time/step": seconds,
                "time/elapsed": now.seconds,
                "time/cpu": time.process_time() - cpu,
                "time/samples_per_second": collected.experience.rollout.score.numel() / seconds,
            }
        )

    def _collect(self, step: int) -> Collected:
        """Nothing has changed yet in this step: where the sampler fails, what was learned before is kept."""
        try:
            return self.source.collect(step)
        except SamplerError:
            self._keep()
            raise

    def _corrected(self, advantage: Advantage, rollout: Rollout) -> Advantage:
        """Where another engine sampled, weigh each token for it (`sampling.importance_cap`); a critic's targets stay."""
        if self.importance_cap is None or rollout.logp_sampler is None or not self.algo.needs.on_policy:
            return advantage
        return replace(advantage, advantage=eq.importance_weight(rollout, self.importance_cap) * advantage.advantage)

    def _first(self) -> None:
        """Judge the start policy, then save, so that a run always has a state to go back to."""
        self.state = self.algo.init_state()
        row = self._counts() | self._evaluate()
        best = self._best_now(row)
        self.journal.log(row)
        self._save(best)

    def _keep(self) -> None:
        if self.saved != self.progress.step:
            self._save()

    def _save(self, best: float | None = None) -> None:
        self.journal.save(self.progress.step, self.state_dict(), best=best)
        self.saved = self.progress.step

    def _counts(self) -> dict[str, float]:
        now = self.progress
        return {
            "step": now.step,
            "episode": now.episode,
            "budget/tokens": now.tokens,
            "budget/labels": now.episode,
            "budget/flops": now.flops,
        }

    def _flops(self, collected: Collected) -> float:
        """2 a parameter and token forward, 4 backward (arXiv 2001.08361): generation charged, scoring models, and updates."""
        seen = collected.experience.seen_tokens()
        policy, critic = count(self.learner.policy), count(self.learner.critic)
        scores = int(self.algo.needs.reference) + int(collected.experience.rollout.logp_sampler is not None)
        reference = policy * scores if self.algo.needs.experience == "rollouts" else 0
        return (
            2 * policy * collected.tokens
            + 2 * (reference + critic) * seen
            + 6 * (policy + critic) * seen * self.plan.epochs
        )

    def _evaluate(self) -> dict[str, float]:
        rows = self.evaluate(self.learner, step=self.progress.step, start=self.start_rows)
        self.start_rows = self.start_rows or rows
        self.journal.log_samples(rows)
        return summary(rows, judges=self.evaluate.judges, decides=self.evaluate.plan.decides)

    def _best_now(self, row: Mapping[str, float]) -> float | None:
        """The score, if this row holds an evaluation that is better than all before."""
        score, now = row.get("eval/score"), self.progress
        if score is None or (now.best_score is not None and score <= now.best_score):
            return None
        now.best_score = score
        return score

    def state_dict(self) -> dict[str, Any]:
        return {"learner": self.learner.state_dict(), "algo": self.state, "progress": dict(vars(self.progress))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self.state, self.progress = state["algo"], Progress(**state["progress"])
        self.saved = self.progress.step


def count(model: torch.nn.Module | None) -> int:
    return 0 if model is None else sum(shape(p).numel() for p in model.parameters())


def describe(collected: Collected, advantage: Advantage) -> dict[str, float]:
    """What can be said of a step's experience whatever the algorithm; of pairs, not how they scored long ago."""
    rollout = collected.experience.rollout
    lengths = rollout.mask.sum(-1).to(rollout.logp_old)
    row = {
        "objective/entropy": -(rollout.logp_old * rollout.mask).sum(-1).mean(),
        "completions/mean_length": lengths.mean(),
        "completions/min_length": lengths.min(),
        "completions/max_length": lengths.max(),
        **advantage.metrics,
    }
    if rollout.logp_sampler is not None:
        row |= eq.sampling_metrics(rollout)
    if collected.ended is not None:
        row |= {"objective/scores": rollout.score.mean(), "val/num_eos_tokens": collected.ended}
        if rollout.logp_ref is not None:
            row["objective/kl"] = ((rollout.logp_old - rollout.logp_ref) * rollout.mask).sum(-1).mean()
    return {name: float(value) for name, value in row.items()}
