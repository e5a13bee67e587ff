"""What the looks of a sequential study have decided so far, and which arms need further seeds.

Everything follows from the values and the plan, so that a study which was killed, or which is read years later,
gives the same answer: the looks are taken again, one after the other, each with the seeds that it was to see.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from align_lab.base.contrast import Contrast
from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.asked import pairs_of
from align_lab.compare.statistics import Interval, welch_interval

Outcome = Literal["better", "equal", "hopeless", "stopped", "most", "open"]


@dataclass(frozen=True, kw_only=True)
class PairLook:
    """Arm a against arm b at its last look. `gap` is the repeated interval of mean(a) - mean(b).

    better: the interval excludes 0. equal: it is inside ± smallest. hopeless: the power left is too small. stopped: one
    of the arms gets no further seeds, because another arm has beaten it. most: no seeds are left. open: it goes on.
    """

    a: str
    b: str
    seeds: int
    gap: Interval
    outcome: Outcome
    power_left: float

    @property
    def better(self) -> str | None:
        """The arm shown to be better, if one is."""
        return None if self.outcome != "better" else self.a if self.gap.mean > 0 else self.b

    @property
    def worse(self) -> str | None:
        """The arm shown to be worse, if one is."""
        return {self.a: self.b, self.b: self.a}.get(self.better or "")


@dataclass(frozen=True, kw_only=True)
class Looks:
    """The state of a study: each pair at its last look, the looks taken, and what comes next."""

    pairs: tuple[PairLook, ...]
    taken: int
    wanted: Mapping[str, int]  # arm -> seeds that the next look needs; empty: the study has ended
    missing: Mapping[str, tuple[int, ...]]  # arm -> its seeds without a value, for which the next look waits

    @property
    def ended(self) -> bool:
        """Does no arm need further seeds?"""
        return not self.wanted

    def seeds(self, arm: str) -> int:
        """Seeds of an arm that its last look has seen."""
        return max((pair.seeds for pair in self.pairs if arm in (pair.a, pair.b)), default=0)


def take(
    values: Mapping[str, Mapping[int, float]],
    plan: SeedPlan,
    levels: Sequence[float],
    *,
    control: str = "",
    contrasts: Sequence[Contrast] = (),
) -> Looks:
    """Take every look for which all values are there. `values`: arm -> seed -> value, with seeds from 0 on.

    Where contrasts are declared, each is followed to its own end, also where another arm has beaten one of the two.

    A look is never taken with a part of its seeds: which runs finish first could depend on how they go.
    """
    open_pairs = pairs_of(list(values), control, contrasts)
    state: dict[tuple[str, str], PairLook] = {}
    for number, (n, level) in enumerate(zip(plan.looks, levels, strict=True)):
        arms = {arm for pair in open_pairs for arm in pair}
        wanted = {arm: n for arm in values if arm in arms}
        missing = {arm: tuple(seed for seed in range(n) if not _is_there(values[arm], seed)) for arm in wanted}
        missing = {arm: seeds for arm, seeds in missing.items() if seeds}
        if not wanted or missing:
            return Looks(pairs=tuple(state.values()), taken=number, wanted=wanted, missing=missing)
        seen = {arm: [values[arm][seed] for seed in range(n)] for arm in wanted}
        now = {pair: _look(pair, seen, plan, level, levels[-1]) for pair in open_pairs}
        beaten = set[str | None]() if contrasts else {pair.worse for pair in now.values()} - {None}
        state |= {pair: _ended(look, beaten, n == plan.most) for pair, look in now.items()}
        open_pairs = [pair for pair in open_pairs if state[pair].outcome == "open"]
    return Looks(pairs=tuple(state.values()), taken=len(plan.looks), wanted={}, missing={})


def _is_there(values: Mapping[int, float], seed: int) -> bool:
    return seed in values and math.isfinite(values[seed])


def _look(
    pair: tuple[str, str], seen: Mapping[str, Sequence[float]], plan: SeedPlan, level: float, last: float
) -> PairLook:
    a, b = (seen[arm] for arm in pair)
    gap = welch_interval(a, b, confidence=1 - level) if level > 0 else _unbounded(a, b)
    power = power_left(a, b, plan, last)
    outcome: Outcome = "open"
    if gap.low > 0 or gap.high < 0:
        outcome = "better"
    elif max(-gap.low, gap.high) <= plan.smallest:
        outcome = "equal"
    elif power < plan.hopeless:
        outcome = "hopeless"
    return PairLook(a=pair[0], b=pair[1], seeds=len(a), gap=gap, outcome=outcome, power_left=power)


def _unbounded(a: Sequence[float], b: Sequence[float]) -> Interval:
    return Interval(float(np.mean(a) - np.mean(b)), -math.inf, math.inf)


def _ended(look: PairLook, beaten: set[str | None], last: bool) -> PairLook:
    """An open pair ends with an arm that another one has beaten, and with the last seeds."""
    if look.outcome != "open" or not (last or {look.a, look.b} & beaten):
        return look
    return replace(look, outcome="stopped" if {look.a, look.b} & beaten else "most")


def power_left(a: Sequence[float], b: Sequence[float], plan: SeedPlan, level: float) -> float:
    """Probability that the last look shows a difference, if the true gap is `smallest` in the better direction.

    With n of N seeds, gap d and s² = s_a² + s_b² so far, the last gap is normal with mean (n d + (N - n) δ) / N and
    variance (N - n) s² / N². It is shown where it is beyond z s / √N, z the quantile of the last look's level. This is
    the conditional power of Lan, Simon and Halperin 1982, the larger one of δ = ± smallest. s counts as known, and the
    looks in between are left out, which changes little at the few per cent for which it is asked.
    """
    n, most = len(a), plan.most
    d, s = float(np.mean(a) - np.mean(b)), float(np.sqrt(np.var(a, ddof=1) + np.var(b, ddof=1)))
    if n >= most or s == 0:
        return float(s == 0 and d != 0)
    limit, spread = -float(ndtri(level / 2)) * s / math.sqrt(most), math.sqrt(most - n) * s / most
    ends = [(n * d + (most - n) * gap) / most for gap in (plan.smallest, -plan.smallest)]
    return max(float(ndtr((end - limit) / spread) + ndtr((-end - limit) / spread)) for end in ends)
