"""`align_lab gc`: the disk space of checkpoints, snapshots and artefacts, and its removal by age and size."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

from rich.console import Console
from rich.table import Table

from align_lab.base import answer, lease
from align_lab.base.errors import ConfigError
from align_lab.base.files import leftovers, read_json
from align_lab.base.paths import cache_folder, runs_folder
from align_lab.cli.arguments import Arguments
from align_lab.dispatch import snapshot
from align_lab.dispatch.ledger import Ledger
from align_lab.dispatch.states import is_done
from align_lab.record.layout import CHECKPOINTS, DISPATCH, RunLayout, StudyLayout
from align_lab.record.terminal import Terminal, escape
from align_lab.stages.store import BUILDING, shared

KINDS = (CHECKPOINTS, "snapshots", "artefacts")
DESCRIPTION = """\
Show the disk space of checkpoints, snapshots and artefacts, and of what killed processes left half-written among them,
and remove it by age and size.

Nothing is removed without --prune. Records (config, manifest, metrics, samples) always stay; so do the best and the
last checkpoint of a run, unless --all.
"""
TAKING = 3600  # seconds, after which a snapshot that is not whole was left by a process that was killed
UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
SIZES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, kw_only=True)
class Item:
    """A folder that could be removed. `protection` is the reason why it must not be; empty where it may."""

    kind: str
    path: Path
    size: int  # bytes
    used: float  # when it was last written or read, seconds since 1970
    protection: str = ""


def gc(args: Sequence[str]) -> int:
    """Show, or with --prune remove, what is at least as old and as large as the options say."""
    options = _parser().parse_args(args)
    if options.prune and options.older_than is None:
        raise ConfigError("--prune needs --older-than=AGE, for example 30d: runs in other folders share the cache")
    candidates = [item for item in items(everything=options.all) if item.kind in (options.only or KINDS)]
    removable = _removable(
        candidates,
        at_least=_size(options.larger_than),
        before=time.time() - _age("0s" if options.older_than is None else options.older_than),
    )
    console = Terminal(soft_wrap=True)
    answer.give({"folders": [_as_json(item, item in removable) for item in candidates], "pruned": options.prune})
    _show(candidates, removable, console)
    if options.prune:
        _remove(removable, console)
    elif removable:
        console.print("Nothing was removed. To remove these: the same command with --older-than=AGE --prune")
    return 0


def _parser() -> Arguments:
    parser = Arguments(
        prog="align_lab gc",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--older-than", metavar="AGE", help="unused for at least so long: 90min, 12h, 30d, 8w")
    parser.add_argument("--larger-than", default="0", metavar="SIZE", help="at least so large: 100M, 2G")
    parser.add_argument("--only", choices=KINDS, action="append", help="one kind; may be repeated")
    parser.add_argument("--all", action="store_true", help="also the best and the last checkpoint of finished runs")
    parser.add_argument("--prune", action="store_true", help="remove what is shown; without it nothing is removed")
    return parser


def _removable(candidates: Sequence[Item], *, at_least: float, before: float) -> list[Item]:
    return [item for item in candidates if not item.protection and item.size >= at_least and item.used <= before]


def _as_json(item: Item, removable: bool) -> dict[str, Any]:
    return {**asdict(item), "path": str(item.path), "removable": removable}


def _remove(items: Sequence[Item], console: Console) -> None:
    for item in items:
        shutil.rmtree(item.path, ignore_errors=True)
    console.print(f"removed {len(items)} folders, {_bytes(sum(item.size for item in items))}")


def items(*, everything: bool) -> list[Item]:
    """Checkpoints of the runs here; snapshots and artefacts of the cache, which runs in other folders may share."""
    return [*_checkpoints(everything), *_snapshots(), *_artefacts()]


def _checkpoints(everything: bool) -> Iterator[Item]:
    for folder in sorted(runs_folder().glob(f"*/*/{CHECKPOINTS}")):
        if folder.parent.is_symlink():
            continue
        busy = "the run is going on" if lease.live(RunLayout(folder.parent).lease) else ""
        yield from (_item(CHECKPOINTS, partial, busy) for partial in leftovers(folder))
        steps = sorted(folder.glob("step-*"))
        best = read_json(RunLayout(folder.parent).best).get("step")
        important = {f"step-{best:06d}" if type(best) is int else "", *(step.name for step in steps[-1:])}
        for step in steps:
            protection = "best or last" if step.name in important and not everything else ""
            if not is_done(folder.parent):
                protection = "the run is not finished"
            yield _item(CHECKPOINTS, step, protection)


def _snapshots() -> Iterator[Item]:
    root = cache_folder() / "snapshots"
    runs_folders = {user for file in root.glob("*.users") for user in snapshot.users(file.stem)}
    used = {path for folder in {runs_folder().resolve(), *runs_folders} for path in _snapshots_in_use(folder)}
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        protection = "queued or unfinished runs use it" if str(folder) in used else ""
        if folder.name.startswith(".") and time.time() - folder.stat().st_mtime < TAKING:
            protection = "being written"
        yield _item("snapshots", folder, protection)


def _snapshots_in_use(runs: Path) -> Iterator[str]:
    """Snapshots with a run that is not finished, a stage that is not built, or a look that is not taken."""
    for study in runs.glob(f"*/{DISPATCH}"):
        for submission in Ledger(study).submissions():
            if submission.kind == "look":
                pending = [read_json(StudyLayout(study.parent).look(submission.names[0])).get("state") != "done"]
            else:
                pending = [not is_done(study.parent / name) and not shared().has(name) for name in submission.names]
            if any(pending):
                yield submission.snapshot


def _artefacts() -> Iterator[Item]:
    store = shared().root
    for folder in sorted(path for path in store.glob("*-*") if path.is_dir()):
        name = folder.name.removeprefix(BUILDING).rpartition("-")[0] if folder.name.startswith(BUILDING) else ""
        in_progress = name and lease.live(store / f"{name}.lease")
        yield _item("artefacts", folder, "being built" if in_progress else "")


def _item(kind: str, path: Path, protection: str) -> Item:
    stats = [stat for file in path.rglob("*") if (stat := _stat(file)) and S_ISREG(stat.st_mode)] or [path.stat()]
    used = max(max(stat.st_mtime, stat.st_atime) for stat in stats)
    return Item(kind=kind, path=path, size=sum(stat.st_size for stat in stats), used=used, protection=protection)


def _stat(file: Path) -> os.stat_result | None:
    """None where it is gone by now, or in a folder that this user may not read."""
    with suppress(OSError):
        return file.stat()
    return None


def _show(candidates: Sequence[Item], removable: Sequence[Item], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "folders", "size", "removable", "size "):
        table.add_column(name, justify="left" if not name else "right")
    for kind in KINDS:
        table.add_row(kind, *_totals(candidates, kind), *_totals(removable, kind))
    console.print(table)
    for item in sorted(removable, key=lambda item: -item.size)[:20]:
        console.print(f"  {_bytes(item.size):>9}  {_days(item.used)}  {escape(str(item.path))}")
    if len(removable) > 20:
        console.print(f"  ... and {len(removable) - 20} more")


def _totals(items: Sequence[Item], kind: str) -> tuple[str, str]:
    """(number, size) of the folders of one kind."""
    sizes = [item.size for item in items if item.kind == kind]
    return str(len(sizes)), _bytes(sum(sizes))


def _days(used: float) -> str:
    return f"{(time.time() - used) / 86400:5.1f} d old"


def _bytes(size: float) -> str:
    return next(
        (f"{size / unit:.1f} {name}iB" for name, unit in reversed(SIZES.items()) if size >= unit), f"{size:.0f} B"
    )


def _age(text: str) -> float:
    """In seconds. Raises ConfigError for `m`, with which one tool means minutes and another months."""
    if ambiguous := re.fullmatch(r"(\d+(?:\.\d+)?)[mM]", text):
        number = ambiguous[1]
        raise ConfigError(
            f"--older-than={text} could be minutes or months. Type --older-than={number}min for minutes, or "
            f"--older-than={30 * float(number):g}d for months of 30 days"
        )
    return _number(text, UNITS, "", "--older-than", "12h, 30d or 8w")


def _size(text: str) -> float:
    return _number(text, {**SIZES, "B": 1}, "B", "--larger-than", "500M or 2G")


def _number(text: str, units: dict[str, int], default: str, flag: str, example: str) -> float:
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]*)", text)
    unit = parts and (parts[2] or default)
    if not parts or unit not in units:
        raise ConfigError(f"{flag}={text} is not understood: write a number and a unit, for example {example}")
    return float(parts[1]) * units[unit]
