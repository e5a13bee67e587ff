"""How many completions a pass without gradient takes: as many as need no more memory than training needs anyway."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from align_lab.preflight import terms
from align_lab.preflight.workload import Workload
from align_lab.train.micro_batch import sizes

SLACK = 1.25  # where a single completion needs more than training: what may be added to it for the sake of speed


def scoring_rows(x: Workload, bound: float) -> int:
    """Completions of which log-probabilities or values are computed together, in at most `bound` bytes."""
    return _most(sizes(max(x.rows, x.evaluated)), lambda rows: terms.scoring(x, rows), bound)


def evaluation_rows(x: Workload, bound: float, need: Callable[[int], float]) -> int:
    """Completions of whole prompts that an evaluation samples together, in at most `bound` of the bytes `need`."""
    prompts = max(1, x.evaluated // x.evaluated_samples)
    return _most([count * x.evaluated_samples for count in sizes(prompts)], need, bound)


def _most(candidates: Sequence[int], need: Callable[[int], float], bound: float) -> int:
    """The first candidate, of descending ones, within the bound, or of little more than the last one needs."""
    limit = max(bound, SLACK * need(candidates[-1]))
    return next(rows for rows in candidates if need(rows) <= limit)
