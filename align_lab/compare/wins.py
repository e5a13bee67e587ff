"""How often one arm's completion has the higher score than another's on the same held-out prompt. Pure numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np

from align_lab.compare.answers import Answers, Prompt
from align_lab.compare.document import Rate, Wins
from align_lab.compare.evaluations import Floats
from align_lab.compare.samples import ByArm
from align_lab.compare.values import generator, number

DRAWS = 1000
Scores = dict[int, Floats]  # seed -> score of each prompt [P]


def scores(answers: ByArm) -> tuple[dict[str, Scores], int]:
    """Deciding scores of each arm and seed on the prompts that all of them answered, and how many these are."""
    lists = {id(one.prompts): one.prompts for of_arm in answers.values() for one in of_arm.values()}
    shared = sorted(set.intersection(*map(set, lists.values()))) if lists else []
    by_arm = {arm: {seed: _of(one, shared) for seed, one in of_arm.items()} for arm, of_arm in answers.items()}
    return by_arm, len(shared)


def _of(answers: Answers, prompts: Sequence[Prompt]) -> Floats:
    if answers.prompts == prompts:
        return answers.scores
    return answers.scores[[answers.places[prompt] for prompt in prompts]]


def wins(answers: ByArm, rng_seed: int) -> Wins:
    """`wins` of the document: row against column, a tie is a half; with a two-level bootstrap interval.

    x[s, p] = 1[score of a > score of b] + ½ 1[equal], for the seeds that both arms share (else for their first, second,
    ... seeds) and all P prompts. Each draw resamples seeds and prompts, as in `statistics.two_level_interval`: the
    draws are shared by all pairs, so that the matrix is one draw of the whole study. What holds of its coverage holds
    here. Without arms where no two of them answered a prompt.
    """
    by_arm, prompts = scores(answers)
    names = list(by_arm)
    matrix: list[list[Rate | None]] = [[None] * len(names) for _ in names]
    tables = {(i, j): _table(by_arm[names[i]], by_arm[names[j]]) for i, j in combinations(range(len(names)), 2)}
    tables = {place: table for place, table in tables.items() if table.size}
    if not tables:
        return {"arms": [], "matrix": [], "prompts": prompts, "seeds": 0}
    for (i, j), (rate, low, high) in zip(tables, _intervals(list(tables.values()), rng_seed), strict=True):
        matrix[i][j] = {"rate": rate, "low": number(low), "high": number(high)}
        matrix[j][i] = {"rate": 1 - rate, "low": number(1 - high), "high": number(1 - low)}
    return {"arms": names, "matrix": matrix, "prompts": prompts, "seeds": max(map(len, by_arm.values()))}


def _table(a: Scores, b: Scores) -> Floats:
    """Wins of a over b [S, P]."""
    shared = sorted(a.keys() & b.keys())
    by_place = list(zip(sorted(a), sorted(b), strict=False))
    pairs = [(seed, seed) for seed in shared] or by_place
    return np.array([(a[s] > b[t]) + 0.5 * (a[s] == b[t]) for s, t in pairs])


def _intervals(tables: Sequence[Floats], rng_seed: int) -> Iterator[tuple[float, float, float]]:
    """Mean of each table [S, P], all of the same prompts, with its percentile interval; none for one seed or one
    prompt.
    """
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
        resampled = (_counts("seeds", n, rng_seed) * part).sum(axis=1) / (n * prompts)
        low, high = np.quantile(resampled, [0.025, 0.975]).tolist()
        yield mean, low, high


@lru_cache(maxsize=8)
def _counts(of: str, n: int, rng_seed: int) -> Floats:
    """How often each of n is drawn, in each of DRAWS resamples: multinomial counts [DRAWS, n]."""
    places = generator(rng_seed, "wins", of, str(n)).integers(n, size=(DRAWS, n)) + n * np.arange(DRAWS)[:, None]
    return np.bincount(places.ravel(), minlength=DRAWS * n).reshape(DRAWS, n).astype(float)
