"""What the looks of a sequential study have decided so far, and which arms need further seeds.

Everything follows from the values and the plan, so that a study which was killed, or which is read years later,
gives the same answer: the looks are taken again, one after the other, each with the seeds that it was to see.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from align_lab.base.contrast import Contrast
from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.asked import pairs_of
from align_lab.compare.statistics import Interval, paired_interval, welch_interval

Outcome = Literal["better", "equal", "hopeless", "stopped", "most", "open"]
Pair = tuple[str, str]
RULES = 2
"""How looks decide, as a plan names it, so that a study is read by the rules that it was begun with.

1: a pair is given up for good when the power left to see `smallest` is below `hopeless`, and a control that is beaten
ends its other pairs. 2: only when that to see the present estimate is so as well; a pair that was given up is looked at
again where both arms get further seeds for other pairs; every pair with a control is followed to its own end.
"""


@dataclass(frozen=True, kw_only=True)
class PairLook:
    """Arm a against arm b at its last look. `gap` is the repeated interval of mean(a) - mean(b).

    better: the interval excludes 0. equal: it is inside ± smallest. hopeless: the power left is too small. stopped: one
    of the arms gets no further seeds, because another arm has beaten it. most: no seeds are left. open: it goes on.
    power_left: to see `smallest`, or the present estimate where that is more.
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
    """The state of a study: each pair at its last look, the looks taken, and what comes next.

    counted: arm -> seed of a run that diverged -> the score with which the arm's last look counts it. diverged: those
    of `missing` that did, where the plan does not count them, or cannot.
    """

    pairs: tuple[PairLook, ...]
    taken: int
    wanted: Mapping[str, int]  # arm -> seeds that the next look needs; empty: the study has ended
    missing: Mapping[str, tuple[int, ...]]  # arm -> its seeds without a value, for which the next look waits
    counted: Mapping[str, Mapping[int, float]] = field(default_factory=dict[str, Mapping[int, float]])
    diverged: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])

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
    starts: Mapping[str, Mapping[int, float]] | None = None,
    rules: int = RULES,
) -> Looks:
    """Take every look for which all values are there. `values`: arm -> seed -> value, with seeds from 0 on.

    `starts`: arm -> seed -> what a run that diverged scored before it was trained (nan where that is not known); the
    plan says whether it counts. Where contrasts are declared, or a control, each pair is followed to its own end, also
    where another arm has beaten one of the two.

    A look is never taken with a part of its seeds: which runs finish first could depend on how they go.
    """
    pairs = pairs_of(list(values), control, contrasts)
    to_the_end = bool(contrasts) or (rules > 1 and bool(control))
    ended = starts or {}
    lost = ended if plan.diverged == "worst" else {}
    state: dict[Pair, PairLook] = {}
    counted: dict[str, Mapping[int, float]] = {}
    for number, (n, level) in enumerate(zip(plan.looks, levels, strict=True)):
        arms = {arm for pair in pairs if _goes_on(state.get(pair)) for arm in pair}
        wanted = {arm: n for arm in values if arm in arms}
        seen, missing = _seen(values, lost, wanted, n)
        if not wanted or missing:
            waits = {"wanted": wanted, "missing": missing, "diverged": _both(missing, ended)}
            return Looks(pairs=tuple(state.values()), taken=number, counted=counted, **waits)
        counted |= {arm: {seed: seen[arm][seed] for seed in seeds} for arm, seeds in _imputed(values, wanted).items()}
        now = {
            pair: _look(pair, seen, plan, level, levels[-1], rules)
            for pair in pairs
            if _is_looked_at(state.get(pair), pair, arms, rules)
        }
        beaten = set[str | None]() if to_the_end else {pair.worse for pair in now.values()} - {None}
        state |= {pair: _ended(look, beaten, n == plan.most) for pair, look in now.items()}
    return Looks(pairs=tuple(state.values()), taken=len(plan.looks), wanted={}, missing={}, counted=counted)


def _imputed(values: Mapping[str, Mapping[int, float]], wanted: Mapping[str, int]) -> dict[str, list[int]]:
    """The seeds that a look which was taken saw without a value of their own: those of runs that diverged."""
    lacking = {arm: [seed for seed in range(n) if not _is_there(values[arm], seed)] for arm, n in wanted.items()}
    return {arm: seeds for arm, seeds in lacking.items() if seeds}


def _both(
    missing: Mapping[str, Collection[int]], ended: Mapping[str, Mapping[int, float]]
) -> dict[str, tuple[int, ...]]:
    found = {arm: tuple(seed for seed in seeds if seed in ended.get(arm, {})) for arm, seeds in missing.items()}
    return {arm: seeds for arm, seeds in found.items() if seeds}


