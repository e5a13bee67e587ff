"""`python -m align_lab replay comparison.lock`: make a comparison again. Runs what is missing, and checks every hash and score."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.base.paths import runs_folder
from align_lab.base.run_config import RunConfig
from align_lab.compare import lock
from align_lab.config import study
from align_lab.config.root import StudySettings
from align_lab.config.validation import problems
from align_lab.dispatch import launch
from align_lab.record.differences import differing
from align_lab.record.layout import RunLayout


def replay(args: Sequence[str]) -> int:
    """Returns 0 when every run came out as locked, 1 when a run failed or differs. Raises ConfigError for a wrong lock."""
    parser = argparse.ArgumentParser(prog="python -m align_lab replay", description=__doc__)
    parser.add_argument("lock", type=Path, help="a comparison.lock, or the folder of a study that has one")
    parser.add_argument("--study", help="folder under runs/ for the new runs (default: the locked one's)")
    parser.add_argument("--parallel", type=int, default=1, help="runs at the same time on this machine")
    parser.add_argument("--dry-run", action="store_true", help="print what would be run")
    options = parser.parse_args(args)
    locked, console = lock.read(options.lock), Console(highlight=False, soft_wrap=True)
    runs = [config_of(known, options.study) for known in locked["runs"]]
    _warn_of_other_code(locked, runs, console)
    settings = StudySettings(question=locked["question"], parallel=options.parallel, dry_run=options.dry_run, wait=None)
    status = launch.launch(study.from_runs(runs, settings=settings), console=console)
    return status if options.dry_run else max(status, _verify(locked, runs, console))


def config_of(known: Mapping[str, Any], new_study: str | None) -> RunConfig:
    """The locked config, checked as any other. Raises ConfigError where it is not what its signature says."""
    values: dict[str, Any] = {}
    for key, value in known["config"].items():
        *path, last = key.split(".")
        place = values
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    registry.scan(tuple(values["plugins"]))
    cfg = RunConfig({**values, "study": new_study or values["study"]}, known["choices"])
    found = problems(cfg.values)
    if cfg.signature != known["signature"]:
        found.append(f"{known['name']}: its config gives the signature {cfg.signature}, locked is {known['signature']}")
    if found:
        raise ConfigError("\n".join(found))
    return cfg


def _warn_of_other_code(locked: Mapping[str, Any], runs: Sequence[RunConfig], console: Console) -> None:
    """Name once each of this package's code, the plug-ins' code and the files that differs from what was locked."""
    pairs = zip(locked["runs"], runs, strict=True)
    differ = dict.fromkeys(text for known, cfg in pairs for text in differing(known["hashes"], cfg.values))
    commits = sorted({run["code"].get("commit") for run in locked["runs"]} - {None})
    for text in differ:
        advice = f": for equal numbers check out {', '.join(commits)}" if commits and "source" in text else ""
        console.print(f"[yellow]locked with {escape(text)}{advice}[/]")


def _verify(locked: Mapping[str, Any], runs: Sequence[RunConfig], console: Console) -> int:
    """Compare hashes and last scores of every run with the locked ones."""
    worst = 0
    for known, cfg in zip(locked["runs"], runs, strict=True):
        folder = runs_folder() / cfg["study"] / cfg.name
        if json.loads(RunLayout(folder).status.read_text())["state"] != "done":
            console.print(f"[red]not finished[/] {escape(cfg.name)}")
            worst = 1
            continue
        now = lock.run(folder)
        differ = [key for key in known["hashes"] if now["hashes"].get(key) != known["hashes"][key]]
        differ += [key for key, value in known["scores"].items() if now["scores"].get(key) != value]
        console.print(
            f"{'[yellow]differs[/] ' if differ else 'as locked '}{escape(cfg.name)}{': ' if differ else ''}{', '.join(differ)}"
        )
        worst = max(worst, int(bool(differ)))
    return worst
