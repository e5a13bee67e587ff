"""What may happen to a command beside a kill: too little of something, a wrong clock, a stop, a cache that is gone.

A command may end by it, if it says why. The same command, once the trouble is over, has to end with the record of an
undisturbed one.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.kills import cases, disk
from tests.kills.attempts import Attempts, Result, note
from tests.kills.cases import Case
from tests.kills.forks import Command, Place, start

MIB = 1 << 20
STOPPED = 1.0  # seconds at a time
SMALLEST = 64 << 10  # bytes of a disk
DAYS = 3 * 86400.0
Meanwhile = Callable[[Command], None]


def little_memory(attempts: Attempts, case: Case) -> Result:
    """Address space for no more than so much beyond what the imports take."""
    beyond = attempts.rng.randint(1, 400) * MIB

    def limit() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + beyond, used + beyond))

    return _troubled(attempts, case, prepare=limit)


def few_descriptors(attempts: Attempts, case: Case) -> Result:
    """No more open files than so many."""
    most = attempts.rng.randint(8, 40)
    return _troubled(attempts, case, prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))


def wrong_clock(attempts: Attempts, case: Case) -> Result:
    """The clock jumps by up to three days, forwards and backwards, each time that it is asked."""
    rng = random.Random(attempts.rng.random())

    def jump() -> None:
        here = time.time
        time.time = lambda: here() + rng.uniform(-DAYS, DAYS)

    return _troubled(attempts, case, prepare=jump)


def stopped(attempts: Attempts, case: Case) -> Result:
    """SIGSTOP and later SIGCONT, at three moments."""
    whole = attempts.undisturbed(case)
    pauses = [attempts.rng.uniform(0, whole.seconds / 3) for _ in range(3)]

    def stop(command: Command) -> None:
        for pause in pauses:
            if command.wait(pause):
                return
            os.kill(command.pid, signal.SIGSTOP)
            time.sleep(STOPPED)
            os.kill(command.pid, signal.SIGCONT)

    return _troubled(attempts, case, meanwhile=stop)


def lost_cache(attempts: Attempts, case: Case) -> Result:
    """All artefacts are removed at some moment."""
    moment = attempts.rng.uniform(0, attempts.undisturbed(case).seconds)
    place = attempts.place(case)

    def remove(command: Command) -> None:
        command.wait(moment)
        shutil.rmtree(place.cache / "artefacts", ignore_errors=True)

    return _troubled(attempts, case, place=place, meanwhile=remove)


def full_disk(attempts: Attempts, case: Case) -> Result:
    """The disk of the runs and of the cache takes so much and no more, and later enough."""
    need = attempts.undisturbed(case).size
    place = attempts.place(replace(case, cold=True), size=attempts.rng.randint(SMALLEST, need))
    return _troubled(attempts, case, place=place, after=lambda: disk.enlarge(place.path))


def _troubled(
    attempts: Attempts,
    case: Case,
    *,
    place: Place | None = None,
    prepare: Callable[[], None] = lambda: None,
    meanwhile: Meanwhile = lambda command: None,
    after: Callable[[], object] = lambda: None,
) -> Result:
    place, result = place or attempts.place(case), Result(case=case)
    attempts.undisturbed(case)
    command = start(case.words, place, prepare=prepare)
    meanwhile(command)
    assert command.wait(), command.text
    note(command, result)
    result.survived = command.status == 0
    after()
    attempts.finished(case, place, result)
    return result


ALL = {
    "memory for less": little_memory,
    "few open files": few_descriptors,
    "a clock that jumps": wrong_clock,
    "SIGSTOP and SIGCONT": stopped,
    "a cache that is deleted": lost_cache,
    "a full disk": full_disk,
}
KINDS = (cases.ALGORITHMS, cases.PYTHON, cases.ALGORITHMS, cases.STAGES)  # of commands, in turn
