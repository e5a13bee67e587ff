"""`align_lab replay comparison.lock`: repeat a comparison, and check every hash and score."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from align_lab.base import answer, registry
from align_lab.base.errors import ConfigError, near
from align_lab.base.paths import runs_folder
from align_lab.base.run_config import RunConfig
from align_lab.cli.arguments import Arguments
from align_lab.compare import certificate, lock
from align_lab.config import recorded, study, trust
from align_lab.config.groups import GROUPS, options
from align_lab.config.root import StudySettings
from align_lab.config.validation import problems
from align_lab.dispatch import launch
from align_lab.record import records
from align_lab.record.differences import differing
from align_lab.record.terminal import Terminal, escape

FRESH = "_fresh"  # what the folder of runs ends with that were computed again


def replay(args: Sequence[str]) -> int:
    """Returns 0 when every run equals the locked one, 1 when one failed or differs. ConfigError for an invalid lock."""
    given = _parser().parse_args(args)
    locked, console = lock.read(given.lock), Terminal(soft_wrap=True)
    configs = [_nested(run["config"]) for run in locked["runs"]]
    new_study = given.study or (f"{configs[0].get('study')}{FRESH}" if given.fresh else None)
    _check_trust(configs, given.lock, console, trusted=given.trust)
    runs = [_config_of(run, values, new_study) for run, values in zip(locked["runs"], configs, strict=True)]
    _warn_of_other_code(locked, runs, console)
    before = {run.name for run in runs if _is_done(run)}
    if given.fresh:
        _announce_fresh(locked, runs, before, console)
    settings = StudySettings(question=locked["question"], parallel=given.parallel, dry_run=given.dry_run, wait=None)
    asked = study.from_runs(runs, settings=settings)
    status = launch.launch(asked, console=console, reuse=not given.fresh)
    if given.dry_run:
        return status
    linked = {run.name for run in runs if (runs_folder() / run.study / run.name).is_symlink()}
    return max(status, _verify(locked, runs, before | linked, console))


def _parser() -> Arguments:
    parser = Arguments(
        prog="align_lab replay",
        description="Repeat a comparison from its lock: run what is missing, then check every hash and score. Runs "
        "that exist are checked, not computed again; with --fresh all are computed again.",
    )
    parser.add_argument(
        "lock", metavar="LOCK", type=Path, help="a comparison.lock, or the folder of a study that has one"
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help=f"compute all runs again, in a study of their own: STUDY{FRESH}, or --study",
    )
    parser.add_argument(
        "--study", metavar="NAME", help="folder under runs/ for the new runs (default: the locked study's)"
    )
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="runs at the same time on this machine")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and run nothing")
    parser.add_argument(
        "--trust", action="store_true", help="use also what the lock would execute: plug-ins, files, flags of jobs"
    )
    return parser


def _is_done(run: RunConfig) -> bool:
    return records.status(runs_folder() / run.study / run.name)[0].get("state") == "done"


def _announce_fresh(
    locked: Mapping[str, Any], runs: Sequence[RunConfig], before: Collection[str], console: Console
) -> None:
    """Say where the runs are computed again. Raises ConfigError where nothing would be: they are there already."""
    name = runs[0].study
    if len(before) == len(runs):
        raise ConfigError(
            f"--fresh computes the runs again, and runs/{name} has finished all of them. Name a new study for them: "
            f"--study {name}_2. To check those that are there: the same command without --fresh"
        )
    rest = f", of which {len(before)} were computed by this command before" if before else ""
    console.print(
        f"{len(runs)} runs are computed again in runs/{escape(name)}{rest}. Data, start policies and reward models "
        "come from the cache, if it has them: with ALIGN_LAB_CACHE=NEW_FOLDER they are made again too"
    )


def _check_trust(configs: Sequence[dict[str, Any]], path: Path, console: Console, *, trusted: bool) -> None:
    """Take shell lines and the like out of somebody else's lock, and name them: they change no result.

    Raises ConfigError for what a run cannot do without: plug-ins, files with code, addresses that get a key.
    """
    registry.scan()
    dropped: dict[str, str] = {}
    for values in configs:
        if not trusted and not trust.known(values):
            placed = {field: text for field, text in trust.asked(values).items() if field.startswith(trust.PLACEMENT)}
            for field in placed:
                del values["hardware"]["placement"][field.removeprefix(trust.PLACEMENT)]
            dropped |= placed
        trust.require(values, str(path), trusted=trusted)
    for field, text in dropped.items():
        console.print(f"[yellow]not used without --trust:[/] {escape(field)}={escape(text)}")


def _config_of(locked: Mapping[str, Any], values: Mapping[str, Any], new_study: str | None) -> RunConfig:
    """The config of a locked run, validated. Raises ConfigError also where its signature is not the locked one."""
    checked = recorded.complete(values, f"{locked['name']} of the lock")
    cfg = RunConfig({**values, "study": new_study or values["study"]}, _known(locked["choices"]))
    messages = problems({**checked, "study": cfg.study})
    if cfg.signature != locked["signature"]:
        messages.append(
            f"{locked['name']}: its config gives the signature {cfg.signature}, the lock has {locked['signature']}"
        )
    if messages:
        raise ConfigError("\n".join(messages))
    return cfg


def _known(choices: Mapping[str, str]) -> Mapping[str, str]:
    """Names of options are part of the run's folder name: only those that there are. Raises ConfigError for another."""
    for group, name in choices.items():
        if group not in GROUPS or name not in options(group):
            raise ConfigError(f"the lock names {group}={name}, which is not known: {near(name, options(group))}")
    return choices


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys -> sections."""
    values: dict[str, Any] = {}
    for key, value in leaves.items():
        *path, last = key.split(".")
        section = values
        for name in path:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                raise ConfigError(f"the lock has {key}, and a value for a part of this name. Write the lock again")
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


def _verify(locked: Mapping[str, Any], runs: Sequence[RunConfig], before: Collection[str], console: Console) -> int:
    """Compare hashes and last scores of every run with the locked ones. Returns the exit status.

    `before`: names of the runs that were there before this command, which has computed the others.
    """
    outcomes: list[dict[str, Any]] = []
    for expected, cfg in zip(locked["runs"], runs, strict=True):
        how = "checked, not computed again" if cfg.name in before else "computed again"
        outcome, why = _outcome(expected, cfg)
        color = {"as locked": "", "differs": "yellow"}.get(outcome, "red")
        text = f"[{color}]{outcome}[/]" if color else outcome
        console.print(f"{text} ({how}) {escape(cfg.name)}" + (f": {escape(why)}" if why else ""))
        outcomes.append({"run": cfg.name, "outcome": outcome, "why": why, "computed": cfg.name not in before})
    equal = sum(one["outcome"] == "as locked" for one in outcomes)
    checked = sum(not one["computed"] for one in outcomes)
    console.print(
        f"{equal} of {len(runs)} runs equal the lock; {checked} checked, not computed again, {len(runs) - checked} "
        "computed by this command" + (". To compute all again: --fresh" if checked else "")
    )
    answer.give({"study": runs[0].study, "as_locked": equal == len(runs), "runs": outcomes})
    return int(equal < len(runs))


def _outcome(expected: Mapping[str, Any], cfg: RunConfig) -> tuple[str, str]:
    """(what became of a run, why)."""
    folder = runs_folder() / cfg.study / cfg.name
    if not _is_done(cfg):
        return "not finished", ""
    if why := _doubt(folder):
        return "does not count", why
    differences = _differences(expected, lock.run(folder))
    return ("differs", ", ".join(differences)) if differences else ("as locked", "")


def _doubt(folder: Path) -> str:
    """Why a comparison would leave this run out."""
    return certificate.doubt(str(folder), records.status(folder)[0], records.manifest(folder))


def _differences(expected: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Names of the hashes that are not the locked ones, and the scores with both numbers."""
    hashes, scores = (
        {key: (value, run[part].get(key)) for key, value in expected[part].items() if run[part].get(key) != value}
        for part in ("hashes", "scores")
    )
    return [*hashes, *(f"{key} {now} (locked: {before})" for key, (before, now) in scores.items())]
