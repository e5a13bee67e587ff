"""Non-inferiority and equivalence of two sets of runs, by one-sided t intervals. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from align_lab.compare.statistics import Interval, paired_interval, welch_interval
from align_lab.compare.verdict import FEWEST, MOST, seeds_needed, spread_of

Outcome = Literal["holds", "worse", "differs", "diverges", "unknown"]
STATUS: dict[Outcome, int] = {"holds": 0, "worse": 1, "differs": 1, "diverges": 1, "unknown": 4}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """gap: mean of the candidate minus mean of the baseline; each end is a one-sided bound at `confidence`.

    needed: further seeds of each side with which a gap of 0 would be found to hold with 80 % power, MOST + 1 for more
    than MOST; None where it is decided.
    """

    outcome: Outcome
    gap: Interval
    margin: float
    confidence: float
    equivalence: bool
    paired: bool
    needed: int | None

    @property
    def status(self) -> int:
        """The exit status: 0 holds, 1 does not, 4 inconclusive."""
        return STATUS[self.outcome]


def decide(
    candidate: Sequence[float],
    baseline: Sequence[float],
    *,
    margin: float,
    confidence: float = 0.95,
    equivalence: bool = False,
    paired: bool = False,
    diverged: tuple[int, int] = (0, 0),
) -> Decision:
    """Is the candidate's mean at most `margin` below the baseline's (with `equivalence`, within ± margin)?

    It holds where the lower bound of the gap is above -margin, and the upper one below margin where equivalence is
    asked for: two one-sided tests (Schuirmann 1987). It is worse where the upper bound is below -margin. Where scores
    are normal, a candidate that is exactly `margin` worse passes with probability 1 - confidence at most, and one that
    is equal is called worse far less often; docs/gate.md has what was measured for other laws. One seed on either side
    has no bound. paired: both sides hold the same seeds in the same order, and their differences are what counts.
    diverged: how many further runs of the candidate and of the baseline diverged. They have no score, and a candidate
    of which a larger share diverged than of the baseline does not hold, whatever the others score.
    """
    interval = paired_interval if paired else welch_interval
    gap = interval(candidate, baseline, confidence=2 * confidence - 1)
    shares = [lost / (len(side) + lost) for lost, side in zip(diverged, (candidate, baseline), strict=True)]
    outcome = "diverges" if shares[0] > shares[1] else _outcome(gap, margin, equivalence=equivalence)
    needed = _needed(candidate, baseline, margin, confidence, paired=paired) if outcome == "unknown" else None
    return Decision(
        outcome=outcome,
        gap=gap,
        margin=margin,
        confidence=confidence,
        equivalence=equivalence,
        paired=paired,
        needed=needed,
    )


def _outcome(gap: Interval, margin: float, *, equivalence: bool) -> Outcome:
    if math.isnan(gap.low):
        return "unknown"
    if gap.high < -margin:
        return "worse"
    if equivalence and gap.low > margin:
        return "differs"
    return "holds" if gap.low > -margin and (gap.high < margin or not equivalence) else "unknown"


def _needed(
    candidate: Sequence[float], baseline: Sequence[float], margin: float, confidence: float, *, paired: bool
) -> int:
    n = min(len(candidate), len(baseline))
    if n < 2:
        return FEWEST - n
    spread, ratio = spread_of((list(candidate), list(baseline)), paired=paired)
    each = 2 * confidence - 1
    enough = seeds_needed(spread, smallest=margin, confidence=each, ratio=ratio, start=n + 1)
    return enough - n if enough else MOST + 1


def sentence(decision: Decision, candidate: str, baseline: str) -> str:
    """The decision in words, for people."""
    gap, margin = decision.gap, f"{decision.margin:g}"
    bounds = "" if math.isnan(gap.low) else f" [{gap.low:+.3f}, {gap.high:+.3f}]"
    by_seed = " by seed" if decision.paired else ""
    measured = f"(gap {gap.mean:+.3f}{bounds}, one-sided bounds{by_seed} at {decision.confidence:.0%})"
    asked = f"within ±{margin} of" if decision.equivalence else f"at most {margin} worse than"
    if decision.outcome == "holds":
        return f"{candidate} is {asked} {baseline} {measured}"
    if decision.outcome == "diverges":
        return f"{candidate} diverges more often than {baseline}; of the runs that did not {measured}"
    if decision.outcome == "worse":
        return f"{candidate} is more than {margin} worse than {baseline} {measured}"
    if decision.outcome == "differs":
        return f"{candidate} is more than {margin} better than {baseline}, not the same {measured}"
    more = f"about {decision.needed} more" if (decision.needed or 0) <= MOST else f"more than {MOST} more"
    seeds = "seed" if decision.needed == 1 else "seeds"
    return (
        f"inconclusive whether {candidate} is {asked} {baseline}: if they are equal, {more} {seeds} of each "
        f"would show it {measured}"
    )
