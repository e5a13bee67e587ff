"""How often the interval of the best of k trials holds, by simulation.

`python -m tests.compare.tuning_table` prints the table of docs/tuning.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from align_lab.compare.tuning import expected

COUNTS = (1, 2, 4, 8, 12)
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
LAWS: Mapping[str, Draw] = {  # of the trials' quality, with mean 0 and a standard deviation of 1
    "normal": lambda rng, shape: rng.normal(size=shape),
    "long lower tail": lambda rng, shape: 1 - rng.exponential(size=shape),
    "half of the trials fail": lambda rng, shape: rng.choice([-1.0, 1.0], size=shape),
    "all equal": lambda rng, shape: np.zeros(shape),
    "long upper tail": lambda rng, shape: rng.exponential(size=shape) - 1,
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A law of the trials, and standard deviations of a run and of what a seed does to all trials of an arm alike."""

    law: str = "normal"
    shared: float = 0.0
    fresh: int = 0  # seeds of the study, with which the chosen recipe ran again
    trials: int = 12
    seeds: int = 2
    run: float = 0.5


def truth(case: Case, k: int, rng: np.random.Generator, draws: int = 200_000) -> float:
    """What the best of k, chosen by the mean over all tuning seeds, scores with other seeds, by drawing it."""
    quality = LAWS[case.law](rng, (draws, k))
    seen = quality + case.run / np.sqrt(case.seeds) * rng.normal(size=quality.shape)
    return float(np.take_along_axis(quality, seen.argmax(1)[:, None], 1).mean())


def tunings(case: Case, rng: np.random.Generator, rounds: int) -> Iterator[tuple[np.ndarray, list[float]]]:
    """(scores [n, S], scores of the recipe with fresh seeds) of simulated tunings of one arm."""
    for _ in range(rounds):
        shared = case.shared * rng.normal(size=case.seeds + case.fresh)
        noise = case.run * rng.normal(size=(case.trials, case.seeds))
        quality = LAWS[case.law](rng, (case.trials, 1))
        fresh = shared[case.seeds :] + case.run * rng.normal(size=case.fresh)
        yield quality + shared[: case.seeds] + noise, fresh.tolist()


def coverage(case: Case, rounds: int, counts: tuple[int, ...] = COUNTS) -> dict[int, tuple[float, float]]:
    """k -> (share of the tunings whose interval holds what is expected, mean error of the estimate)."""
    rng = np.random.default_rng(0)
    expected_of = {k: truth(case, k, rng) for k in counts}
    held, error = dict.fromkeys(counts, 0.0), dict.fromkeys(counts, 0.0)
    for scores, fresh in tunings(case, rng, rounds):
        for k in counts:
            mean, low, high = expected.interval(scores, k, fresh)
            held[k] += low <= expected_of[k] <= high
            error[k] += mean - expected_of[k]
    return {k: (held[k] / rounds, error[k] / rounds) for k in counts}


CASES = [
    *(Case(law=law) for law in LAWS),
    Case(shared=0.5),
    Case(shared=0.5, fresh=6),
    Case(shared=1.0),
    Case(shared=1.0, fresh=6),
    Case(law="long lower tail", shared=0.5),
    Case(law="long lower tail", shared=0.5, fresh=6),
    Case(run=1.0),
]

if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for case in CASES:
        measured = coverage(case, rounds)
        moved = f"{case.shared:g}, {case.fresh} fresh" if case.shared else "0"
        cells = " | ".join(f"{100 * share:.0f} %" for share, _ in measured.values())
        errors = ", ".join(f"{error:+.2f}" for _, error in measured.values())
        print(f"| {case.law} | {case.run:g} | {moved} | {cells} |  errors of the estimate: {errors}", flush=True)
