"""Where a run computes, and in which numbers."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.registry import checked, param, register, section


@checked
@dataclass(frozen=True, kw_only=True)
class Numerics:
    """What changes results: two runs are only comparable when these are equal."""

    device: str = param("cpu", "where tensors live", choices=("cpu",))
    dtype: str = param("float32", "precision of weights and activations", choices=("float32", "bfloat16", "float64"))
    threads: int = param(1, "threads of one process; one is fastest for tiny models, and repeats bit for bit", low=1)


@register("hardware", "machine")
@dataclass(frozen=True, kw_only=True)
class Hardware:
    """One machine."""

    numerics: Numerics = section(Numerics, "device, precision, threads")
