"""`align_lab logs RUN`: what the job of a run, stage or look has printed, and with -f what it prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from align_lab.base import answer
from align_lab.base.errors import ConfigError, near
from align_lab.base.paths import runs_folder
from align_lab.base.signals import stop_requests
from align_lab.cli.arguments import Arguments
from align_lab.dispatch.launch import current_states
from align_lab.dispatch.ledger import Ledger, latest
from align_lab.dispatch.slurm_commands import SlurmError
from align_lab.dispatch.state_rules import ACTIVE
from align_lab.dispatch.states import TaskState
from align_lab.record.layout import RunLayout
from align_lab.record.terminal import visible

POLL_SECONDS = 1.0
STATE_SECONDS = 5.0  # between two questions to Slurm
TAIL_LINES = 40
LISTED = 5  # names


def logs(args: Sequence[str]) -> int:
    """The newest log of a run, stage or look, on Slurm as on this machine. -f ends when the job has ended."""
    parser = Arguments(
        prog="align_lab logs",
        description="What the job of a run, a stage or a look has printed.",
    )
    parser.add_argument("run", metavar="RUN", help="a run, stage or look: NAME, STUDY/NAME or a path under runs/")
    parser.add_argument("-f", "--follow", action="store_true", help="print new lines, until the job has ended")
    parser.add_argument(
        "-n", "--lines", type=int, metavar="N", help=f"only the last N lines ({TAIL_LINES} with -f; otherwise all)"
    )
    options = parser.parse_args(args)
    study, name = task_of(options.run)
    lines = options.lines if options.lines is not None else TAIL_LINES if options.follow else None
    if not options.follow:
        file = log_of(study, name)
        if not file.exists():
            raise ConfigError(f"{name} has printed nothing yet: {_described(_state(study, name))}")
        content = _last(file.read_bytes(), lines)
        answer.give({"run": name, "log": str(file), "lines": content.decode(errors="replace").splitlines()})
        _print(content)
        return 0
    with stop_requests() as stop:
        stop.patient = True
        return follow(study, name, lines=lines, stopped=lambda: stop.asked)


def follow(study: Path, name: str, *, lines: int | None, stopped: Callable[[], bool]) -> int:
    """Print the last lines of the log, then every new one. Returns 0 once the task is done, 1 if it ended otherwise."""
    position: dict[Path, int] = {}
    said, asked, state = "", float("-inf"), None
    while not stopped():
        ended = state is not None and state.state not in ACTIVE  # known before the log is read to its end
        file = log_of(study, name)
        if file.exists():
            content = _new(file, position.get(file, 0))
            _print(content if file in position else _last(content, lines))
            position[file] = position.get(file, 0) + len(content)
        if ended:
            print(f"{name}: {_described(state)}", file=sys.stderr)
            return 0 if state is not None and state.state == "done" else 1
        if time.monotonic() - asked >= STATE_SECONDS:
            state, asked = _state(study, name) or state, time.monotonic()
            if not position and said != (said := _described(state)):
                print(f"{name}: {said}", file=sys.stderr)
        time.sleep(POLL_SECONDS)
    return 0


def task_of(given: str) -> tuple[Path, str]:
    """(folder of the study, name) of a task that was submitted. Raises ConfigError with what is near."""
    path = Path(given)
    if path.is_dir():
        given = f"{path.resolve().parent.name}/{path.name}"
    within, _, name = given.rpartition("/")
    known: dict[str, tuple[Path, str]] = {}
    for study in (folder for folder in sorted(runs_folder().glob(within or "*")) if Ledger.of(folder).folder.is_dir()):
        known |= {f"{study.name}/{task}": (study, task) for task in latest(Ledger.of(study).submissions())}
    found = [place for place in known.values() if place[1] == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"{name} is in {', '.join(sorted(study.name for study, _ in found))}: type STUDY/{name}")
    if (runs_folder() / given).is_dir() and "/" not in given:
        tasks = [task for study, task in known.values() if study.name == given]
        more = f", and {len(tasks) - LISTED} more" if len(tasks) > LISTED else ""
        named = f"{', '.join(tasks[:LISTED])}{more}" if tasks else f"none has a job (align_lab status {given})"
        raise ConfigError(f"{given} is a study, and logs shows one of its runs, stages or looks: {named}")
    for folder in runs_folder().glob(f"{within or '*'}/{name}"):
        raise ConfigError(_without_log(RunLayout(folder)))
    hint = near(given, known, show_all=5) if known else f"no study under {runs_folder().resolve()} has jobs"
    raise ConfigError(f"no job was submitted for {given!r}: {hint}. Type align_lab studies")


def _without_log(run: RunLayout) -> str:
    """What a run has in place of a log that was started alone, in a terminal."""
    study, name = run.path.parent.name, run.path.name
    files = {"its metrics": run.metrics, "its completions": run.samples, "why it failed": run.errors}
    recorded = [f"{what}: {file}" for what, file in files.items() if file.exists()]
    state = f"It is {_described(_state(run.path.parent, name))}. "
    return (
        f"{name} has no log: it ran in the terminal of its command, and what it printed went there. {state}"
        f"Type align_lab status {study}, or read {', '.join(recorded) or run.path}"
    )


def log_of(study: Path, name: str) -> Path:
    """The file that the newest job of a task prints into. Array tasks and requeued jobs have one each."""
    ledger = Ledger.of(study)
    job = latest(ledger.submissions())[name].ids().get(name, "")
    return ledger.log(job)


def _new(file: Path, start: int) -> bytes:
    """What was added after `start`, up to the end of the last whole line."""
    with file.open("rb") as log:
        log.seek(start)
        added = log.read()
    return added[: added.rfind(b"\n") + 1]


def _last(content: bytes, lines: int | None) -> bytes:
    return content if lines is None else b"".join(content.splitlines(keepends=True)[-lines:] if lines else [])


def _print(content: bytes) -> None:
    if content:
        print(visible(content.decode(errors="replace")), end="", flush=True)


def _state(study: Path, name: str) -> TaskState | None:
    """None where Slurm does not answer: it is asked again."""
    try:
        return next((task for task in current_states(study) if task.name == name), None)
    except SlurmError:
        return None


def _described(state: TaskState | None) -> str:
    return "Slurm does not answer" if state is None else state.state + (f": {state.why}" if state.why else "")
