"""`python -m align_lab replay comparison.lock`: repeat a comparison, and check every hash and score."""

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
    """Returns 0 when every run equals the locked one, 1 when one failed or differs. ConfigError for an invalid lock."""
    parser = argparse.ArgumentParser(
        prog="python -m align_lab replay",
        description="Repeat a comparison from its lock: run what is missing, then check every hash and score.",
    )
    parser.add_argument(
        "lock", metavar="LOCK", type=Path, help="a comparison.lock, or the folder of a study that has one"
    )
    parser.add_argument(
        "--study", metavar="NAME", help="folder under runs/ for the new runs (default: the locked study's)"
    )
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="runs at the same time on this machine")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and run nothing")
    options = parser.parse_args(args)
    locked, console = lock.read(options.lock), Console(highlight=False, soft_wrap=True)
    runs = [config_of(run, options.study) for run in locked["runs"]]
    _warn_of_other_code(locked, runs, console)
    settings = StudySettings(question=locked["question"], parallel=options.parallel, dry_run=options.dry_run, wait=None)
    status = launch.launch(study.from_runs(runs, settings=settings), console=console)
    return status if options.dry_run else max(status, _verify(locked, runs, console))


def config_of(locked: Mapping[str, Any], new_study: str | None) -> RunConfig:
    """The config of a locked run, validated. Raises ConfigError also where its signature is not the locked one."""
    values = _nested(locked["config"])
    registry.scan(tuple(values["plugins"]))
    cfg = RunConfig({**values, "study": new_study or values["study"]}, locked["choices"])
    messages = problems(cfg.values)
    if cfg.signature != locked["signature"]:
        messages.append(
            f"{locked['name']}: its config gives the signature {cfg.signature}, the lock has {locked['signature']}"
        )
    if messages:
        raise ConfigError("\n".join(messages))
    return cfg


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys -> sections."""
    values: dict[str, Any] = {}
    for key, value in leaves.items():
        *path, last = key.split(".")
        section = values
        for name in path:
            section = section.setdefault(name, {})
        section[last] = value
    return values


def _warn_of_other_code(locked: Mapping[str, Any], runs: Sequence[RunConfig], console: Console) -> None:
    """Name each of this package's code, the plug-ins' code and the files that differs from what was locked, once."""
    pairs = zip(locked["runs"], runs, strict=True)
    changes = dict.fromkeys(text for run, cfg in pairs for text in differing(run["hashes"], cfg.values))
    commits = sorted({run["code"].get("commit") for run in locked["runs"]} - {None})
    for text in changes:
        advice = f": for equal results check out {', '.join(commits)}" if commits and "source" in text else ""
        console.print(f"[yellow]locked with {escape(text)}{advice}[/]")


def _verify(locked: Mapping[str, Any], runs: Sequence[RunConfig], console: Console) -> int:
    """Compare hashes and last scores of every run with the locked ones. Returns the exit status."""
    status = 0
    for expected, cfg in zip(locked["runs"], runs, strict=True):
        folder = runs_folder() / cfg.study / cfg.name
        name = escape(cfg.name)
        if json.loads(RunLayout(folder).status.read_text())["state"] != "done":
            console.print(f"[red]not finished[/] {name}")
            status = 1
        elif differences := _differences(expected, lock.run(folder)):
            console.print(f"[yellow]differs[/] {name}: {', '.join(differences)}")
            status = 1
        else:
            console.print(f"as locked {name}")
    return status


def _differences(expected: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Names of the hashes and scores that are not the locked ones."""
    return [
        key for part in ("hashes", "scores") for key, value in expected[part].items() if run[part].get(key) != value
    ]
