"""pass@k and maj@k: is one of k completions correct, and is their most frequent answer?

Both are averaged first over the completions of a prompt, then over prompts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import comb
from statistics import fmean
from typing import Any

from align_lab.base.errors import ConfigError
from align_lab.train.intervals import bounded_mean

Row = Mapping[str, Any]


def metrics(rows: Sequence[Row], *, decides: str, ks: Sequence[int]) -> dict[str, float]:
    """`pass@k` and, if answers were extracted, `maj@k`, each with `_low` and `_high`, the ends of its 95 % interval.

    A completion without a score does not count, and a prompt with fewer than k others is left out.
    """
    scored = [row for row in rows if row.get("correct") is not None]
    prompts: dict[int, list[Row]] = {}
    for row in scored:
        prompts.setdefault(row["index"], []).append(row)
    measures: dict[str, tuple[int, Callable[[Sequence[Row], int], float]]] = {f"pass@{k}": (k, _pass) for k in ks}
    if any(decides in row.get("answers", ()) for row in scored):
        measures |= {f"maj@{k}": (k, lambda group, k: _majority(group, decides, k)) for k in ks if k > 1}
    result: dict[str, float] = {}
    for name, (k, measure) in measures.items():
        if values := [measure(group, k) for group in prompts.values() if len(group) >= k]:
            low, high = bounded_mean(values)
            result |= {name: fmean(values), f"{name}_low": low, f"{name}_high": high}
    return result


def _pass(group: Sequence[Row], k: int) -> float:
    return pass_at(len(group), sum(row["correct"] for row in group), k)


def _majority(group: Sequence[Row], decides: str, k: int) -> float:
    answers = [row.get("answers", {}).get(decides) for row in group]
    return majority_at(answers, [row["correct"] for row in group], k)


def pass_at(n: int, correct: float, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): the probability that one of k <= n completions is correct, c of n being it.

    The k are drawn from the n without replacement, so that the estimate is unbiased (arXiv 2107.03374, equation 1).
    """
    return 1 - comb(n - int(correct), k) / comb(n, k)


def majority_at(answers: Sequence[str | None], correct: Sequence[float], k: int) -> float:
    """The share of votes of k completions that are right: mean over the ⌊n/k⌋ disjoint groups of k, k <= n.

    A completion without an answer (None) does not vote. Where several answers are equally frequent, one of them is
    drawn, in expectation; a vote without an answer is wrong. Majority voting: arXiv 2203.11171.
    """
    return fmean(_vote(answers[part], correct[part]) for part in _groups(len(answers), k))


def _groups(n: int, k: int) -> Iterator[slice]:
    return (slice(start, start + k) for start in range(0, n - k + 1, k))


def _vote(answers: Sequence[str | None], correct: Sequence[float]) -> float:
    right = {answer: is_right for answer, is_right in zip(answers, correct, strict=True) if answer is not None}
    if not right:
        return 0.0
    counts = Counter(answer for answer in answers if answer is not None)
    return fmean(right[answer] for answer, count in counts.items() if count == max(counts.values()))


def check(rows: Sequence[Row], metric: str) -> None:
    """Raises ConfigError where a deciding score is neither 0 nor 1, so that it does not say what is correct."""
    for row in rows:
        if row.get("correct") not in (None, 0.0, 1.0):
            raise ConfigError(
                "evaluation.pass_at counts correct completions, so the score that decides must be 0 or 1, and "
                f"{metric} is {row['correct']:g} for {row['completion'][:60]!r}. Let a judge decide whose scores are "
                "0 and 1 (evaluation.judges.NAME, evaluation.metric=eval/NAME), or set evaluation.pass_at=[]"
            )
