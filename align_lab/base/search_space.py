"""Ranges over which a field is tuned. A point of the unit interval becomes a value, so that arms share their points."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from align_lab.base.errors import ConfigError

DIGITS = 3  # significant digits of a tuned number, so that a recipe can be typed
FORMS = "log(LOW, HIGH), uniform(LOW, HIGH), around(FACTOR), or a list of values"


class Declared(ABC):
    """What a field or a sweep file says of the values to try."""

    @abstractmethod
    def about(self, default: Any) -> Range:
        """The range where the recipe has this value of the field."""

    @property
    @abstractmethod
    def typed(self) -> str:
        """As a sweep file writes it; `parse` is the inverse."""


class Range(Declared):
    """The values that a search tries of one field."""

    def about(self, default: Any) -> Range:
        """The range itself, whatever the recipe has."""
        return self

    @abstractmethod
    def at(self, u: float) -> Any:
        """The value at `u` in [0, 1)."""

    @abstractmethod
    def place(self, value: Any) -> float:
        """The inverse of `at`, up to rounding."""

    @abstractmethod
    def ends(self) -> Sequence[Any]:
        """The values that bound it, or all of them."""


@dataclass(frozen=True)
class Continuous(Range):
    """Between two ends, in equal steps of the value or of its logarithm; `whole` numbers alone, or all."""

    low: float
    high: float
    logarithmic: bool
    whole: bool = False

    def about(self, default: Any) -> Range:
        """Whole numbers where the recipe has one."""
        return replace(self, whole=isinstance(default, int))

    def at(self, u: float) -> Any:
        """Rounded to three significant digits."""
        value = self.low * (self.high / self.low) ** u if self.logarithmic else self.low + (self.high - self.low) * u
        return round(value) if self.whole else float(f"{value:.{DIGITS}g}")

    def place(self, value: Any) -> float:
        """Where in the range, in its own scale."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ends(self) -> Sequence[Any]:
        """Both ends, as they are tried."""
        return (round(self.low), round(self.high)) if self.whole else (self.low, self.high)

    @property
    def typed(self) -> str:
        """`log(LOW, HIGH)` or `uniform(LOW, HIGH)`."""
        return f"{'log' if self.logarithmic else 'uniform'}({self.low:g}, {self.high:g})"

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{' (log)' if self.logarithmic else ''}"


@dataclass(frozen=True)
class Around(Declared):
    """From the recipe's own value divided by `factor` to that value times `factor`, in steps of the logarithm."""

    factor: float

    def about(self, default: Any) -> Range:
        """Around this value."""
        return Continuous(default / self.factor, default * self.factor, logarithmic=True)

    @property
    def typed(self) -> str:
        """`around(FACTOR)`."""
        return f"around({self.factor:g})"

    def __str__(self) -> str:
        return f"default / {self.factor:g} to default x {self.factor:g} (log)"


@dataclass(frozen=True)
class Among(Range):
    """One of several values, each equally often."""

    values: tuple[Any, ...]

    def at(self, u: float) -> Any:
        """The value whose share of the unit interval holds `u`."""
        return self.values[int(u * len(self.values))]

    def place(self, value: Any) -> float:
        """The middle of its share."""
        return (self.values.index(value) + 0.5) / len(self.values)

    def ends(self) -> Sequence[Any]:
        """All values."""
        return self.values

    @property
    def typed(self) -> str:
        """A list."""
        return f"[{self}]"

    def __str__(self) -> str:
        return ", ".join(f"{value:g}" if isinstance(value, int | float) else str(value) for value in self.values)


def log(low: float, high: float) -> Range:
    """Equal steps of the logarithm."""
    return Continuous(low, high, logarithmic=True)


def uniform(low: float, high: float) -> Range:
    """Equal steps of the value."""
    return Continuous(low, high, logarithmic=False)


def around(factor: float) -> Declared:
    """By up to this factor below and above the value that the recipe has."""
    return Around(factor)


def among(*values: Any) -> Range:
    """One of these values."""
    return Among(values)


def parse(text: Any, where: str) -> Declared:
    """The range that a sweep file writes. Raises ConfigError that begins with `where` and says what is allowed."""
    if isinstance(text, list) and text:
        return Among(tuple(cast("list[Any]", text)))
    written = str(cast(Any, text)).strip()
    number = r"([-+.\de]+)"
    match = re.fullmatch(rf"(log|uniform|around)\(\s*{number}\s*(?:,\s*{number}\s*)?\)", written)
    try:
        if match is None:
            raise ValueError
        name, first, second = match[1], float(match[2]), None if match[3] is None else float(match[3])
    except ValueError:
        raise ConfigError(f"{where}={text} is not understood. Write {FORMS}") from None
    if name == "around":
        if second is not None or first <= 1:
            raise ConfigError(f"{where}={text}: around takes one factor above 1, for example around(3)")
        return Around(first)
    if second is None or first >= second or (name == "log" and first <= 0):
        positive = ", both above 0" if name == "log" else ""
        raise ConfigError(f"{where}={text}: {name} takes two ends, the lower one first{positive}")
    return Continuous(first, second, logarithmic=name == "log")
