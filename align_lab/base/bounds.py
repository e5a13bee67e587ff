"""Is the value of a field within the rules that it is declared with (`align_lab.base.registry.param`)?"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from align_lab.base.errors import near, short

BOUNDS = (("low", ">=", operator.ge), ("above", ">", operator.gt), ("high", "<=", operator.le))  # of a field
LARGEST = 2**63 - 1  # of a whole number: what libraries and files hold


def outside(name: str, value: Any, rule: Mapping[str, Any]) -> list[str]:
    """What is wrong with the value, in a sentence that begins with the name of its field; empty where nothing is."""
    if rule.get("choices") and value not in rule["choices"]:
        return [f"{name}={value} is not known: {near(str(value), rule['choices'])}"]
    if rule.get("pattern") and (wrong := [text for text in _texts(value) if not re.fullmatch(rule["pattern"], text)]):
        return [f"{name}={wrong[0]!r} must be a plain name: it has to match {rule['pattern']}"]
    if isinstance(value, bool):
        return []
    if isinstance(value, list | tuple):
        wrong = (text for one in _numbers(value) for text in _without_meaning(name, one, rule))
        return [f"{text} in {short(str(cast('list[Any]', value)))}" for text in wrong][:1]
    return _beyond(name, value, rule) if isinstance(value, int | float) else []


def _texts(value: Any) -> list[str]:
    """A text, or the texts of a list."""
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str)]


def _beyond(name: str, value: float, rule: Mapping[str, Any]) -> list[str]:
    bounds = [(rule[key], sign, holds) for key, sign, holds in BOUNDS if rule.get(key) is not None]
    is_nan = isinstance(value, float) and math.isnan(value)
    if bounds and (is_nan or not all(holds(value, bound) for bound, _, holds in bounds)):
        allowed = " and ".join(f"{sign} {bound:g}" for bound, sign, _ in bounds)
        return [f"{name} must be {allowed} (got {_number(value)})"]
    return _without_meaning(name, value, rule)


def _numbers(value: Any) -> Iterator[float]:
    """All numbers inside lists. A mapping has rules of its own: it holds a component, or what a library takes."""
    if isinstance(value, list | tuple):
        for one in cast("list[Any]", value):
            yield from _numbers(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _without_meaning(name: str, value: float, rule: Mapping[str, Any]) -> list[str]:
    """A number that no computation can use."""
    if isinstance(value, int):
        return [f"{name} must be at most {LARGEST} (got {_number(value)})"] if abs(value) > LARGEST else []
    if math.isfinite(value) or (rule.get("infinite") and value > 0):
        return []
    return [f"{name} must be a {'' if math.isnan(value) else 'finite '}number (got {value})"]


def _number(value: float) -> str:
    """A number for people; of one with very many digits, how many."""
    digits = value.bit_length() * 0.30103 if isinstance(value, int) else 0
    return f"a whole number of about {digits:.0f} digits" if digits > 30 else str(value)
