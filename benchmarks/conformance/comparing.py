"""Which quantity differs first, and whether that is what the table declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isnan
from typing import Any

import torch

from benchmarks.conformance.cases import QUANTITIES, Case

MOST = 1e-6  # of the difference; for values above 1, relative to the largest


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one case."""

    case: Case
    differences: Mapping[str, float]  # quantity -> largest difference, in the order of comparison

    @property
    def first(self) -> str:
        """The first quantity that differs; "equal" if none does."""
        return next((name for name, gap in self.differences.items() if not gap <= MOST), "equal")

    @property
    def holds(self) -> bool:
        """Is it what was declared?"""
        return self.first == self.case.expected

    @property
    def largest(self) -> float:
        """The largest difference of all quantities."""
        return max(self.differences.values())


def compare(case: Case, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Outcome:
    """Compare the quantities that both sides have, in the order of QUANTITIES."""
    names = [name for name in QUANTITIES if name in ours and name in theirs and name not in case.left_out]
    return Outcome(case=case, differences={name: gap(ours[name], theirs[name]) for name in names})


def gap(ours: Any, theirs: Any) -> float:
    """The largest difference, over max(1, the largest value); infinite where shapes differ, or with NaN."""
    a, b = (torch.as_tensor(x, dtype=torch.float64) for x in (ours, theirs))
    if a.shape != b.shape:
        return inf
    largest = float((a - b).abs().max() / max(1.0, float(b.abs().max())))
    return inf if isnan(largest) else largest
