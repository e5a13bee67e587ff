"""Completions of a run's last evaluation, read from the end of samples.jsonl; and those of all arms side by side."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from align_lab.compare.evaluations import COLUMN
from align_lab.compare.runs import Run
from align_lab.compare.values import number

BLOCK = 1 << 16
PROMPTS = 12  # shown side by side
RUNS = 120  # of all arms together: reading more would take longer than all the rest

Prompt = tuple[int, str]
Row = Mapping[str, Any]
Kept = Mapping[str, Mapping[int, Mapping[Prompt, Row]]]  # arm -> seed -> prompt -> its row of the last evaluation


def of_arms(arms: Mapping[str, Sequence[Run]]) -> Kept:
    """What the first seeds of each arm have kept of their last evaluation; without those that kept nothing."""
    found = {arm: {run.seed: last(run) for run in runs[: most(len(arms))]} for arm, runs in arms.items()}
    return {arm: {seed: rows for seed, rows in runs.items() if rows} for arm, runs in found.items()}


def most(arms: int) -> int:
    """Runs of an arm whose samples are read."""
    return max(2, RUNS // max(1, arms))


def last(run: Run) -> dict[Prompt, Row]:
    """Prompt -> row of the last evaluation; empty where the run has kept none of that step."""
    try:
        rows = of_step(run.path / "samples.jsonl", int(run.rows[-1, COLUMN["step"]]))
        found = {(int(row["index"]), str(row["prompt"])): row for row in rows if math.isfinite(row["gold_score"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return dict(sorted(found.items()))


def of_step(path: Path, step: int) -> list[Row]:
    """The rows of the last step of a JSON-lines file, if it is this one. A torn last line is not a row."""
    mine = re.compile(rb'"step":\s*%d(\.0)?\s*[,}]' % step)
    lines = _backwards(path)
    newest = [line for line in islice(lines, 1) if _is_whole(line)]
    return json.loads(b"[%s]" % b",".join(takewhile(mine.search, chain(newest, lines))))


def _is_whole(line: bytes) -> bool:
    try:
        return bool(json.loads(line))
    except ValueError:
        return False


def _backwards(path: Path) -> Iterator[bytes]:
    """Lines that hold something, the last first, from blocks: a long file is not read whole."""
    with path.open("rb") as file:
        position, rest = file.seek(0, 2), b""
        while position:
            size = min(BLOCK, position)
            position -= size
            file.seek(position)
            rest, *lines = (file.read(size) + rest).split(b"\n")
            yield from (line for line in reversed(lines) if line)
        if rest:
            yield rest


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
