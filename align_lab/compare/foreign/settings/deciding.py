"""The fields that decide a comparison with another program (`decides.yaml`), in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from align_lab.compare.foreign.settings import programs
from align_lab.compare.foreign.settings.plain import plain
from align_lab.compare.foreign.settings.programs import MISSING

DECIDES = Path(__file__).parent / "decides.yaml"
NEVER, NAME, REST = "never", "name", "rest"


@dataclass(frozen=True, kw_only=True)
class Deciding:
    """A field. `how`: by its value, by its name, never (no config can say it), or the place of all other fields of an
    algorithm.
    """

    field: str
    ours: Sequence[str]  # names of it in our record, the first that is there counts
    how: str = "value"
    fixed: Any = MISSING  # what we always do, where there is no such field
    with_: str = ""  # only where ours has this field
    why: str = ""


@cache
def deciding() -> Sequence[Deciding]:
    """Every one of them."""
    entries = {name: entry or {} for name, entry in programs.read(DECIDES).items()}
    return tuple(
        Deciding(
            field=name,
            ours=entry.get("ours", [name]),
            how=entry.get("how", "value"),
            fixed=plain(entry["fixed"]) if "fixed" in entry else MISSING,
            with_=entry.get("with", ""),
            why=entry.get("why", ""),
        )
        for name, entry in entries.items()
    )
