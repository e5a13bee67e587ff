"""`python -m align_lab gc`: what takes space, and removing it by age and size. Nothing is removed without --prune.

Records (config, manifest, metrics, samples) always stay; so do the best and the last checkpoint of a run, unless --all.
"""

from __future__ import annotations

import argparse
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from align_lab.base import lease
from align_lab.base.errors import ConfigError
from align_lab.base.files import read_json
from align_lab.base.paths import cache_folder, runs_folder
from align_lab.dispatch import snapshot
from align_lab.dispatch.ledger import Ledger
from align_lab.dispatch.states import is_done
from align_lab.record.layout import CHECKPOINTS, DISPATCH, RunLayout
from align_lab.stages.store import shared

KINDS = (CHECKPOINTS, "snapshots", "artefacts")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
SIZES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something on disk that could go. `held`: why it must not."""

    kind: str
    path: Path
    size: int
    used: float  # when it was last written or read, seconds since 1970
    held: str = ""


def gc(args: Sequence[str]) -> int:
    """Show, or with --prune remove, what is older and larger than asked."""
    parser = argparse.ArgumentParser(
        prog="python -m align_lab gc", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--older-than", metavar="AGE", help="not used for so long: 12h, 30d, 8w")
    parser.add_argument("--larger-than", default="0", metavar="SIZE", help="at least so large: 100M, 2G")
    parser.add_argument("--only", choices=KINDS, action="append", help="one kind (may be given again)")
    parser.add_argument("--all", action="store_true", help="also the best and the last checkpoint of finished runs")
    parser.add_argument("--prune", action="store_true", help="remove what is shown; without it nothing is removed")
    options = parser.parse_args(args)
    if options.prune and options.older_than is None:
        raise ConfigError("--prune needs --older-than=AGE, for example 30d: other folders' runs share the cache")
    least, age = _size(options.larger_than), _age(options.older_than or "0s")
    found = [item for item in items(everything=options.all) if item.kind in (options.only or KINDS)]
    chosen = [item for item in found if not item.held and item.size >= least and time.time() - item.used >= age]
    console = Console(highlight=False, soft_wrap=True)
    _show(found, chosen, console)
    if options.prune:
        for item in chosen:
            shutil.rmtree(item.path, ignore_errors=True)
        console.print(f"removed {len(chosen)} folders, {_text(sum(item.size for item in chosen))}")
    elif chosen:
        console.print("Nothing was removed. To remove what may go: the same command with --older-than=AGE --prune")
    return 0


def items(*, everything: bool) -> list[Item]:
    """Checkpoints of the runs here; snapshots and artefacts of the cache, which other folders' runs may share."""
    return [*_checkpoints(everything), *_snapshots(), *_artefacts()]


def _checkpoints(everything: bool) -> Iterator[Item]:
    for folder in sorted(runs_folder().glob(f"*/*/{CHECKPOINTS}")):
        if folder.parent.is_symlink():
            continue
        steps = sorted(folder.glob("step-*"))
        done = is_done(folder.parent)
        best = read_json(RunLayout(folder.parent).best).get("step")
        for step in steps:
            kept = step == steps[-1] or step.name == f"step-{best or 0:06d}"
            held = "the run is not finished" if not done else "best or last" if kept and not everything else ""
            yield _item(CHECKPOINTS, step, held)


def _snapshots() -> Iterator[Item]:
    homes = {user for file in (cache_folder() / "snapshots").glob("*.users") for user in snapshot.users(file.stem)}
    used = {
        card.snapshot
        for home in {runs_folder().resolve(), *homes}
        for study in home.glob(f"*/{DISPATCH}")
        for card in Ledger(study).cards()
        if _open(study, card.names)
    }
    for folder in sorted(path for path in (cache_folder() / "snapshots").glob("[!.]*") if path.is_dir()):
        yield _item("snapshots", folder, "queued or unfinished runs use it" if str(folder) in used else "")


def _open(study: Path, names: Iterable[str]) -> bool:
    """Is any of its runs not finished, or stages not built?"""
    return any(not is_done(study.parent / name) and not shared().has(name) for name in names)


def _artefacts() -> Iterator[Item]:
    store = shared().root
    for folder in sorted(path for path in store.glob("*-*") if path.is_dir()):
        busy = folder.name.startswith("building-")
        alive = busy and any(not lease.stale(path) for path in store.glob("*.lease"))
        yield _item("artefacts", folder, "being built" if alive else "")


def _item(kind: str, path: Path, held: str) -> Item:
    stats = [file.stat() for file in path.rglob("*") if file.is_file()] or [path.stat()]
    used = max(max(stat.st_mtime, stat.st_atime) for stat in stats)
    return Item(kind=kind, path=path, size=sum(stat.st_size for stat in stats), used=used, held=held)


def _show(found: Sequence[Item], chosen: Sequence[Item], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "folders", "size", "may go", "size "):
        table.add_column(name, justify="left" if not name else "right")
    for kind in KINDS:
        mine, free = ([item for item in group if item.kind == kind] for group in (found, chosen))
        table.add_row(
            kind, str(len(mine)), _text(sum(i.size for i in mine)), str(len(free)), _text(sum(i.size for i in free))
        )
    console.print(table)
    for item in sorted(chosen, key=lambda item: -item.size)[:20]:
        console.print(f"  {_text(item.size):>9}  {_days(item.used)}  {escape(str(item.path))}")
    if len(chosen) > 20:
        console.print(f"  ... and {len(chosen) - 20} more")


def _days(used: float) -> str:
    return f"{(time.time() - used) / 86400:5.1f} d old"


def _text(size: float) -> str:
    return next(
        (f"{size / unit:.1f} {name}iB" for name, unit in reversed(SIZES.items()) if size >= unit), f"{size:.0f} B"
    )


def _age(text: str) -> float:
    return _number(text, UNITS, "s", "--older-than", "12h, 30d or 8w")


def _size(text: str) -> float:
    return _number(text, {**SIZES, "B": 1}, "B", "--larger-than", "500M or 2G")


def _number(text: str, units: dict[str, int], default: str, flag: str, example: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]?)", text)
    unit = found and (found[2] or default)
    if not found or unit not in units:
        raise ConfigError(f"{flag}={text} is not understood: write a number and a unit, for example {example}")
    return float(found[1]) * units[unit]
