"""The metrics of an evaluation, from its rows: means, standard error over prompts, pass@k, diversity of the texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from align_lab.train.pass_at import metrics as pass_metrics

Row = Mapping[str, Any]


def summary(
    rows: Sequence[Row], *, judges: Iterable[str], decides: str, pass_at: Sequence[int] = ()
) -> dict[str, float]:
    """The `eval/` metrics of an evaluation's rows; those of every set after the first are named `eval/SET/...`."""
    names = ["score", *judges]
    metrics: dict[str, float] = {}
    for number, (name, members) in enumerate(by_set(rows).items()):
        prefix = f"eval/{name}/" if number else "eval/"
        of_set = _set_metrics(members, names, decides) | pass_metrics(members, decides=decides, ks=pass_at)
        metrics |= {f"{prefix}{key}": value for key, value in of_set.items()}
    return metrics


def by_set(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each evaluation set; under "" those of the only one."""
    sets: dict[str, list[Row]] = {}
    for row in rows:
        sets.setdefault(row.get("set", ""), []).append(row)
    return sets


def _set_metrics(rows: Sequence[Row], score_columns: Sequence[str], decides: str) -> dict[str, float]:
    """Means over the rows that have a value; diversity of the texts; standard error of the deciding score."""
    mean = {name: mean_of(rows, name) for name in (*score_columns, "kl", "length", "ended", "win", "entropy_sum")}
    texts = [row["completion"] for row in rows]
    metrics = {
        **{name: mean[name] for name in score_columns},
        "kl": mean["kl"],
        "win_rate": mean["win"],
        "length": mean["length"],
        "ended": mean["ended"],
        "entropy": (mean["entropy_sum"] or 0.0) / max(mean["length"] or 0.0, 1e-9),
        "distinct_2": distinct(texts, n=2),
        "repetition": repetition(texts),
        f"{decides}_se": standard_error(by_prompt(rows, decides)) if mean[decides] is not None else None,
        **_without_score(rows, score_columns),
        **_parts(rows, score_columns),
    }
    return {name: value for name, value in metrics.items() if value is not None}


def _without_score(rows: Sequence[Row], score_columns: Sequence[str]) -> dict[str, float]:
    """The shares of completions without a score: `NAME_failed` and `NAME_abstained`, where there are any."""
    shares: dict[str, float] = {}
    for name in score_columns:
        failed = sum(name in row.get("failures", ()) for row in rows)
        without = sum(row[name] is None for row in rows)
        for what, count in (("failed", failed), ("abstained", without - failed)):
            if count:
                shares[f"{name}_{what}"] = count / len(rows)
    return shares


def _parts(rows: Sequence[Row], score_columns: Sequence[str]) -> dict[str, float | None]:
    """The mean of each part of a score, and the share of completions whose answer could not be read: `NAME_unread`."""
    values: dict[str, list[float | None]] = {}
    for row in rows:
        for name in score_columns:
            for part, value in row.get("parts", {}).get(name, {}).items():
                values.setdefault(f"{name}_{part}", []).append(value)
            if name in row.get("answers", ()):
                values.setdefault(f"{name}_unread", []).append(float(row["answers"][name] is None))
    return {key: _mean([value for value in column if value is not None]) for key, column in values.items()}


def mean_of(rows: Sequence[Row], name: str) -> float | None:
    """The mean of a column over the rows that have a value; None if none has."""
    return _mean([row[name] for row in rows if row[name] is not None])


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def prompt_means(rows: Sequence[Row], name: str) -> dict[int, float]:
    """Each prompt's mean of a column, because the completions of one prompt are not independent draws.

    Rows without a value are left out.
    """
    values: dict[int, list[float]] = {}
    for row in rows:
        if row[name] is not None:
            values.setdefault(row["index"], []).append(row[name])
    return {index: math.fsum(group) / len(group) for index, group in values.items()}


def by_prompt(rows: Sequence[Row], name: str) -> Tensor:
    """`prompt_means` as a tensor [P]."""
    return torch.tensor(list(prompt_means(rows, name).values()), dtype=torch.float64)


def standard_error(values: Tensor) -> float | None:
    """Standard error of the mean; None for a single value, which says nothing about the spread."""
    return float(values.std() / len(values) ** 0.5) if len(values) > 1 else None


def distinct(texts: Sequence[str], *, n: int) -> float:
    """Distinct word n-grams of all texts over all their n-grams (arXiv 1510.03055); 0 where there are none."""
    grams = [tuple(words[i : i + n]) for words in map(str.split, texts) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repetition(texts: Sequence[str]) -> float:
    """Share of words that repeat one of the four words before them; 0 where there are no words."""
    repeats = [word in words[max(0, i - 4) : i] for words in map(str.split, texts) for i, word in enumerate(words)]
    return sum(repeats) / len(repeats) if repeats else 0.0
