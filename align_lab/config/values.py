"""The values that an override sweeps: `seed=1,2`, `seed=range(0,3)`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from align_lab.base.errors import ConfigError, short

MOST = 100_000  # runs of one command


def of(override: Override) -> list[str]:
    """The values, as they are typed. Raises ConfigError for a sweep that has none, or no list of them."""
    sweep, text = override.value(), short(str(override.input_line))
    instead = f"Write them: {override.key_or_group}=A,B or, of whole numbers, {override.key_or_group}=range(FROM,TO)"
    if not isinstance(sweep, ChoiceSweep | RangeSweep):  # interval(0,1), glob(*)
        raise ConfigError(f"{text}: a sweep needs values that can be listed. {instead}. To search over a field: tune=")
    if count(override) > MOST:
        raise ConfigError(f"{text}: these are too many values; one command starts at most {MOST:,} runs")
    try:
        values = list(override.sweep_string_iterator())
    except (HydraException, ValueError, TypeError, ArithmeticError) as error:
        raise ConfigError(f"{text}: not understood ({short(str(error))}). {instead}") from None
    if not values:
        raise ConfigError(f"{text}: this sweep has no value. {instead}")
    return values


def count(override: Override) -> float:
    """How many values there are, at least 1, before any of them is made."""
    sweep = override.value()
    if isinstance(sweep, ChoiceSweep):
        return max(1, len(sweep.list))
    if not isinstance(sweep, RangeSweep) or sweep.start is None or sweep.stop is None:
        return 1
    numbers = (sweep.start, sweep.stop, sweep.step or 1)
    if not all(isinstance(number, int) or math.isfinite(number) for number in numbers):
        return math.inf
    start, stop, step = numbers
    return max(1, (stop - start) // step)


def refuse_too_many(parts: Mapping[str, int], swept: Sequence[Override]) -> None:
    """Raises ConfigError for more runs than one command can start, before their configs are made."""
    factors = {name: max(1, size) for name, size in parts.items()}
    factors |= {one.key_or_group: count(one) for one in swept if one.is_sweep_override()}
    if math.prod(factors.values()) > MOST:
        product = " x ".join(f"{size:,} of {name}" for name, size in factors.items() if size > 1)
        raise ConfigError(f"{short(product)}: these are too many runs; one command starts at most {MOST:,}")
