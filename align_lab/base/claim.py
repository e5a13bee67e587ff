"""What a paper says of two arms, as a study file declares it before it runs: `rloo_4 > ppo`, `a < b in eval/kl`."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from align_lab.base.errors import ConfigError, near, short

FORM = re.compile(r"(?P<a>\S+) +(?P<sign>>=|<=|>|<|=) +(?P<b>\S+)(?: +in +(?P<metric>\S+))?")
WORDS = "'A > B', 'A >= B', 'A = B' with names of arms, and ' in METRIC' where it is not the metric that decides"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`a` against `b` in `metric`, "" for the one that decides. sign: ">" higher, ">=" not lower, "=" no difference."""

    text: str
    a: str
    sign: str
    b: str
    metric: str


def read(text: Any) -> Claim:
    """Raises ConfigError for what is no claim."""
    match = FORM.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ConfigError(f"claims: {short(repr(text))} is not understood. Write {WORDS}")
    a, sign, b, metric = match["a"], match["sign"], match["b"], match["metric"] or ""
    if sign in ("<", "<="):
        a, sign, b = b, sign.replace("<", ">"), a
    if a == b:
        raise ConfigError(f"claims: {text!r} compares an arm with itself")
    if metric and sign != ">":
        raise ConfigError(
            f"claims: {text!r}: only the metric that decides has a gap worth seeing. In {metric}, write A > B or A < B"
        )
    return Claim(text=text.strip(), a=a, sign=sign, b=b, metric=metric)


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
