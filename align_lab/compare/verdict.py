"""What a pair of arms may say: intervals of every pair, corrected for their number, and the words they carry."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from align_lab.base.contrast import Contrast
from align_lab.compare.asked import pairs_of
from align_lab.compare.statistics import Interval, paired_interval, paired_p, welch_interval, welch_p

Samples = tuple[list[float], list[float]]

NO_DIFFERENCE = "no difference shown"
EQUAL = "equal to within ±"
NOT_ENOUGH = "not enough seeds: "
NONE_SHARED = f"{NOT_ENOUGH}verdicts are paired by seed, and the two arms have no seed in common"
POWER = 0.8
FEWEST = 3  # seeds to ask for where there is no interval at all
MOST = 1000  # more seeds than this are not counted, only called more


@dataclass(frozen=True)
class Comparison:
    """Arm a against arm b: the corrected interval of their gap, its p-value, and the words that it carries.

    p is corrected as the interval is, so p < 1 - confidence exactly where the interval excludes 0; nan without an
    interval. needed: further seeds an arm; MOST + 1 stands for more than MOST; None where the seeds suffice.
    """

    a: str
    b: str
    gap: Interval
    p: float
    words: str
    needed: int | None

    @property
    def better(self) -> str | None:
        """The arm shown to be better, if one is."""
        return self.a if self.gap.low > 0 else self.b if self.gap.high < 0 else None

    @property
    def worse(self) -> str | None:
        """The arm shown to be worse, if one is."""
        return {self.a: self.b, self.b: self.a}.get(self.better or "")


def verdicts(
    arms: Mapping[str, Sequence[float]],
    *,
    seeds: Mapping[str, Sequence[int]] | None = None,
    paired: bool = False,
    confidence: float = 0.95,
    smallest: float | None = None,
    control: str = "",
    contrasts: Sequence[Contrast] = (),
) -> list[Comparison]:
    """Every pair of arms, with a `control` every pair with it, or these `contrasts` alone, the better mean first.

    Each of the m pairs is decided by an interval at 1 - (1 - confidence)/m, so that all m hold together with
    `confidence` (Bonferroni). The words of a pair are `A > B` where the interval excludes 0. Otherwise they depend on
    `smallest`, the gap that matters: `equal to within ±smallest` where the whole interval lies inside (two one-sided
    tests, Schuirmann 1987, at half the level that their usual form has), else `not enough seeds: ...`. Without it
    they are `no difference shown`, which claims nothing. paired compares the seeds that both arms have (needs `seeds`).

    Measured for normal arms (tests/compare/test_coverage.py): one pair, uncorrected, covers 94.1 to 96.4 % at 3 seeds,
    94.7 to 95.5 % at 5, 94.9 to 95.2 % at 10, for sds equal or up to 1 : 10 (at 2 seeds 92 to 98 %). Of 5 equal arms
    some pair is called different in 2.2, 3.0, 3.7 % of studies of 3, 5, 10 seeds, and in at most 4.4 % when their sds
    differ up to 1 : 20. Other laws: at most 4.2 % for lognormal arms and for arms of which one run in five collapses,
    but 21 % at 3 seeds (1.8 % at 5, 5.5 % at 10) for arms whose runs work or fail half and half: 3 runs then often
    agree by chance. Look at every seed. Arms whose values do not vary at all are taken at their word: any gap between
    them counts.
    """
    values = _by_seed(arms, seeds=seeds, paired=paired)
    if not (0 < confidence < 1 and (smallest is None or smallest > 0)):
        raise ValueError(f"needs 0 < confidence < 1 and smallest > 0 (got {confidence} and {smallest})")
    pairs = pairs_of(ranked(arms), control, contrasts)
    test = _Test(paired=paired, pairs=len(pairs) or 1, confidence=confidence, smallest=smallest)
    return [_compare(a, b, values, test) for a, b in pairs]


def method(*, paired: bool = False, control: str = "", contrasts: int = 0, pairs: int = 0) -> str:
    """How pairs are decided, for people. contrasts: the number of pairs that were declared; pairs: of all, if known."""
    intervals = "paired t intervals by seed" if paired else "Welch t intervals"
    declared = f"the {contrasts} declared contrasts" if contrasts > 1 else "one declared contrast"
    if contrasts == 1 or (pairs == 1 and not contrasts):
        return f"{intervals}, of {declared if contrasts else 'the one pair'}"
    every = declared if contrasts else f"all pairs{f' with {control}' if control else ''}"
    return f"{intervals}, Bonferroni-corrected over {every}"


def ranked(arms: Mapping[str, Sequence[float]]) -> list[str]:
    """Names of the arms, the highest mean first; by name where means are equal."""
    return sorted(arms, key=lambda name: (-float(np.mean(arms[name])), name))


def seeds_needed(spread: float, *, smallest: float, confidence: float, ratio: float, start: int = 2) -> int | None:
    """Smallest n ≥ start with (t_ν(1 - α/2) + t_ν(POWER)) · spread/√n ≤ smallest, ν = ratio · (n - 1), α = 1 -
    confidence.

    spread/√n is the standard error of the gap, so that a true gap of `smallest` is shown with 80 % power, and the
    half-width is below it. None where none of MOST numbers from start on will do. Source: Sokal and Rohlf, Biometry,
    sample size of a t test. The spread is an estimate: the sd of 3 normal seeds lies between 0.16 and 1.92 times the
    true one (95 %).
    """
    n = np.arange(start, start + MOST)
    freedom = ratio * (n - 1)
    half = (stdtrit(freedom, (1 + confidence) / 2) + stdtrit(freedom, POWER)) * spread / np.sqrt(n)
    enough = n[half <= smallest]
    return int(enough[0]) if len(enough) else None


@dataclass(frozen=True, kw_only=True)
class _Test:
    """How every one of the pairs is decided."""

    paired: bool
    pairs: int
    confidence: float  # that all pairs hold together
    smallest: float | None

    @property
    def each(self) -> float:
        return 1 - (1 - self.confidence) / self.pairs


def _compare(a: str, b: str, values: Mapping[str, Mapping[int, float]], test: _Test) -> Comparison:
    if test.paired and not values[a].keys() & values[b].keys():
        gap = float(np.mean([*values[a].values()]) - np.mean([*values[b].values()]))
        return Comparison(a, b, Interval(gap, math.nan, math.nan), math.nan, NONE_SHARED, FEWEST)
    samples = _samples(values[a], values[b], paired=test.paired)
    interval, p_value = (paired_interval, paired_p) if test.paired else (welch_interval, welch_p)
    gap = interval(*samples, confidence=test.each)
    p = float(np.minimum(1.0, test.pairs * p_value(*samples)))
    words, needed = _words(a, b, gap, samples, test)
    return Comparison(a, b, gap, p, words, needed)


def _words(a: str, b: str, gap: Interval, samples: Samples, test: _Test) -> tuple[str, int | None]:
    """What the corrected interval carries, and how many seeds an arm it lacks."""
    n = min(len(x) for x in samples)
    if math.isnan(gap.low):
        return f"{NOT_ENOUGH}one seed gives no interval, at least {FEWEST - n} more an arm would be needed", FEWEST - n
    return in_words(a, b, gap, test.smallest, lambda: _more(samples, n, test))


def _more(samples: Samples, n: int, test: _Test) -> int:
    assert test.smallest is not None
    spread, ratio = spread_of(samples, paired=test.paired)
    return further_seeds(n, spread, smallest=test.smallest, confidence=test.each, ratio=ratio)


def further_seeds(n: int, spread: float, *, smallest: float, confidence: float, ratio: float) -> int:
    """How many more than n seeds show `smallest` (`seeds_needed`); MOST + 1 for more than MOST."""
    enough = seeds_needed(spread, smallest=smallest, confidence=confidence, ratio=ratio, start=n + 1)
    return enough - n if enough else MOST + 1


def in_words(
    a: str, b: str, gap: Interval, smallest: float | None, more: Callable[[], int], *, each: str = "an arm"
) -> tuple[str, int | None]:
    """What the interval of a gap of a minus b carries, and how many seeds `each` it lacks, which `more` tells."""
    if gap.low > 0 or gap.high < 0:
        return (f"{a} > {b}" if gap.low > 0 else f"{b} > {a}"), None
    if smallest is None:
        return NO_DIFFERENCE, None
    if max(-gap.low, gap.high) <= smallest:
        return f"{EQUAL}{smallest:g}", None
    lacking = more()
    many = f"about {lacking}" if lacking <= MOST else f"more than {MOST}"
    return f"{NOT_ENOUGH}{many} more {each} would be needed to see {smallest:g}", lacking


def spread_of(samples: Samples, *, paired: bool) -> tuple[float, float]:
    """sd of a gap of one seed an arm, and its degrees of freedom per n - 1 (Welch's for equal n, 1 to 2; 1 when
    paired).
    """
    x, y = samples
    if paired:
        return float(np.subtract(x, y).std(ddof=1)), 1.0
    vx, vy = np.var(x, ddof=1), np.var(y, ddof=1)
    return float(np.sqrt(vx + vy)), float((vx + vy) ** 2 / (vx**2 + vy**2))


def _by_seed(
    arms: Mapping[str, Sequence[float]], *, seeds: Mapping[str, Sequence[int]] | None, paired: bool
) -> dict[str, dict[int, float]]:
    """Arm -> seed -> value, or what is wrong with them."""
    if paired and seeds is None:
        raise ValueError("paired=True needs seeds={arm: [seed, ...]}: values are paired by seed, not by position")
    for arm, values in arms.items():
        _check(arm, values, _numbers(arm, values, seeds))
    return {arm: dict(zip(_numbers(arm, values, seeds), values, strict=True)) for arm, values in arms.items()}


def _numbers(arm: str, values: Sequence[float], seeds: Mapping[str, Sequence[int]] | None) -> list[int]:
    """The seeds of these values; where none are given, their places."""
    return list(range(len(values))) if seeds is None else list(seeds.get(arm, ()))


def _check(arm: str, values: Sequence[float], numbers: Sequence[int]) -> None:
    if not len(values):
        raise ValueError(f"arm {arm!r} has no values: leave it out")
    if len(numbers) != len(values) or len(set(numbers)) < len(numbers):
        raise ValueError(f"arm {arm!r} has {len(values)} values and seeds {numbers}: needs one seed a value, each once")
    bad = [seed for seed, value in zip(numbers, values, strict=True) if not math.isfinite(value)]
    if bad:
        raise ValueError(f"arm {arm!r} has no finite value at {bad}: leave those seeds out, and say so")


def _samples(first: Mapping[int, float], second: Mapping[int, float], *, paired: bool) -> Samples:
    """The values to compare, from which the first is taken off: equal values then have exactly no spread."""
    if paired:
        shared = [seed for seed in first if seed in second]
        first, second = ({seed: one[seed] for seed in shared} for one in (first, second))
    origin = next(iter(first.values()))
    return [value - origin for value in first.values()], [value - origin for value in second.values()]
