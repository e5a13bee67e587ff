"""Which gap a plan can see: known from its looks and levels before the first run, in standard deviations of a seed."""

from __future__ import annotations

import math

from scipy.special import stdtrit

from align_lab.compare.sequential.plan_file import WrittenPlan

POWER = 0.8


def visible(written: WrittenPlan) -> float:
    """The gap of one pair that the last look shows with 80 % power; earlier looks add hardly anything to it.

    In standard deviations of one seed of an arm, or of the differences at one seed where the plan is paired: the sum of
    the t quantiles of the level and of the power, times the standard error of the gap.
    """
    plan = written.plan
    freedom, variance = (plan.most - 1, 1) if plan.paired else (2 * (plan.most - 1), 2)
    quantiles = stdtrit(freedom, 1 - written.levels[-1] / 2) + stdtrit(freedom, POWER)
    return float(quantiles) * math.sqrt(variance / plan.most)


def sentence(written: WrittenPlan) -> str:
    """What the plan can see, and how much seeds may vary for it to see the smallest gap that matters."""
    gap, plan = visible(written), written.plan
    of_what = "the differences between two arms at one seed" if plan.paired else "one seed"
    return (
        f"With {plan.most} seeds a gap of {gap:.1f} standard deviations of {of_what} is seen with {POWER:.0%} power: "
        f"{plan.smallest:g} where these are {plan.smallest / gap:.2g} or less. If they are more, raise seeds.most or "
        "smallest"
    )


def in_units(written: WrittenPlan, spread: float) -> str:
    """What the plan can see in units of the metric, where one seed of an arm has this standard deviation.

    Differences at one seed have √2 times it, where arms have nothing in common, and less where they have.
    """
    plan = written.plan
    gap = visible(written) * spread * (math.sqrt(2) if plan.paired else 1)
    most = "at most " if plan.paired else ""
    seen = (
        f"The trials vary over the tuning seeds with a standard deviation of {spread:.2g} on the development set: "
        f"where the study's seeds do so too, a gap of {most}about {gap:.2g} is seen with {POWER:.0%} power"
    )
    if gap <= plan.smallest:
        return f"{seen}, and {plan.smallest:g} matters"
    return (
        f"{seen}. What matters is {plan.smallest:g}, which {'may be' if plan.paired else 'is'} too small to be shown: "
        "raise seeds.most or smallest, under another study=NAME"
    )
