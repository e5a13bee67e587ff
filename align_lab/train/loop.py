"""The training loop, one for all algorithms: collect experience, compute advantages, update, log, evaluate, checkpoint.

It never depends on an algorithm's name: an algorithm declares what it needs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.errors import DataError, RewardError, SamplerError, Stopped
from align_lab.base.hyperparameters import Train
from align_lab.base.types import Advantage, Rollout, State
from align_lab.base.world import World
from align_lab.models.language_model import LanguageModel
from align_lab.train import flops, skipped
from align_lab.train.evaluate import Evaluator
from align_lab.train.evaluation_metrics import mean_of, summary
from align_lab.train.experience import Collected, ExperienceSource
from align_lab.train.experience_metrics import experience_metrics
from align_lab.train.learner import Learner
from align_lab.train.minibatch import Pretrain, StepContext
from align_lab.train.scoring import Meter
from align_lab.train.update import update


class Recorder(Protocol):
    """Where the loop writes its metrics, samples and checkpoints."""

    def log(self, row: Mapping[str, float]) -> None:
        """Write the metrics of one step."""
        ...

    def log_samples(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows of one evaluation."""
        ...

    def save(self, step: int, state: dict[str, Any], *, best: float | None = None) -> None:
        """Save a checkpoint. `best`: the score, if it is the best so far."""
        ...


@dataclass
class Progress:
    """Counters of a run. All of them are checkpointed."""

    step: int = 0
    episode: int = 0
    tokens: int = 0
    labels: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    best_score: float | None = None
    skipped: int = 0  # steps in a row, until now, that made no update
    equal: int = 0  # steps in a row, until now, in which the scores of every group were equal


