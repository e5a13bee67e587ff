"""Numbers as the comparison document holds them, and where chance comes from."""

from __future__ import annotations

import gc
import json
import math
import zlib
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
T = TypeVar("T")
SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Any) -> float | None:
    """A plain float, None where there is none: JSON knows no nan."""
    return float(value) if value is not None and math.isfinite(value) else None


def count(value: Any) -> int | None:
    """A plain int, None where there is none."""
    return int(value) if value is not None and math.isfinite(value) else None


def exact(value: Any) -> str:
    """A value of a record as text; two are equal exactly where these are: 1, 1.0, "1" and true are not."""
    return json.dumps(value, sort_keys=True)


def plain(value: Any) -> Any:
    """A field of a config; inf, which switches a trick off, as text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def probability(p: float) -> str:
    """A p-value with three decimals; `< 0.001` below that, because no p-value is 0."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def figure(value: float, places: int) -> str:
    """With that many decimals, with a minus sign that is one, and thousands apart; `0.00`, never `-0.00`."""
    text = f"{value:,.{places}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text.replace("-", "−")


def amount(value: float) -> str:
    """`2.83 × 10¹²`, `6,400`, `0.93`: what was spent, of any size."""
    if value >= 1e7:
        head, _, power = f"{value:.2e}".partition("e+")
        return f"{head} × 10{str(int(power)).translate(SUPERSCRIPT)}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """The generator of one purpose: what is drawn does not depend on what else is drawn, or in which order."""
    return np.random.default_rng([seed, zlib.crc32("\0".join(purpose).encode())])


def uncollected(function: Callable[P, T]) -> Callable[P, T]:
    """Without the search for reference cycles: among a million small objects of a document it finds none, again and
    again.
    """

    @wraps(function)
    def paused(*args: P.args, **kwargs: P.kwargs) -> T:
        was_on = gc.isenabled()
        gc.disable()
        try:
            return function(*args, **kwargs)
        finally:
            if was_on:
                gc.enable()

    return paused


def listed(names: Iterable[Any], *, most: int = 4) -> str:
    """`a, b and c`; `a, b, c, d and 7 more`."""
    shown = [str(name) for name in names]
    rest = len(shown) - most
    if rest > 0:
        return f"{', '.join(shown[:most])} and {rest} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
