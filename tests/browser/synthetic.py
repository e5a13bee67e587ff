"""Studies of any size from written run folders: their numbers are drawn, nothing here is a result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from align_lab.base import design
from align_lab.compare.analysis import analyze
from align_lab.compare.report import write
from align_lab.record.layout import StudyLayout
from tests.compare.folders import write_run

ALGOS = (
    "dr_grpo", "grpo", "rloo", "ppo_max", "reinforce_pp", "ppo", "dpo", "online_dpo", "raft", "remax", "gspo",
    "reinforce_pp_baseline",
)  # fmt: skip
PROMPTS = 6


def study(
    folder: Path, arms: int, seeds: int, *, smallest: float | None = 0.1, contrasts: Sequence[Sequence[str]] = ()
) -> Path:
    """Run folders of so many arms and seeds: each next arm is 0.08 worse, with a spread of 0.1 over seeds."""
    rng = np.random.default_rng(arms * 100 + seeds)
    for place, algo in enumerate(ALGOS[:arms]):
        for seed in range(seeds):
            end = 0.9 - 0.08 * place + float(rng.normal(0, 0.1))
            scores = (end + rng.normal(0, 0.3, PROMPTS)).tolist()
            write_run(
                folder,
                algo,
                seed,
                (-0.05, 0.7 * end, end),
                samples=[score - float(np.mean(scores)) + end for score in scores],
                eval_entropy=[3.1, 2.5, 2.0 + place / 10],
                eval_distinct_2=[0.9, 0.8, 0.75],
            )
    declared = StudyLayout(folder).expected_runs
    declared.parent.mkdir(parents=True)
    asked = {"smallest": smallest, "contrasts": [list(pair) for pair in contrasts]}
    question = "Which of these algorithms writes the reviews that people would rate highest, at equal episodes?"
    declared.write_text(json.dumps({"runs": {}, "question": question, **asked}))
    return folder


def report(folder: Path, arms: int, seeds: int, **asked) -> Path:
    """The written page of such a study."""
    made = study(folder, arms, seeds, **asked)
    return write(analyze([made]), made, figures=False)[0]


LEVELS = {
    "baseline": ["none", "moving_average", "leave_one_out", "group_mean"],
    "normalization": ["none", "group", "batch"],
    "kl": ["sequence_reward", "none", "k2_loss", "k3_loss"],
    "aggregation": ["token_mean", "sequence_mean", "sequence_sum", "constant"],
}


def factorial(
    folder: Path, *, seeds: int = 3, full: bool = False, smallest: float | None = 0.1, vary: Sequence[str] = ()
) -> Path:
    """A study of four choices, or of two with all combinations: without a KL penalty a score is 0.3 higher."""
    levels = dict(list(LEVELS.items())[1:3]) if full else LEVELS
    counts = [len(each) for each in levels.values()]
    places = design.full(counts) if full else design.fraction(counts) or []
    cells = [[each[place] for each, place in zip(levels.values(), cell, strict=True)] for cell in places]
    rng = np.random.default_rng(4)
    for cell in cells:
        for seed in range(seeds):
            end = 0.8 + 0.3 * (cell[list(levels).index("kl")] == "none") + float(rng.normal(0, 0.05))
            config = {"arm": " + ".join(cell), **({"vary": list(vary)} if vary else {})} | {
                f"algo.{name}": value for name, value in zip(levels, cell, strict=True)
            }
            write_run(folder, "policy_gradient", seed, (0.0, end / 2, end), config=config)
    declared = StudyLayout(folder).expected_runs
    declared.parent.mkdir(parents=True)
    asked = {"factors": levels, "cells": {" + ".join(cell): cell for cell in cells}, "smallest": smallest}
    declared.write_text(json.dumps({"runs": {}, "question": "Which choice of a policy gradient matters?", **asked}))
    return folder


def factorial_report(folder: Path, **asked) -> Path:
    """The written page of such a study."""
    made = factorial(folder, **asked)
    return write(analyze([made]), made, figures=False)[0]
