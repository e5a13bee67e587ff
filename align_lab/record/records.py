"""The forms of the records of a run that are read back, and the reading of those that every command needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from align_lab.base import shapes
from align_lab.base.errors import DataError
from align_lab.record.layout import RunLayout


class Status(TypedDict):
    """What status.json holds, of whichever phase."""

    state: str
    heartbeat: NotRequired[float]
    pid: NotRequired[int]
    host: NotRequired[str]
    phase: NotRequired[str]
    step: NotRequired[int]
    steps: NotRequired[int]
    episode: NotRequired[float]
    score: NotRequired[float | None]
    decides: NotRequired[float | None]
    metric: NotRequired[str]
    seconds_per_step: NotRequired[float | None]
    requeued: NotRequired[int]
    job: NotRequired[str]
    node: NotRequired[str]
    error: NotRequired[str]
    outcome: NotRequired[str]
    sealed: NotRequired[dict[str, str]]


class Manifest(TypedDict):
    """What manifest.json holds, as far as it is read back."""

    signature: str
    config: dict[str, Any]
    choices: NotRequired[dict[str, str]]
    hashes: NotRequired[dict[str, Any]]
    seed: NotRequired[int]
    artefacts: NotRequired[dict[str, str]]
    code: NotRequired[dict[str, Any]]
    versions: NotRequired[dict[str, Any]]
    machine: NotRequired[dict[str, Any] | None]
    metrics: NotRequired[dict[str, dict[str, Any]] | None]
    spent: NotRequired[dict[str, Any]]


def status(run: Path | str) -> tuple[dict[str, Any], str]:
    """(status.json of a run, why it cannot be used): empty where there is none, or where it cannot be used."""
    try:
        return cast("dict[str, Any]", shapes.read(RunLayout(Path(run)).status, Status, instead="")), ""
    except (FileNotFoundError, NotADirectoryError):
        return {}, ""
    except OSError as error:
        return {}, f"{error.filename} cannot be read ({error.strerror})"
    except DataError as damaged:
        return {}, str(damaged).rstrip(" .")


def manifest(run: Path) -> dict[str, Any]:
    """manifest.json of a run. Raises the system's OSError, and DataError where it cannot be used."""
    instead = f"Restore it, or run again what it was made by: rm -r {run}, then the same command"
    content = cast("dict[str, Any]", shapes.read(RunLayout(run).manifest, Manifest, instead=instead))
    for name in ("choices", "hashes"):
        if name not in content:
            raise DataError(f"{RunLayout(run).manifest} is damaged: it has no {name}. {instead}")
    return content