def _goes_on(look: PairLook | None) -> bool:
    return look is None or look.outcome == "open"


def _is_looked_at(look: PairLook | None, pair: Pair, arms: Collection[str], rules: int) -> bool:
    """A pair that goes on, and one that was given up and whose arms both get further seeds for other pairs."""
    again = rules > 1 and look is not None and look.outcome == "hopeless" and {*pair} <= {*arms}
    return _goes_on(look) or again


def _seen(
    values: Mapping[str, Mapping[int, float]],
    starts: Mapping[str, Mapping[int, float]],
    wanted: Mapping[str, int],
    n: int,
) -> tuple[dict[str, list[float]], dict[str, tuple[int, ...]]]:
    """The values of the first n seeds of the arms that are wanted, and the seeds for which the look waits.

    A run that diverged has the lowest of all values of the look, and of what it scored before it was trained: no run
    that ended is called worse than it. Where every run of the look has diverged there is nothing to compare with.
    """
    known = {arm: {seed: values[arm][seed] for seed in range(n) if _is_there(values[arm], seed)} for arm in wanted}
    lost = {arm: {seed: starts.get(arm, {})[seed] for seed in range(n) if seed in starts.get(arm, {})} for arm in known}
    finished = [value for of_arm in known.values() for value in of_arm.values()]
    if not finished:
        lost = {arm: dict[int, float]() for arm in lost}
    missing = {arm: tuple(seed for seed in range(n) if seed not in {*known[arm], *lost[arm]}) for arm in known}
    begun = [value for of_arm in lost.values() for value in of_arm.values() if math.isfinite(value)]
    worst = min([*finished, *begun], default=math.nan)
    seen = {arm: [known[arm].get(seed, worst) for seed in range(n)] for arm in known}
    return seen, {arm: seeds for arm, seeds in missing.items() if seeds}


def _is_there(values: Mapping[int, float], seed: int) -> bool:
    return seed in values and math.isfinite(values[seed])


def _look(
    pair: Pair, seen: Mapping[str, Sequence[float]], plan: SeedPlan, level: float, last: float, rules: int
) -> PairLook:
    a, b = (seen[arm] for arm in pair)
    interval = paired_interval if plan.paired else welch_interval
    gap = interval(a, b, confidence=1 - level) if level > 0 else _unbounded(a, b)
    gaps = (plan.smallest, gap.mean) if rules > 1 else (plan.smallest,)
    power = max(power_left(a, b, plan, last, gap=size) for size in gaps)
    outcome: Outcome = "open"
    if gap.low > 0 or gap.high < 0:
        outcome = "better"
    elif max(-gap.low, gap.high) <= plan.smallest:
        outcome = "equal"
    elif power < plan.hopeless and len(a) < plan.most:
        outcome = "hopeless"
    return PairLook(a=pair[0], b=pair[1], seeds=len(a), gap=gap, outcome=outcome, power_left=power)


def _unbounded(a: Sequence[float], b: Sequence[float]) -> Interval:
    return Interval(float(np.mean(a) - np.mean(b)), -math.inf, math.inf)


def _ended(look: PairLook, beaten: set[str | None], last: bool) -> PairLook:
    """An open pair ends with an arm that another one has beaten, and with the last seeds."""
    if look.outcome != "open" or not (last or {look.a, look.b} & beaten):
        return look
    return replace(look, outcome="stopped" if {look.a, look.b} & beaten else "most")


def power_left(a: Sequence[float], b: Sequence[float], plan: SeedPlan, level: float, *, gap: float) -> float:
    """Probability that the last look shows a difference, if the true gap is `gap`, in the direction that makes it more.

    With n of N seeds, gap d and s² = s_a² + s_b² so far (of the differences where the plan is paired), the last gap is
    normal with mean (n d + (N - n) δ) / N and variance (N - n) s² / N². It is shown where it is beyond z s / √N, z the
    quantile of the last look's level. This is the conditional power of Lan, Simon and Halperin 1982, the larger one of
    δ = ± gap. s counts as known, and the looks in between are left out, which changes little at the few per cent for
    which it is asked.
    """
    n, most, x, y = len(a), plan.most, np.asarray(a), np.asarray(b)
    variance = np.var(x - y, ddof=1) if plan.paired else np.var(x, ddof=1) + np.var(y, ddof=1)
    d, s = float(np.mean(x) - np.mean(y)), float(np.sqrt(variance))
    if n >= most or s == 0:
        return float(s == 0 and d != 0)
    limit, spread = -float(ndtri(level / 2)) * s / math.sqrt(most), math.sqrt(most - n) * s / most
    ends = [(n * d + (most - n) * size) / most for size in (gap, -gap)]
    return max(float(ndtr((end - limit) / spread) + ndtr((-end - limit) / spread)) for end in ends)
