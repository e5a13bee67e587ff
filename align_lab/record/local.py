"""The run folder and the terminal, nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.record import Record
from align_lab.base.registry import register


@register("record", "local")
@dataclass(frozen=True, kw_only=True)
class Local(Record):
    """Nothing here changes a result."""
