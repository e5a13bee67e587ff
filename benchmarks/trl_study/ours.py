"""This project's side: a run, what TRL is given of it, the reward that TRL calls, and the judging of both."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from align_lab.base import registry
from align_lab.base.run_config import RunConfig
from align_lab.base.task import TRAIN
from align_lab.base.world import World
from align_lab.config.evaluation_overrides import evaluated
from align_lab.models.convert import from_hf
from align_lab.models.policy import save_policy
from align_lab.record.console import Screen
from align_lab.record.folder import read_config
from align_lab.record.layout import CONFIG
from align_lab.rollout.prompts import Prompts
from align_lab.run import assembly
from align_lab.run.evaluation import Untrained
from align_lab.run.trained import begun, load_trained
from align_lab.stages.dependencies import stages
from align_lab.stages.store import Artefact, shared
from align_lab.train.draws import draw
from align_lab.train.engines.engine import load_weights
from align_lab.train.evaluation_intervals import measured
from align_lab.train.learner import schedule
from align_lab.train.pair_source import load_pairs
from benchmarks.trl_study.arms import Arm

Numbers = dict[str, float]


def train(arm: Arm, seed: int, steps: int | None, folder: Path) -> tuple[Path, float]:
    """A run under `folder`/runs, and its wall time. A run that is finished is not trained again."""
    overrides = [f"algo={arm.algo}", f"seed={seed}", "evaluation.every=1000000", *arm.ours]
    overrides += [f"train.steps={steps}"] if steps else []
    study = f"trl_study_{hashlib.sha256(' '.join(overrides).encode()).hexdigest()[:8]}"  # it holds this run alone
    command = [sys.executable, "-m", "align_lab", *overrides, f"study={study}"]
    begin = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begin
    (run,) = (path.parent for path in (folder / "runs" / study).glob(f"[!.]*/{CONFIG}"))
    return run, seconds


@dataclass(frozen=True)
class Task:
    """The task of a run: its start policy, prompts in order, pairs in order, reward and judges."""

    run: Path

    @cached_property
    def cfg(self) -> RunConfig:
        """The run's config."""
        values = read_config(self.run)
        registry.scan(tuple(values["plugins"]))
        return evaluated(values, begun(self.run)["choices"], [])

    @cached_property
    def built(self) -> dict[str, Artefact]:
        """Data, start policy, reward model, judges and pairs, as the run used them."""
        store = shared(Screen())
        return {name: store.get(stage) for name, stage in stages(self.cfg).items()}

    @cached_property
    def assembled(self) -> assembly.PolicyEvaluation:
        """The run's evaluator with its reward and judges."""
        return assembly.assemble_evaluation(self.cfg, self.built)

    @cached_property
    def prompts(self) -> Prompts:
        """The training prompts."""
        data, policy = self.cfg.data.load(self.built["data"].path), self.assembled.policy
        return Prompts.of(policy, data.examples(TRAIN), self.cfg.sampling, form=self.cfg.data.prompt_form, split=TRAIN)

    def write_start(self, folder: Path) -> None:
        """The start policy as a Hugging Face folder."""
        folder.mkdir(parents=True, exist_ok=True)
        save_policy(self.assembled.start(), folder)

    def settings(self) -> dict[str, Any]:
        """What the trainer must share: optimizer, the factors of the schedule, sampling."""
        plan, values = self.cfg.train, self.cfg.values
        factors = [schedule(plan, step) for step in range(plan.steps)]
        return {"train": dict(values["train"]), "sampling": dict(values["sampling"]), "factors": factors}

    def experience(self) -> list[dict[str, Any]]:
        """All prompts, or all preference pairs, that the run's steps use, in their order, as tokens."""
        plan = self.cfg.train
        if self.cfg.algo.needs.samples:
            order = draw(len(self.prompts), plan.steps * plan.prompts_per_step, 0, self.cfg.seed).tolist()
            return [{"row": row, "ids": list(self.prompts.ids[row])} for row in order]
        pairs = load_pairs(self.built["pairs"].path, seed=self.cfg.seed).experience
        count = plan.steps * assembly.groups_per_step(self.cfg.algo.needs, plan)
        prompt_width = pairs.ids.shape[-1] - pairs.rollout.mask.shape[-1]
        rows = []
        for row in draw(len(pairs.ids), count, 0, self.cfg.seed).tolist():
            ids, mask = pairs.ids[row], pairs.rollout.mask[row]
            chosen, rejected = (ids[side, prompt_width:][mask[side]].tolist() for side in range(2))
            prompt = ids[0, int(pairs.pad[row, 0]) : prompt_width].tolist()
            rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
        return rows

    def scores(self, rows: Sequence[int], completions: Sequence[Sequence[int]]) -> list[float | None]:
        """The run's reward of completions, given as tokens, with the penalty for those without an end."""
        prompts, eos = self.prompts, self.prompts.eos
        texts = prompts.tokenizer.decode_batch([list(ids) for ids in completions], skip_special_tokens=True)
        checked = self.assembled.evaluate.reward([prompts.examples[row] for row in rows], texts, World())
        penalty = self.cfg.sampling.missing_eos_penalty
        ended = [bool(ids) and ids[-1] == eos for ids in completions]
        return [
            None if value is None else value - penalty * (not end)
            for value, end in zip(checked.values, ended, strict=True)
        ]

    def judged(self, weights: Mapping[str, torch.Tensor]) -> Numbers:
        """The metrics of the run's evaluation, for any weights of its model: the same prompts and random numbers."""
        evaluation = self.assembled
        with closing(evaluation.evaluate.sampler):
            start = evaluation.evaluate(Untrained(evaluation.start().model, 0), step=0)
            load_weights(evaluation.policy.model, weights)
            rows = evaluation.evaluate(Untrained(evaluation.policy.model, 1), step=1, start=start)
        plan = self.cfg.evaluation
        result = measured(rows, start, judges=list(self.cfg.judges), decides=plan.decides, pass_at=plan.pass_at)
        return {name: one["value"] for name, one in result.items() if one["value"] is not None}

    def judge_ours(self) -> Numbers:
        """The run's own policy."""
        return self.judged(load_trained(self.run, "last").policy.model.state_dict())

    def judge_folder(self, folder: Path) -> Numbers:
        """A policy that another trainer wrote as a Hugging Face folder."""
        return self.judged(from_hf(folder).state_dict())