@dataclass(kw_only=True)
class Loop:
    """The parts of a run, assembled by `align_lab.run.assembly`."""

    algo: Algorithm
    learner: Learner
    source: ExperienceSource
    evaluate: Evaluator
    develop: Evaluator | None = None  # its score says which checkpoint is the best; None: that of `evaluate`
    journal: Recorder
    seed: int
    groups: int  # of a step: prompts, or preference pairs
    evaluate_every: int
    save_every: int
    importance_cap: float | None = None  # of the weights where others than the trainer sampled; None: no correction
    pretrain: Callable[[int], Pretrain] | None = None
    reference: LanguageModel | None = None  # of the updates; the source of experience has its own
    start_rows: Sequence[Mapping[str, Any]] = ()  # the start policy's evaluation
    should_stop: Callable[[], bool] = lambda: False
    world: World = World()
    state: State = ()
    progress: Progress = field(default_factory=Progress)
    meter: Meter = field(default_factory=Meter)  # that of the reward and of all judges
    saved_step: int = -1  # the step of the newest checkpoint
    no_update: str = "the reason is in the run's output"  # why the newest step that made no update made none
    unlogged: dict[str, float] | None = None  # the row of a finished step whose evaluation has failed

    @property
    def plan(self) -> Train:
        """The hyper-parameters of the training, with the micro-batch size that is in use."""
        return self.learner.plan

    @property
    def best_by(self) -> str:
        """The metric by which a checkpoint is the best."""
        return "development/score" if self.develop else "eval/score"

    def run(self) -> None:
        """Train to the last step or the end of the budget.

        Raises, after saving, Stopped when a stop was requested, and RewardError where no step makes an update any more.
        """
        if self.saved_step < 0:
            self._evaluate_start_policy()
        if self.unlogged is not None:
            self._finish(self.unlogged)
        while not self.done():
            if self.should_stop():
                self._save_if_needed()
                raise Stopped(self._saved())
            if self.progress.skipped >= skipped.MOST:
                self.progress.skipped = 0  # so that the same command tries again
                self._save()
                raise skipped.stopped(self.progress.step, self.no_update)
            self._finish(self.advance())

    def _saved(self) -> str:
        """What is saved when a run stops between two steps."""
        if not self.progress.step:
            return "stopped before the first step; the start policy's evaluation is saved; the same command goes on"
        return f"stopped after step {self.progress.step}, saved; the same command goes on"

    def _finish(self, row: dict[str, float]) -> None:
        """Evaluate, log and save after a step where it is time for that. If the evaluation fails, save before it."""
        last = self.done()
        if last or self.progress.step % self.evaluate_every == 0:
            spent = dict(self.meter.totals)
            try:
                row = row | self._evaluate()
            except (RewardError, SamplerError):
                self.unlogged, self.meter.totals = row, spent  # the evaluation will be made once more, as a whole
                self._save()
                raise
        repeated, self.unlogged = self.unlogged is not None, None
        self.journal.log(row)
        best = self._new_best(row)
        if last or repeated or best is not None or self.progress.step % self.save_every == 0:
            self._save(best)

    def close(self) -> None:
        """Release the sampler's processes and memory."""
        self.evaluate.sampler.close()

    def done(self) -> bool:
        """Has the run reached its last step or the end of its budget?"""
        progress = self.progress
        return self.plan.ended(
            progress.step, episodes=progress.episode, tokens=progress.tokens, seconds=progress.seconds
        )

    def advance(self) -> dict[str, float]:
        """One step: experience, advantages, updates. Returns its row of metrics."""
        start, cpu, step = time.perf_counter(), time.process_time(), self.progress.step
        collected = self._collect(step)
        learned = self._learn(step, collected) if len(collected.experience.ids) else self._skipped(step, collected)
        seconds = self.world.max(time.perf_counter() - start)  # the same in all processes, so that all stop together
        self._count(collected, seconds)
        self._notice_equal_scores(collected)
        return (
            self._counters()
            | dict(collected.metrics)
            | learned
            | {
                **collected.seconds,
                "time/update": seconds - sum(collected.seconds.values()),
                "time/step": seconds,
                "time/elapsed": self.progress.seconds,
                "time/cpu": time.process_time() - cpu,
                "time/samples_per_second": collected.experience.rollout.score.numel() / seconds,
            }
        )

    def _learn(self, step: int, collected: Collected) -> dict[str, float]:
        """Compute advantages and update. Returns the metrics of both."""
        self.progress.skipped = 0
        with torch.no_grad():
            advantage, self.state = self.algo.advantages(collected.experience.rollout, self.state)
            advantage = self._importance_weighted(advantage, collected.experience.rollout)
        critic = self.algo.needs.critic
        context = StepContext(
            step=step,
            seed=self.seed,
            world=self.world,
            pretrain=self.pretrain(step) if self.pretrain else None,
            policy_from=critic.pretrain_steps if critic else 0,
            reference=self.reference,
        )
        losses = update(self.learner, self.algo, collected.experience, advantage, context)
        self.progress.flops += flops.of_updates(self.learner, self.algo.needs, collected, context.pretrain)
        rate = {"lr": self.learner.rate(number=step, policy_from=context.policy_from)}
        return experience_metrics(collected, advantage) | losses | rate

    def _skipped(self, step: int, collected: Collected) -> dict[str, float]:
        """Say that a step makes no update, because no group is left to learn from. It is charged all the same."""
        self.progress.skipped += 1
        self.no_update = skipped.reason(collected)
        if self.world.rank == 0:
            print(f"step {step + 1} makes no update: {self.no_update}", file=sys.stderr)
        return {}

    def _notice_equal_scores(self, collected: Collected) -> None:
        """Say, each time after so many such steps in a row, that the scores teach nothing."""
        progress = self.progress
        progress.equal = progress.equal + 1 if skipped.equal(collected.metrics, self.algo.needs) else 0
        if progress.equal and progress.equal % skipped.MOST == 0 and not progress.skipped and self.world.rank == 0:
            print(skipped.said_of_equal(progress.step), file=sys.stderr)

    def _collect(self, step: int) -> Collected:
        """The experience of a step. If sampler or reward fails, save first: nothing has changed yet in this step."""
        try:
            return self.source.collect(step, groups=self.groups)
        except (RewardError, SamplerError):
            self._save_if_needed()
            raise

    def _count(self, collected: Collected, seconds: float) -> None:
        """Advance the counters by one step."""
        progress = self.progress
        progress.step += 1
        progress.episode += collected.episodes
        progress.tokens += collected.tokens
        progress.labels += collected.labels
        self.meter.add(collected.scoring)
        progress.seconds += seconds
        progress.flops += flops.of_experience(self.learner, self.algo.needs, collected)

    def _importance_weighted(self, advantage: Advantage, rollout: Rollout) -> Advantage:
        """Where another engine or older weights sampled, multiply each token's advantage by its importance weight,
        capped at `sampling.importance_cap`; the critic's targets stay."""
        if self.importance_cap is None or rollout.logp_sampler is None or not self.algo.needs.on_policy:
            return advantage
        return replace(advantage, advantage=eq.importance_weight(rollout, self.importance_cap) * advantage.advantage)

    def _evaluate_start_policy(self) -> None:
        """Evaluate the start policy, then save, so that a run always has a checkpoint to return to."""
        self.state = self.algo.init_state()
        row = self._counters() | self._evaluate()
        best = self._new_best(row)
        self.journal.log(row)
        self._save(best)

    def _save_if_needed(self) -> None:
        if self.saved_step != self.progress.step:
            self._save()

    def _save(self, best: float | None = None) -> None:
        self.journal.save(self.progress.step, self.state_dict(), best=best)
        self.saved_step = self.progress.step

    def _counters(self) -> dict[str, float]:
        progress = self.progress
        return {
            "step": progress.step,
            "episode": progress.episode,
            "budget/tokens": progress.tokens,
            "budget/labels": progress.labels,
            "budget/flops": progress.flops,
        }

    def _evaluate(self) -> dict[str, float]:
        rows = self.evaluate(self.learner, step=self.progress.step, start=self.start_rows)
        self.start_rows = self.start_rows or rows
        self.journal.log_samples(rows)
        plan = self.evaluate.plan
        evaluated = summary(rows, judges=self.evaluate.judges, decides=plan.decides, pass_at=plan.pass_at)
        return evaluated | self._develop()

    def _develop(self) -> dict[str, float]:
        """The score on the development set, where there is one and the reward has an opinion."""
        if self.develop is None:
            return {}
        score = mean_of(self.develop(self.learner, step=self.progress.step), "score")
        return {} if score is None else {"development/score": score}

    def _new_best(self, row: Mapping[str, float]) -> float | None:
        """The score, if this row holds one that is better than all earlier ones."""
        score, progress = row.get(self.best_by), self.progress
        if score is None or (progress.best_score is not None and score <= progress.best_score):
            return None
        progress.best_score = score
        return score

    def state_dict(self) -> dict[str, Any]:
        """The state to save in a checkpoint: models, optimizers, the algorithm's state, counters."""
        state = {"learner": self.learner.state_dict(), "algo": self.state, "progress": dict(vars(self.progress))}
        state["source"] = self.source.state_dict()
        state |= {"scoring": dict(self.meter.totals)} if self.meter.totals else {}
        return state if self.unlogged is None else state | {"unlogged": dict(self.unlogged)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        if "source" not in state:
            raise DataError(
                "the checkpoint is of an earlier version, whose prompts and completions were drawn with other random "
                "numbers: remove the run's folder to start again, or continue it with the version that began it"
            )
        self.learner.load_state_dict(state["learner"])
        self.state, self.progress = state["algo"], Progress(**state["progress"])
        self.source.load_state_dict(state["source"])
        self.unlogged = state.get("unlogged")
        self.meter.totals = dict(state.get("scoring", {}))
        self.saved_step = self.progress.step
