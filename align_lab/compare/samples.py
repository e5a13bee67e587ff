"""Completions of runs' last evaluations: those of all arms side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from align_lab.compare import answers_index
from align_lab.compare.answers import Answer, Answers, Beginning, Prompt, beginning
from align_lab.compare.document import Completion, Sample
from align_lab.compare.runs import Run
from align_lab.compare.values import number

PROMPTS = 12  # shown side by side
RUNS = 120  # of all arms together: reading more would take longer than all the rest

ByArm = Mapping[str, Mapping[int, Answers]]  # arm -> seed -> what it answered in the last evaluation


def of_arms(arms: Mapping[str, Sequence[Run]]) -> dict[str, dict[int, Answers]]:
    """What the first seeds of each arm have kept of their last evaluation; without those that kept nothing."""
    first = {arm: runs[: most(len(arms))] for arm, runs in arms.items()}
    answers = _by_place([run for runs in first.values() for run in runs])
    return {arm: {run.seed: answers[run.place] for run in runs if answers[run.place]} for arm, runs in first.items()}


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


def agreement(answers: ByArm) -> float | None:
    """Correlation of the score that decides and the one that is optimized, over the completions of a run.

    The mean over arms, of the seed that `side_by_side` shows; None where no run has kept both scores of three prompts.
    """
    arms = {arm: by_seed for arm, by_seed in answers.items() if by_seed}
    seeds = _seeds(arms) if arms else {}
    found = [_correlation(arms[arm][seed]) for arm, seed in seeds.items()]
    known = [each for each in found if math.isfinite(each)]
    return sum(known) / len(known) if known else None


def _correlation(answers: Answers) -> float:
    """NaN for fewer than three completions with both scores, and where one of the scores is the same in all."""
    rows = [(row["decides"], row["score"]) for row in answers.values() if row["score"] is not None]
    both = np.array(rows, dtype=float)
    if len(both) < 3 or not both.std(axis=0).all():
        return math.nan
    return float(np.corrcoef(both.T)[0, 1])


def side_by_side(answers: ByArm, runs: Mapping[str, Sequence[Run]]) -> list[Sample]:
    """`samples` of the document: the same prompts in every arm, of the first seed that all arms share, else of each
    arm's first; and what the start policy of the first of these runs that kept it wrote.
    """
    arms = {arm: by_seed for arm, by_seed in answers.items() if by_seed}
    if not arms:
        return []
    seeds = _seeds(arms)
    rows = {arm: by_seed[seeds[arm]] for arm, by_seed in arms.items()}
    starts = _starts([run for arm in arms for run in runs.get(arm, ()) if run.seed == seeds[arm]])
    return [
        {
            "index": prompt[0],
            "prompt": prompt[1],
            **_start(starts.get(prompt)),
            "completions": [_completion(arm, seeds[arm], rows[arm][prompt]) for arm in arms],
        }
        for prompt in _spread(sorted(set.intersection(*map(set, rows.values()))))
    ]


class _Start(TypedDict):
    start: str | None
    start_decides: float | None
    start_score: float | None


def _start(of: Beginning | None) -> _Start:
    if of is None:
        return {"start": None, "start_decides": None, "start_score": None}
    return {"start": of["completion"], "start_decides": of["decides"], "start_score": of["score"]}


def _starts(runs: Sequence[Run]) -> dict[Prompt, Beginning]:
    """Prompt -> completion before training, of the first run that has kept any. All start from one policy."""
    return next((texts for run in runs if (texts := beginning(run))), {})


def _seeds(arms: ByArm) -> dict[str, int]:
    """Which seed of each arm is shown."""
    shared = set.intersection(*(set(by_seed) for by_seed in arms.values()))
    return {arm: min(shared or by_seed) for arm, by_seed in arms.items()}


def _spread(prompts: Sequence[Prompt]) -> list[Prompt]:
    """PROMPTS of them, from the first to the last."""
    if not prompts:
        return []
    return [prompts[i] for i in np.unique(np.linspace(0, len(prompts) - 1, PROMPTS).round().astype(int))]


def _completion(arm: str, seed: int, answer: Answer) -> Completion:
    return {
        "arm": arm,
        "seed": seed,
        "completion": answer["completion"],
        "decides": number(answer["decides"]),
        "score": answer["score"],
        "ended": answer["ended"],
    }
