"""`align_lab studies`: every study under runs/ with its question, its runs by state, and its verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from align_lab.base import answer
from align_lab.base.errors import AlignLabError
from align_lab.base.paths import runs_folder
from align_lab.cli.arguments import Arguments
from align_lab.cli.status import states_of
from align_lab.compare.last_verdict import last_verdict
from align_lab.dispatch import expected_runs
from align_lab.dispatch.state_rules import ACTIVE
from align_lab.dispatch.states import TaskState
from align_lab.record.layout import CONFIG, DISPATCH, StudyLayout
from align_lab.record.terminal import Terminal, escape

TRIALS = "_tuning"  # what the folder of a study's trials ends with


@dataclass(frozen=True, kw_only=True)
class StudyLine:
    """A study in one line. One of `verdict` and `missing` is empty."""

    study: str
    question: str = ""
    runs: dict[str, int] = field(default_factory=dict[str, int])  # state -> how many
    verdict: str = ""  # of the last comparison, which is of these runs
    missing: str = ""  # what is to be done for one


def studies(args: Sequence[str]) -> int:
    """Print a line for each study. One that cannot be read says so in its line, and spoils no other."""
    parser = Arguments(
        prog="align_lab studies",
        description="The studies under runs/: question, runs by state, and the verdict of the last comparison, or what "
        "is missing for one.",
    )
    parser.parse_args(args)
    lines = list(of_folder(runs_folder()))
    answer.give({"studies": [asdict(line) for line in lines]})
    console = Terminal(soft_wrap=True)
    if not lines:
        console.print(f"no study under {escape(str(runs_folder().resolve()))}. To begin: align_lab algo=rloo")
    counts = [", ".join(f"{count} {state}" for state, count in line.runs.items()) or "no runs" for line in lines]
    first, second = (max(map(len, texts), default=0) for texts in ([line.study for line in lines], counts))
    for line, count in zip(lines, counts, strict=True):
        told = " ".join(filter(None, (line.question, line.verdict, line.missing)))
        console.print(f"[bold]{escape(f'{line.study:<{first}}')}[/]  {count:<{second}}  {escape(told)}")
    return 0


def of_folder(folder: Path) -> Iterator[StudyLine]:
    """Every study in a folder, by name."""
    for study in sorted(folder.glob("[!.]*")):
        if (study / DISPATCH).is_dir() or next(study.glob(f"*/{CONFIG}"), None) is not None:
            yield _line(study)


def _line(study: Path) -> StudyLine:
    try:
        runs = [task for task in states_of(study) if task.kind == "run"]
        question = str(expected_runs.read(study)["question"])
    except (AlignLabError, OSError) as error:
        return StudyLine(study=study.name, missing=f"cannot be read: {error}")
    verdict, why = last_verdict(study, [run.name for run in runs if run.state == "done"])
    return StudyLine(
        study=study.name,
        question=question,
        runs=dict(Counter(run.state for run in runs)),
        verdict=verdict,
        missing="" if verdict else _missing(study, runs, why),
    )


def _missing(study: Path, runs: Sequence[TaskState], why: str) -> str:
    """What stands between the study and a verdict, and the command for it. `why`: why the last comparison says none."""
    name, states = study.name, Counter(run.state for run in runs)
    of = name.removesuffix(TRIALS)
    if of != name and StudyLayout(study.with_name(of)).tuning.exists():
        return f"the trials of {of}"
    if active := sum(states[state] for state in ACTIVE):
        return f"{active} to end: align_lab status {name} --watch"
    if states["failed"]:
        return f"{states['failed']} failed, why: align_lab status {name}"
    if rest := len(runs) - states["done"]:
        return f"{rest} to do: the command that started it goes on"
    if not states["done"]:
        return "no run was started"
    return f"{why}: align_lab compare {name}"
