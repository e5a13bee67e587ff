"""A command that is killed, or meets a trouble, and is given again until it has ended: what does it leave?"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.kills import cases, disk, record
from tests.kills.cases import Case
from tests.kills.forks import Command, Place, end, start
from tests.kills.record import Record

AGAIN = 1 / 3  # how often a command that is given again is killed again
BY_SECONDS = (*cases.ENGINES, cases.STUDY)  # most of their work is in processes that they start
MOST = 6  # commands, of which the last has to be right


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """What a command leaves that nothing disturbs, and how long it takes."""

    record: Record
    operations: int
    seconds: float
    size: int  # bytes of all files


@dataclass(kw_only=True)
class Result:
    """What became of a case. `said`: the last words of commands that ended with another status than 0."""

    case: Case
    kills: int = 0
    again: int = 0
    differences: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    orphans: int = 0
    unsaid: list[str] = field(default_factory=list)  # what commands ended with that did not say why
    said: list[str] = field(default_factory=list)  # what they said
    survived: bool = False  # the trouble did not end the command

    @property
    def equal(self) -> bool:
        """Is the record that of the undisturbed command?"""
        return not self.differences

    @property
    def finding(self) -> bool:
        """Is anything as it must not be?"""
        return bool(self.differences or self.leftovers or self.orphans or self.unsaid)


class Attempts:
    """Cases in folders of their own. `folder`: where they are made."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.undisturbed = cache(self._undisturbed)
        self.artefacts: Path | None = None

    def place(self, case: Case, *, size: int = 0) -> Place:
        """An empty folder for it, with the artefacts that all of them need. `size`: bytes of a disk of its own."""
        if not case.cold and self.artefacts is None:
            words = ("study=s", *cases.SMALL, "algo=rloo")
            first = self._place(cold=True)
            ended(start(words, first))
            self.artefacts = first.cache
        return self._place(cold=case.cold, size=size)

    def _place(self, *, cold: bool, size: int = 0) -> Place:
        path = Path(tempfile.mkdtemp(dir=self.folder)) / "place"
        path.mkdir()
        if size:
            disk.mount(path, size)
        return cases.furnished(path, None if cold else self.artefacts)

    def _undisturbed(self, case: Case) -> Undisturbed:
        place = self.place(case)
        began = time.monotonic()
        command = start(case.words, place)
        ended(command)
        seconds = time.monotonic() - began
        found = Undisturbed(
            record=record.read(place),
            operations=command.operations.value,
            seconds=seconds,
            size=sum(file.lstat().st_blocks * 512 for file in place.path.rglob("*")),
        )
        self.remove(place)
        return found

    def killed(self, case: Case) -> Result:
        """Kill the command at a random moment, and perhaps again, then let it end."""
        whole, place, result = self.undisturbed(case), self.place(case), Result(case=case)
        while not result.kills or (self.rng.random() < AGAIN and result.again < MOST):
            command = self._kill(case, place, whole)
            result.kills += command is not None
            if command is None and not result.kills:  # it ended before: another folder
                self.remove(place)
                place = self.place(case)
                continue
            if command is not None:
                note(command, result)
            result.again += 1
        self.finished(case, place, result)
        return result

    def _kill(self, case: Case, place: Place, whole: Undisturbed) -> Command | None:
        """The command that was killed, or one of its processes; None where it ended before."""
        if case.kind not in BY_SECONDS and self.rng.random() < 0.5:
            command = start(case.words, place, kill_at=self.rng.randint(1, whole.operations))
            assert command.wait(), command.text
            return command if command.status == -9 else None
        command = start(case.words, place)
        if command.wait(self.rng.uniform(0, whole.seconds)):
            return None
        started = sorted(command.started())
        if started and self.rng.random() < 0.5:
            end(self.rng.choice(started))
        else:
            command.kill()
        assert command.wait(), command.text
        return command

    def finished(self, case: Case, place: Place, result: Result) -> None:
        """Give the command until it has ended well, and compare what it leaves."""
        for _ in range(MOST):
            command = start(case.words, place)
            assert command.wait(), command.text
            note(command, result)
            if command.status == 0:
                break
        whole, now = self.undisturbed(case), record.read(place)
        result.differences = now.differences(whole.record)
        result.leftovers = now.leftovers(whole.record)
        self.remove(place)

    def remove(self, place: Place) -> None:
        """The folder with all that is in it."""
        disk.unmount(place.path)
        shutil.rmtree(place.path.parent, ignore_errors=True)


def note(command: Command, result: Result) -> None:
    """Add to the result what processes and words a command has left that has ended."""
    left = command.orphans()
    result.orphans += len(left)
    for pid in left:
        end(pid)
    text = command.text
    if "Traceback (most recent call last)" in text or (command.status or 0) not in (0, 1, 2, 75, -9):
        result.unsaid.append(f"status {command.status}: {text[-1500:]}")
    elif command.status not in (0, -9):
        result.said.append(text.strip().splitlines()[-1] if text.strip() else "")
        if not text.strip():
            result.unsaid.append(f"status {command.status} without a word")


def ended(command: Command) -> None:
    """Wait for a command that nothing disturbs."""
    assert command.wait() and command.status == 0, command.text
    assert not command.orphans()
