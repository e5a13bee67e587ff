"""Completions of runs' last evaluations: those of all arms side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from align_lab.compare import answers_index
from align_lab.compare.answers import Answers, Row
from align_lab.compare.runs import Run
from align_lab.compare.values import number

PROMPTS = 12  # shown side by side
RUNS = 120  # of all arms together: reading more would take longer than all the rest

Kept = Mapping[str, Mapping[int, Answers]]  # arm -> seed -> what it answered in the last evaluation


def of_arms(arms: Mapping[str, Sequence[Run]]) -> Kept:
    """What the first seeds of each arm have kept of their last evaluation; without those that kept nothing."""
    first = {arm: runs[: most(len(arms))] for arm, runs in arms.items()}
    found = _by_place([run for runs in first.values() for run in runs])
    return {arm: {run.seed: found[run.place] for run in runs if found[run.place]} for arm, runs in first.items()}


def _by_place(runs: Sequence[Run]) -> dict[str, Answers]:
    """Those of one study together, because a large one keeps them in its index."""
    studies: dict[str, list[Run]] = {}
    for run in runs:
        studies.setdefault(os.path.dirname(run.place), []).append(run)
    return {
        place: answers
        for folder, members in studies.items()
        for place, answers in answers_index.of_runs(Path(folder), members).items()
    }


def most(arms: int) -> int:
    """Runs of an arm whose samples are read."""
    return max(2, RUNS // max(1, arms))


def side_by_side(kept: Kept) -> list[dict[str, Any]]:
    """`samples` of the document: the same prompts in every arm, of the first seed that all arms share, else of each arm's first."""
    arms = {arm: runs for arm, runs in kept.items() if runs}
    if not arms:
        return []
    shared = set.intersection(*(set(runs) for runs in arms.values()))
    chosen = {arm: min(shared) if shared else min(runs) for arm, runs in arms.items()}
    rows = {arm: runs[chosen[arm]] for arm, runs in arms.items()}
    prompts = sorted(set.intersection(*(set(of_arm) for of_arm in rows.values())))
    picked = np.unique(np.linspace(0, len(prompts) - 1, PROMPTS).round().astype(int)) if prompts else []
    return [
        {
            "index": index,
            "prompt": prompt,
            "completions": [_shown(arm, chosen[arm], rows[arm][index, prompt]) for arm in arms],
        }
        for index, prompt in (prompts[i] for i in picked)
    ]


def _shown(arm: str, seed: int, row: Row) -> dict[str, Any]:
    ended = row.get("ended")
    return {
        "arm": arm,
        "seed": seed,
        "completion": str(row.get("completion", "")),
        "gold_score": number(row.get("gold_score")),
        "score": number(row.get("score")),
        "ended": None if ended is None else bool(ended),
    }
