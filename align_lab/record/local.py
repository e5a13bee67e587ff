"""The record of a run without an experiment tracker: the run folder and the terminal."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.record import Record
from align_lab.base.registry import register


@register("record", "local")
@dataclass(frozen=True, kw_only=True)
class Local(Record):
    """Writes the run folder only. No field changes a result."""
