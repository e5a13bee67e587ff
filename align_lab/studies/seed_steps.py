"""A study whose seeds come in steps: run what the next look needs, take the look, until the verdict carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from align_lab.base.errors import ConfigError
from align_lab.base.paths import runs_folder
from align_lab.base.run_config import RunConfig
from align_lab.compare import reading
from align_lab.compare.runs import Run, deciding
from align_lab.compare.sequential import plan_file
from align_lab.compare.sequential.looks import Looks, PairLook
from align_lab.compare.sequential.plan_file import WrittenPlan
from align_lab.compare.sequential.verdict import looks_of
from align_lab.config.study import Study
from align_lab.dispatch import launch

Arms = Mapping[str, Sequence[RunConfig]]


def run(study: Study, *, console: Console | None = None) -> int:
    """Continue the study to its end. Returns 0, or 1 where a run failed that the next look needs.

    Everything is read anew from the record before each look: killed at any point, the same command goes on. Raises
    ConfigError where the study was begun with another plan.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    arms = _arms(study)
    written = _declared(study, arms, write=not study.settings.dry_run)
    _print_plan(written, study, console)
    folder = runs_folder() / study.name
    told: set[tuple[str, str]] = set()
    while not (now := looks(folder, written)).ended:
        told |= _print_new(now, told, console)
        needed = [arms[arm][seed] for arm, seeds in now.missing.items() for seed in seeds]
        status = launch.launch(replace(study, runs=tuple(needed), complete=False), console=console)
        if study.settings.dry_run:
            return status
        lacking = looks(folder, written).missing
        if any(arms[arm][seed] in needed for arm, seeds in lacking.items() for seed in seeds):
            return _waits(lacking, status, console)
    _print_new(now, told, console)
    _conclude(study, written, now, console)
    return 0


def looks(folder: Path, written: WrittenPlan) -> Looks:
    """The looks that the finished runs of a study allow."""
    places = [folder / name for names in written.runs.values() for name in names]
    read = reading.all_of([str(place) for place in places if place.is_dir()])
    return looks_of(written, [run for run in read if isinstance(run, Run)])


def _arms(study: Study) -> dict[str, list[RunConfig]]:
    """Name of an arm -> its runs by seed."""
    arms: dict[str, list[RunConfig]] = {}
    for one in study.runs:
        arms.setdefault(one["arm"] or one.choices["algo"], []).append(one)
    return arms


def _declared(study: Study, arms: Arms, *, write: bool) -> WrittenPlan:
    """Write the plan, or find it equal to the one that was written. Raises ConfigError with what speaks against it."""
    plan = study.seed_plan
    assert plan is not None
    if len(arms) < 2:
        raise ConfigError(f"seeds in steps end when arms can be told apart, and there is one: {', '.join(arms)}")
    if wrong := {arm: len(runs) for arm, runs in arms.items() if len(runs) != plan.most}:
        listed = ", ".join(f"{arm} has {count}" for arm, count in wrong.items())
        raise ConfigError(
            f"each arm has one run for each of {plan.most} seeds, but {listed}. Give every combination of swept values "
            "an arm of its own in a sweep file: arms: {NAME: [algo=..., ...]}"
        )
    metrics = {deciding({"evaluation.metric": one["evaluation"]["metric"]}) for one in study.runs}
    if len(metrics) > 1:
        raise ConfigError(f"the arms are judged by several metrics ({', '.join(sorted(metrics))}): set one")
    names = {arm: tuple(one.name for one in runs) for arm, runs in arms.items()}
    folder, control = runs_folder() / study.name, study.settings.control
    return plan_file.declare(folder, plan, control=control, metric=metrics.pop(), runs=names, write=write)


def _print_plan(written: WrittenPlan, study: Study, console: Console) -> None:
    counts = ", ".join(map(str, written.plan.looks))
    console.print(
        f"[bold]{escape(study.name)}[/]: {len(written.runs)} arms, looks at {counts} seeds an arm; at most "
        f"{written.longest} runs. A pair ends when it is decided, when it differs by less than "
        f"{written.plan.smallest:g}, or when that can hardly be seen any more"
    )


def _print_new(now: Looks, told: set[tuple[str, str]], console: Console) -> set[tuple[str, str]]:
    """What this look has decided, once."""
    new = {(pair.a, pair.b): pair for pair in now.pairs if pair.outcome != "open" and (pair.a, pair.b) not in told}
    for pair in new.values():
        console.print(f"  at {pair.seeds} seeds: {escape(sentence(pair))}")
    return set(new)


def sentence(pair: PairLook) -> str:
    """What became of a pair, with its interval."""
    interval = f"gap {pair.gap.mean:+.3f} [{pair.gap.low:+.3f}, {pair.gap.high:+.3f}]"
    words = {
        "better": f"{pair.better} is better than {pair.worse}",
        "equal": f"no difference between {pair.a} and {pair.b} that is worth seeing",
        "hopeless": f"{pair.a} and {pair.b} are given up: {pair.power_left:.0%} power is left",
        "stopped": f"{pair.a} and {pair.b} are not followed: another arm has beaten one of them",
        "most": f"{pair.a} and {pair.b} cannot be told apart with the most seeds",
        "open": f"{pair.a} and {pair.b} go on",
    }
    return f"{words[pair.outcome]}, {interval}"


def _waits(lacking: Mapping[str, Sequence[int]], status: int, console: Console) -> int:
    listed = "; ".join(f"{arm} seed {', '.join(map(str, seeds))}" for arm, seeds in lacking.items())
    console.print(
        f"The next look waits for {escape(listed)}. When their jobs have ended, or what made them fail is repaired, "
        "the same command goes on"
    )
    return status


def _conclude(study: Study, written: WrittenPlan, now: Looks, console: Console) -> None:
    seeds = {arm: now.seeds(arm) for arm in written.runs}
    listed = ", ".join(f"{arm} {count}" for arm, count in seeds.items())
    console.print(
        f"The study has ended after {sum(seeds.values())} of at most {written.longest} runs (seeds: {escape(listed)}): "
        f"python -m align_lab compare {escape(study.name)}"
    )
