"""The sentence of the last comparison of a study, as long as the study has the runs that it was made of."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from align_lab.base.errors import ConfigError
from align_lab.compare import lock
from align_lab.record.layout import RunLayout, StudyLayout


def last_verdict(folder: Path, finished: Collection[str]) -> tuple[str, str]:
    """(the sentence, why there is none); one of the two is empty. `finished`: names of the runs that are done now."""
    places = [place / lock.NAME for place in (folder, StudyLayout(folder).dispatch)]  # of `compare`, of the study's end
    if not (known := [place for place in places if place.exists()]):
        return "", "not compared yet"
    newest = max(known, key=lambda place: place.stat().st_mtime)
    try:
        locked = lock.read(newest)
    except ConfigError as error:
        return "", str(error)
    used = {run["name"] for run in locked["runs"]}
    if gone := used - {*finished}:
        return "", f"compared before {_runs(len(gone))} removed or begun again"
    if new := {*finished} - used - {*locked.get("left_out", [])}:
        return "", f"compared before {_runs(len(new))} finished"
    written = newest.stat().st_mtime
    if later := [name for name in used if RunLayout(folder / name).status.stat().st_mtime > written]:
        return "", f"compared before {_runs(len(later))} made again"
    return locked["verdict"], ""


def _runs(count: int) -> str:
    return f"{count} run was" if count == 1 else f"{count} runs were"
