"""How often one arm's completion has the higher gold score than another's on the same held-out prompt. Pure numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from align_lab.compare.evaluations import Floats
from align_lab.compare.samples import Kept
from align_lab.compare.values import generator, number

DRAWS = 1000
Scores = dict[int, Floats]  # seed -> gold score of each prompt [P]


def scores(kept: Kept) -> tuple[dict[str, Scores], int]:
    """Gold scores of each arm and seed on the prompts that all of them answered, and how many these are."""
    runs = [rows for arm in kept.values() for rows in arm.values()]
    shared = sorted(set.intersection(*map(set, runs))) if runs else []
    return {
        arm: {
            seed: np.array([rows[prompt]["gold_score"] for prompt in shared], dtype=float) for seed, rows in of.items()
        }
        for arm, of in kept.items()
    }, len(shared)


def wins(kept: Kept, rng_seed: int) -> dict[str, Any]:
    """`wins` of the document: row against column, a tie is a half; with a two-level bootstrap interval.

    x[s, p] = 1[gold of a > gold of b] + ½ 1[equal], for the seeds that both arms share (else for their first, second, ... seeds)
    and all P prompts. Each draw resamples seeds and prompts, as in `statistics.two_level_interval`: the draws are shared by all
    pairs, so that the matrix is one draw of the whole study. What holds of its coverage holds here.
    """
    by_arm, prompts = scores(kept)
    names = list(by_arm)
    matrix: list[list[dict[str, float | None] | None]] = [[None] * len(names) for _ in names]
    tables = {(i, j): _table(by_arm[names[i]], by_arm[names[j]]) for i, j in combinations(range(len(names)), 2)}
    tables = {place: table for place, table in tables.items() if table.size}
    for (i, j), (rate, low, high) in zip(tables, _intervals(list(tables.values()), rng_seed), strict=True):
        matrix[i][j] = {"rate": rate, "low": number(low), "high": number(high)}
        matrix[j][i] = {"rate": 1 - rate, "low": number(1 - high), "high": number(1 - low)}
    return {"arms": names, "matrix": matrix, "prompts": prompts}


def _table(a: Scores, b: Scores) -> Floats:
    """Wins of a over b [S, P]."""
    shared = sorted(a.keys() & b.keys())
    pairs: Sequence[tuple[int, int]] = [(seed, seed) for seed in shared] or list(
        zip(sorted(a), sorted(b), strict=False)
    )
    return np.array([(a[s] > b[t]) + 0.5 * (a[s] == b[t]) for s, t in pairs])


def _intervals(tables: Sequence[Floats], rng_seed: int) -> Iterator[tuple[float, float, float]]:
    """Mean of each table [S, P], all of the same prompts, with its percentile interval; none for one seed or one prompt."""
    if not tables:
        return
    prompts = tables[0].shape[1]
    of_prompts = _counts("prompts", prompts, rng_seed) @ np.concatenate(tables).T  # [DRAWS, seeds of all tables]
    ends = np.cumsum([len(table) for table in tables])
    for table, part in zip(tables, np.split(of_prompts, ends[:-1], axis=1), strict=True):
        n, mean = len(table), float(table.mean())
        if min(n, prompts) < 2:
            yield mean, float("nan"), float("nan")
            continue
        drawn = (_counts("seeds", n, rng_seed) * part).sum(axis=1) / (n * prompts)
        low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
        yield mean, low, high


@lru_cache(maxsize=8)
def _counts(of: str, n: int, rng_seed: int) -> Floats:
    """How often each of n is drawn, in each of DRAWS resamples: multinomial counts [DRAWS, n]."""
    drawn = generator(rng_seed, "wins", of, str(n)).integers(n, size=(DRAWS, n)) + n * np.arange(DRAWS)[:, None]
    return np.bincount(drawn.ravel(), minlength=DRAWS * n).reshape(DRAWS, n).astype(float)
