"""Studies of any size from written run folders: their numbers are drawn, nothing here is a result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

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
