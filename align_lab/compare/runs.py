"""Runs as a comparison reads them: from their folders, whatever state they are in. Importing this loads no numpy."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align_lab.base.errors import ConfigError, near
from align_lab.base.paths import runs_folder
from align_lab.compare.document import SCORE, LeftOut
from align_lab.record import layout
from align_lab.record.layout import StudyLayout

if TYPE_CHECKING:
    from align_lab.compare.evaluations import Table


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One finished run. `fields` are the leaves of its resolved config, apart from what names or files it."""

    name: str
    algo: str
    seed: int
    fields: Mapping[str, Any]  # one object for all runs that have the same
    hashes: Mapping[str, Any]  # what the config cannot say: content of artefacts, code, package versions
    labels: Mapping[str, Mapping[str, str]]  # metric -> label, meaning, unit, better; empty where none are recorded
    spent: Mapping[str, Any]  # episodes, tokens, labels, device_seconds, flops, peak_memory_gib, preference_pairs
    rows: Table  # its evaluations [E, C]
    arm: str = ""  # as the study names it; "" where it does not
    machine: str = ""
    stages: str = ""  # what it started from that has a seed, of policy, reward and pairs; "" where that is not recorded
    code: str = ""  # the commit that computed it, with + where it had uncommitted changes; "" where it is not known
    place: str = ""  # its folder; a string, because ten thousand paths take a while to make
    evaluation: str = ""  # the stored evaluation that its rows are of; "": its own, during training

    @property
    def path(self) -> Path:
        """Its folder."""
        return Path(self.place)

    @property
    def base(self) -> str:
        """What its arm is called where nothing else must be told apart."""
        return self.arm or self.algo

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return deciding(self.fields)

    @property
    def start(self) -> dict[str, float]:
        """Metrics of the first evaluation, without those that were not recorded."""
        return _recorded(self.rows, 0)

    @property
    def final(self) -> dict[str, float]:
        """Metrics of the last evaluation, without those that were not recorded."""
        return _recorded(self.rows, -1)


@dataclass(frozen=True)
class Unfinished:
    """A run that does not count, with the reason.

    state: failed, diverged, unscored, running, stopped, unreadable, altered or duplicate.

    used: of a duplicate, the name of the run of its arm and seed that counts.
    """

    name: str
    why: str
    state: str = "unreadable"
    arm: str = ""
    seed: int | None = None
    used: str = ""

    def as_json(self) -> LeftOut:
        """As the comparison document has it."""
        return LeftOut(**asdict(self))


def deciding(fields: Mapping[str, Any]) -> str:
    """The metric that decides, by the leaves of a config; runs of an older version name none."""
    return str(fields.get("evaluation.metric") or SCORE)


def _holds_runs(folder: Path) -> bool:
    """Has a folder that was typed as a path what a study has?"""
    with os.scandir(folder) as entries:
        runs = [entry.path for entry in entries if entry.is_dir()]
    record = (layout.CONFIG, layout.MANIFEST, layout.STATUS)
    return StudyLayout(folder).dispatch.is_dir() or any(
        os.path.exists(os.path.join(run, name)) for run in runs for name in record
    )


def study_folder(study: str) -> Path:
    """A study by name (under runs/) or by path. Raises ConfigError with the near match when there is none."""
    named, typed = runs_folder() / study, Path(study)
    if typed.name == study and study not in ("", "..") and named.is_dir():
        return named
    if study and typed.is_dir() and _holds_runs(typed):
        return typed
    known = [folder.name for folder in runs_folder().glob("*") if folder.is_dir()]
    others = near(study, known) if known else "none was started there. To begin: align_lab algo=rloo"
    raise ConfigError(f"there is no study {study!r} under {runs_folder().resolve()}: {others}")


def _recorded(rows: Table, at: int) -> dict[str, float]:
    values = zip(rows.columns.names, rows.values[at].tolist(), strict=True)
    return {name: value for name, value in values if not math.isnan(value)}
