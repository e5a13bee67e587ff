"""Does what a paper claims hold here? Each claim of a study file by its own interval, corrected for all claims.

A claim at equal KL, or at equal cost, is about the largest value that all runs of its two arms reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from align_lab.base.claim import Claim, read
from align_lab.compare import axes, curves
from align_lab.compare.document import Claimed
from align_lab.compare.runs import Run
from align_lab.compare.statistics import Interval
from align_lab.compare.values import amount, number
from align_lab.compare.verdict import Comparison, verdicts

HELD, FAILED, UNKNOWN = "held", "did not hold", "inconclusive"
CONFIDENCE = 0.95
UNDECLARED = "the study declares no smallest gap that matters"
Groups = Mapping[str, Sequence[Run]]


def decided(
    texts: Sequence[str], groups: Groups, metric: str, smallest: float | None, *, paired: bool = False
) -> list[Claimed]:
    """Every claim; each of m has an interval at 1 - 0.05/m, so that all m hold together with 95 % (Bonferroni).

    smallest: the gap that matters in the metric that decides; without one, no claim of equality is decided. paired:
    seed by seed.
    """
    claims = [read(text) for text in texts]
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(claims))
    return [_decided(claim, groups, claim.metric or metric, confidence, smallest, paired) for claim in claims]


def _decided(
    claim: Claim, groups: Groups, metric: str, confidence: float, smallest: float | None, paired: bool
) -> Claimed:
    known = {arm: [run for run in groups.get(arm, ()) if metric in run.final] for arm in (claim.a, claim.b)}
    if not all(known.values()):
        lacking = " and ".join(arm for arm, each in known.items() if not each)
        return _claimed(claim, metric, None, UNKNOWN, f"no finished run of {lacking}")
    place, scores = _scores(claim, known, metric)
    if set(scores) < set(known):
        why = f"not compared: a run did not record {axes.UNITS[claim.axis]}, or never left its start"
        return _claimed(claim, metric, None, UNKNOWN, why)
    values = {arm: [*each.values()] for arm, each in scores.items()}
    seeds = {arm: [*each] for arm, each in scores.items()}
    (pair,) = verdicts(values, seeds=seeds, paired=paired, confidence=confidence, smallest=smallest)
    gap = pair.gap if pair.a == claim.a else Interval(-pair.gap.mean, -pair.gap.high, -pair.gap.low)
    outcome, why = _outcome(claim, gap, pair, smallest)
    return _claimed(claim, metric, gap, outcome, "; ".join(filter(None, (place, why))))


def _scores(claim: Claim, known: Groups, metric: str) -> tuple[str, dict[str, axes.BySeed]]:
    """Where the arms are compared, in words, empty at the end; and their scores there, for each arm that has any."""
    if not claim.axis:
        return "", {arm: {run.seed: run.final[metric] for run in runs} for arm, runs in known.items()}
    tables = {arm: curves.stacked(runs) for arm, runs in known.items()}
    x, scores = axes.at_equal(
        claim.axis, tables, metric, {arm: [run.seed for run in runs] for arm, runs in known.items()}
    )
    return f"at {amount(x)} {axes.UNITS[claim.axis]}", scores


def _outcome(claim: Claim, gap: Interval, pair: Comparison, smallest: float | None) -> tuple[str, str]:
    """The outcome and its reason; `gap` is a minus b. A metric that does not decide has no gap that matters."""
    margin = 0.0 if claim.metric else smallest or 0.0
    higher, lower = gap.low > 0, gap.high < 0
    inside = margin > 0 and max(-gap.low, gap.high) <= margin
    if claim.sign == ">" and higher:
        return HELD, ""
    if claim.sign == ">=" and gap.low > -margin:
        return HELD, "" if higher else f"not lower by {margin:g}"
    if claim.sign == "=" and inside:
        return HELD, f"within ±{margin:g}"
    if lower or (claim.sign == "=" and higher):
        return FAILED, f"{claim.b if lower else claim.a} is higher"
    if inside:
        return FAILED, f"no difference beyond ±{margin:g}"
    if claim.sign != ">" and not margin:
        return UNKNOWN, UNDECLARED
    more = pair.needed
    return UNKNOWN, "" if claim.metric or more is None else pair.words.removeprefix("not enough seeds: ")


def _claimed(claim: Claim, metric: str, gap: Interval | None, outcome: str, why: str) -> Claimed:
    return {
        "claim": claim.text,
        "a": claim.a,
        "b": claim.b,
        "metric": metric,
        "gap": number(gap.mean) if gap else None,
        "low": number(gap.low) if gap else None,
        "high": number(gap.high) if gap else None,
        "outcome": outcome,
        "why": why,
    }
