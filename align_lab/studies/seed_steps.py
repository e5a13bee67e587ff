"""A study whose seeds come in steps: run what the next look needs, take the look, until the verdict carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from align_lab.base import contrast
from align_lab.base.errors import ConfigError
from align_lab.base.lease import exclusive
from align_lab.base.paths import runs_folder
from align_lab.base.run_config import RunConfig
from align_lab.base.seed_plan import SeedPlan
from align_lab.compare import reading
from align_lab.compare.runs import Run, Unfinished, deciding
from align_lab.compare.sequential import divergence, plan_file, sight
from align_lab.compare.sequential.looks import Looks, PairLook
from align_lab.compare.sequential.plan_file import WrittenPlan
from align_lab.compare.sequential.verdict import looks_of
from align_lab.config.study import Study
from align_lab.dispatch import expected_runs, launch, look
from align_lab.record.layout import StudyLayout
from align_lab.record.terminal import Terminal, escape
from align_lab.studies import look_study

Arms = Mapping[str, Sequence[RunConfig]]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A study and its plan. `unattended`: a job of the cluster takes the look, and submits no failed run again."""

    study: Study
    arms: Arms
    written: WrittenPlan
    console: Console
    unattended: bool = False

    @property
    def folder(self) -> Path:
        """Of the study."""
        return runs_folder() / self.study.name

    @property
    def now(self) -> Looks:
        """The looks that the record allows now."""
        return looks(self.folder, self.written)

    @property
    def one_of_each_arm(self) -> list[RunConfig]:
        """The arms' runs with the first seed."""
        return [runs[0] for runs in self.arms.values()]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command or a look did: its exit status, and a sentence for people."""

    status: int
    sentence: str


def run(study: Study, *, console: Console | None = None) -> int:
    """Continue the study, to its end or to the job that takes the next look. Returns 0, or 1 where a run failed that
    the next look needs.

    Everything is read anew from the record before each look: killed at any point, the same command goes on. Raises
    ConfigError where the study was begun with another plan, and where a look is being taken by another process.
    """
    steps = begin(study, console or Terminal(soft_wrap=True))
    if study.settings.dry_run:
        return advance(steps).status
    with exclusive_looks(study.name):
        outcome = advance(steps)
    steps.console.print(escape(outcome.sentence))
    return outcome.status


def exclusive_looks(name: str) -> AbstractContextManager[None]:
    """This process alone goes on with the study. Raises ConfigError where another one does."""
    return exclusive(
        StudyLayout(runs_folder() / name).looks_lease,
        lambda owner: (
            f"{owner} is at work on the study {name}: it decides and submits what comes next. Watch it: "
            f"align_lab status {name} --watch"
        ),
    )


def begin(study: Study, console: Console, *, unattended: bool = False) -> Steps:
    """Declare the plan, or find it equal to the declared one. Raises ConfigError with what speaks against it."""
    expected_runs.refuse_other_seeds(runs_folder() / study.name, study)
    arms = _arms(study)
    written = _declared(study, arms, write=not study.settings.dry_run)
    _print_plan(written, study, console)
    return Steps(study=study, arms=arms, written=written, console=console, unattended=unattended)


def advance(steps: Steps) -> Outcome:
    """Look, run what the next look needs, and so on, as far as it goes without waiting for jobs of the cluster.

    The caller holds the lease of the study's looks. Raises ConfigError and SlurmError.
    """
    told: set[tuple[str, str]] = set()
    while not (now := steps.now).ended:
        told |= _print_new(now, told, steps.console)
        needed = _needed(steps, now)
        if not needed:
            return _waits(now, steps.written.plan)
        status = launch.launch(replace(steps.study, runs=tuple(needed), complete=False), console=steps.console)
        if steps.study.settings.dry_run:
            return Outcome(status=status, sentence="")
        after = steps.now
        if any(steps.arms[arm][seed] in needed for arm, seeds in after.missing.items() for seed in seeds):
            return _followed(steps, after, needed) or replace(_waits(after, steps.written.plan), status=status)
    _print_new(now, told, steps.console)
    return _conclusion(steps, now)


def _needed(steps: Steps, now: Looks) -> list[RunConfig]:
    """The runs without which the next look cannot be taken; a job leaves out those that have failed."""
    missing = [steps.arms[arm][seed] for arm, seeds in now.missing.items() for seed in seeds]
    if not steps.unattended:
        return missing
    ended = launch.ended_early(steps.folder)
    return [one for one in missing if one.name not in ended]


def _followed(steps: Steps, now: Looks, needed: Sequence[RunConfig]) -> Outcome | None:
    """Submit the job that takes the next look; None where there can be none, or nothing that it would wait for."""
    if steps.study.settings.wait or not look.possible(steps.one_of_each_arm):
        return None
    jobs = look.jobs_of(steps.folder, {one.name for one in needed})
    if not jobs:
        return None
    seeds, more = max(now.wanted.values()), look_study.described(steps.study, steps.arms, steps.written.plan)
    job = look.submit(
        steps.folder, f"look-{seeds}", steps.one_of_each_arm, after=jobs, program=look_study.PROGRAM, more=more
    )
    return Outcome(
        status=0,
        sentence=f"The look at {seeds} seeds is job {job}: when the runs have ended it reads, decides and submits the "
        "next seeds. Nothing has to stay logged in",
    )


def looks(folder: Path, written: WrittenPlan) -> Looks:
    """The looks that the finished runs of a study allow."""
    places = [folder / name for names in written.runs.values() for name in names]
    read = reading.all_of([str(place) for place in places if place.is_dir()])
    return looks_of(
        written,
        folder,
        [run for run in read if isinstance(run, Run)],
        [run for run in read if isinstance(run, Unfinished)],
    )


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
        raise ConfigError(f"seeds in steps compare arms, and there is one: {', '.join(arms)}")
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
    folder, control, contrasts = runs_folder() / study.name, study.settings.control, study.settings.contrasts
    return plan_file.declare(
        folder,
        plan,
        control=control,
        contrasts=contrast.read(contrasts),
        metric=metrics.pop(),
        runs=names,
        write=write,
    )


def _print_plan(written: WrittenPlan, study: Study, console: Console) -> None:
    counts = ", ".join(map(str, written.plan.looks))
    console.print(
        f"[bold]{escape(study.name)}[/]: {len(written.runs)} arms, looks at {counts} seeds an arm; at most "
        f"{written.longest} runs. A pair ends when it is decided, when it differs by less than "
        f"{written.plan.smallest:g}, or when a difference can hardly be seen any more"
    )
    console.print(sight.sentence(written))


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
        "most": f"{pair.a} and {pair.b} are inconclusive with the most seeds",
        "open": f"{pair.a} and {pair.b} go on",
    }
    return f"{words[pair.outcome]}, {interval}"


def _waits(now: Looks, plan: SeedPlan) -> Outcome:
    listed = "; ".join(f"{arm} seed {', '.join(map(str, seeds))}" for arm, seeds in now.missing.items())
    why = f" {divergence.blocked(now, plan)}" if now.diverged else ""
    return Outcome(
        status=1,
        sentence=f"The next look waits for {listed}.{why} When their jobs have ended, or what made them fail is "
        "repaired, the same command goes on",
    )


def _conclusion(steps: Steps, now: Looks) -> Outcome:
    seeds = {arm: now.seeds(arm) for arm in steps.written.runs}
    listed = ", ".join(f"{arm} {count}" for arm, count in seeds.items())
    return Outcome(
        status=0,
        sentence=f"The study has ended after {sum(seeds.values())} of at most {steps.written.longest} runs (seeds: "
        f"{listed}): align_lab compare {steps.study.name}",
    )
