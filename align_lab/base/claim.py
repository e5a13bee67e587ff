"""What a paper says of two arms, as a study file declares it before it runs: `rloo_4 > ppo`, `a < b in eval/kl`,
`a > b at equal kl`."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from align_lab.base.errors import ConfigError, near, short

AXES = ("kl", "tokens", "labels", "seconds", "flops")  # where the study's budget does not make them equal
FORM = re.compile(
    r"(?P<a>\S+) +(?P<sign>>=|<=|>|<|=) +(?P<b>\S+)(?: +in +(?P<metric>\S+))?(?: +at +equal +(?P<axis>\S+))?"
)
WORDS = (
    "'A > B', 'A >= B', 'A = B' with names of arms, ' in METRIC' where it is not the metric that decides, and "
    f"' at equal AXIS' ({', '.join(AXES)}) where it is not at the end"
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`a` against `b` in `metric`, "" for the one that decides. sign: ">" higher, ">=" not lower, "=" no difference.

    axis: one of AXES: the two are compared at the largest value of it that all of their runs reach; "": at their ends.
    """

    text: str
    a: str
    sign: str
    b: str
    metric: str
    axis: str = ""


def read(text: Any) -> Claim:
    """Raises ConfigError for what is no claim."""
    match = FORM.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ConfigError(f"claims: {short(repr(text))} is not understood. Write {WORDS}")
    a, sign, b, metric, axis = match["a"], match["sign"], match["b"], match["metric"] or "", match["axis"] or ""
    if sign in ("<", "<="):
        a, sign, b = b, sign.replace("<", ">"), a
    if a == b:
        raise ConfigError(f"claims: {text!r} compares an arm with itself")
    if axis and axis not in AXES:
        raise ConfigError(f"claims: {text!r} names the axis {axis}: {near(axis, AXES)}")
    if metric and sign != ">":
        raise ConfigError(
            f"claims: {text!r}: only the metric that decides has a gap worth seeing. In {metric}, write A > B or A < B"
        )
    return Claim(text=text.strip(), a=a, sign=sign, b=b, metric=metric, axis=axis)


def check(claim: Claim, arms: Collection[str], metrics: Collection[str], smallest: float | None) -> None:
    """Raises ConfigError for a claim about arms, or a metric of an evaluation, that the study does not have, and for
    one of equality where no gap is declared that matters.
    """
    if claim.sign != ">" and smallest is None:
        raise ConfigError(
            f"claims: {claim.text!r} says that a gap does not matter, and the study does not say which gap would: "
            "declare it, in units of the metric that decides, for example smallest=0.1"
        )
    for name in (claim.a, claim.b):
        if name not in arms:
            raise ConfigError(f"claims: {claim.text!r} names the arm {name!r}, which is not there: {near(name, arms)}")
    if claim.metric and claim.metric not in metrics:
        raise ConfigError(
            f"claims: {claim.text!r} names the metric {claim.metric}, which no evaluation gives: "
            f"{near(claim.metric, metrics)}"
        )
