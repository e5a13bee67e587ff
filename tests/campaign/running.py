"""Commands in forks of this process: what the command line does with them, without training."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

SECONDS = 10  # of processor time: a case that needs more hangs
REFUSED, ACCEPTED, SILENT, TRACEBACK, UNCLEAR = "refused", "accepted", "silent", "traceback", "unclear"
OUTCOMES = (REFUSED, ACCEPTED, SILENT, TRACEBACK, UNCLEAR)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command line and the files that it finds.

    `words` are what is typed after `align_lab`, or with `compose` the overrides of one run, which is only
    composed and checked. `meaningless`: accepting it would be wrong. `names`: what a refusal has to name. `statuses`:
    which are right beside 0 and 2. `prepare` changes the folder, which begins empty, before the command.
    """

    kind: str
    what: str
    words: tuple[str, ...]
    compose: bool = False
    meaningless: bool = False
    names: str = ""
    statuses: tuple[int, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = field(default=None, repr=False)
    seen: Callable[[str], bool] | None = field(default=None, repr=False)  # of all output: does it tell of the damage?


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a case. `status` is None where an exception left the command. `written`: files that it made."""

    status: int | None
    output: str
    errors: str
    trace: str = ""
    written: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A case with its class."""

    case: Case
    answer: Answer
    outcome: str


def run(cases: Sequence[Case], *, batch: int = 40, seconds: float = SECONDS) -> Iterator[Result]:
    """Every case, in its order. Those that only compose share a fork; a finding among them is typed as a command.

    seconds: of processor time, which a case may take.
    """
    waiting: list[Case] = []
    for case in cases:
        waiting.append(case)
        if len(waiting) == batch or not case.compose:
            yield from _answered(waiting, seconds)
            waiting = []
    yield from _answered(waiting, seconds)


def _answered(cases: Sequence[Case], seconds: float) -> Iterator[Result]:
    for case, answer in zip(cases, _forked(cases, seconds), strict=True):
        outcome = classify(case, answer)
        if len(cases) > 1 and outcome in (TRACEBACK, SILENT, UNCLEAR):
            (answer,) = _forked([replace(case, compose=False, words=(*case.words, "dry_run=true"))], seconds)
            outcome = classify(case, answer)
        yield Result(case=case, answer=answer, outcome=outcome)


def classify(case: Case, answer: Answer) -> str:
    """One of OUTCOMES."""
    text = answer.output + answer.errors
    if answer.status is None or "Traceback (most recent call last)" in text:
        return TRACEBACK
    if case.seen is not None:
        return SILENT if answer.status == 0 and not case.seen(text) else ACCEPTED if answer.status == 0 else REFUSED
    if answer.status == 2:
        return REFUSED if _tells(case, answer.errors) else UNCLEAR
    if answer.status == 0:
        return SILENT if case.meaningless else ACCEPTED
    return REFUSED if answer.status in case.statuses and text.strip() else UNCLEAR


def _tells(case: Case, errors: str) -> bool:
    """Does the refusal name what was found, and say more than that?"""
    return case.names in errors and len(errors.strip()) > len(case.names) + 20


def _forked(cases: Sequence[Case], seconds: float = SECONDS) -> list[Answer]:
    """The answers of cases that share a fork. One that ends the fork, or hangs, is a traceback; the others go on."""
    answers: list[Answer] = []
    while len(answers) < len(cases):
        with tempfile.TemporaryFile("w+") as notes:
            pid = os.fork()
            if not pid:
                _child(cases[len(answers) :], notes.fileno(), seconds)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            notes.seek(0)
            answers += [Answer(**json.loads(line)) for line in notes]
        if len(answers) < len(cases):
            answers.append(Answer(status=None, output="", errors="", trace=f"the process ended with {status}"))
    return answers


def _child(cases: Sequence[Case], notes: int, seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        for case in cases:
            signal.setitimer(signal.ITIMER_PROF, seconds)  # processor time: a busy machine is no hang
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            os.write(notes, (json.dumps(asdict(_one(case))) + "\n").encode())
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _one(case: Case) -> Answer:
    place = Path(tempfile.mkdtemp(prefix="campaign-"))
    here = os.getcwd()
    try:
        for name, content in case.files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        os.chdir(place)
        if case.prepare:
            case.prepare(place)
        sys.path.insert(0, str(place))
        before = set(place.rglob("*"))
        answer = _asked(case)
        return replace(answer, written=[str(path.relative_to(place)) for path in {*place.rglob("*")} - before])
    finally:
        sys.path.remove(str(place))
        os.chdir(here)
        shutil.rmtree(place, ignore_errors=True)


def _asked(case: Case) -> Answer:
    status, trace = None, ""
    with _streams() as (output, errors):
        try:
            status = _status(case)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        except BaseException:  # whatever it is, it is a finding
            trace = traceback.format_exc()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        return Answer(status=status, output=output(), errors=errors(), trace=trace[-3000:])


def _status(case: Case) -> int:
    from align_lab.__main__ import main

    if not case.compose:
        return main(list(case.words))
    from align_lab.base.errors import AlignLabError
    from align_lab.config import composition

    try:
        _composer().run(list(case.words))
    except AlignLabError as error:
        composition.load_components()
        print("error:", error, file=sys.stderr)
        return error.status
    return 0


_known: list[Any] = []


def _composer() -> Any:
    """One for all cases of a fork: Hydra composes each choice of groups once."""
    if not _known:
        from align_lab.config import composition

        composition.load_components()
        _known.append(composition.Composer())
    return _known[0]


@contextlib.contextmanager
def _streams() -> Iterator[tuple[Callable[[], str], Callable[[], str]]]:
    """The standard streams of this process become files, and its input is empty."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull) as none:
        kept = [os.dup(number) for number in range(3)]
        old = sys.stdin, sys.stdout, sys.stderr
        for number, file in enumerate((none, out, err)):
            os.dup2(file.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, closefd=False, encoding="utf-8", errors=errors)  # noqa: SIM115
            for number, (mode, errors) in enumerate((("r", None), ("w", None), ("w", "backslashreplace")))
        )
        try:
            yield _reader(out), _reader(err)
        finally:
            sys.stdin, sys.stdout, sys.stderr = old
            for number, descriptor in enumerate(kept):
                os.dup2(descriptor, number)
                os.close(descriptor)


def _reader(file: Any) -> Callable[[], str]:
    def read() -> str:
        file.seek(0)
        return file.read(200_000).decode(errors="replace")

    return read
