"""The runs of one study, or of several together: what was finished, what was not, and what was meant to be there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from align_lab.base.contrast import Contrast
from align_lab.base.design import Design
from align_lab.compare.index import aligned
from align_lab.compare.reading import read_study
from align_lab.compare.runs import Run, Unfinished
from align_lab.record import expected


@dataclass(kw_only=True)
class StudyRuns:
    """Runs in the order of the studies, then of their names; all have the same columns.

    Where two studies use one name for different runs, it is STUDY/NAME, so that no two runs have one name.
    """

    folders: Sequence[Path]
    runs: list[Run] = field(default_factory=list)
    unfinished: list[Unfinished] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    controls: set[str] = field(default_factory=set)  # the arms that the studies compare all others with
    contrasts: list[Contrast] = field(default_factory=list)  # the pairs of arms that alone are asked for
    smallest: set[float] = field(default_factory=set)  # the gaps that matter, as the studies declare them
    paired: set[bool] = field(default_factory=set)  # are arms compared seed by seed, as the studies declare it?
    designs: list[Design] = field(default_factory=list)  # of studies whose arms are combinations of factors
    claims: list[str] = field(default_factory=list)  # what is to be decided of two arms
    expected: dict[str, set[int]] = field(default_factory=dict)  # arm -> its seeds, where a sweep declared them
    left: list[str] = field(default_factory=list)  # runs that the sweep file no longer names

    @property
    def name(self) -> str:
        """The studies' names."""
        return " + ".join(folder.resolve().name for folder in self.folders)

    def link(self, run: Run) -> str:
        """Its folder, seen from the first study's."""
        home = f"{self.folders[0]}/"
        return run.place.removeprefix(home) if run.place.startswith(home) else os.path.relpath(run.place, home)


def read(folders: Sequence[Path]) -> StudyRuns:
    """A run that several of the folders hold, or link to, counts once.

    Raises ConfigError for a folder without runs, and DataError where what its study asks is damaged.
    """
    pool, places = StudyRuns(folders=list(folders)), set[str]()
    for folder in folders:
        runs, unfinished = read_study(folder)
        declared = expected.read(folder)
        _declare(pool, declared, {run.name for run in runs})
        arms = {name: str(about.get("arm") or "") for name, about in declared["runs"].items()}
        taken = {run.name for run in pool.runs}
        for run in _new(runs, places) if len(folders) > 1 else runs:
            pool.runs.append(_named(run, arms.get(run.name, ""), _prefix(run.name, folder, taken)))
        pool.unfinished += [_expected(run, declared) for run in unfinished]
    pool.runs = aligned(pool.runs)
    return pool


def _new(runs: Sequence[Run], places: set[str]) -> Iterator[Run]:
    """Runs that no other folder has held yet; `places` remembers them."""
    for run in runs:
        place = os.path.realpath(run.place)
        if place not in places:
            places.add(place)
            yield run


def _prefix(name: str, folder: Path, taken: set[str]) -> str:
    """What goes before a name that is taken: the study's name, or its path where another study has that name too."""
    prefixes = ("", f"{folder.resolve().name}/", f"{folder.resolve()}/")
    return next(prefix for prefix in prefixes if prefix + name not in taken)


def _named(run: Run, arm: str, prefix: str) -> Run:
    """The study's name for an arm has the last word: a linked run was finished by another study, under another name."""
    if not prefix and arm in ("", run.base):
        return run
    return replace(run, name=prefix + run.name, arm=arm or run.arm)


def _expected(run: Unfinished, declared: Mapping[str, Any]) -> Unfinished:
    about = declared["runs"].get(run.name, {})
    return replace(run, arm=str(about.get("arm") or run.arm), seed=about.get("seed", run.seed))


def _declare(pool: StudyRuns, declared: Mapping[str, Any], finished: set[str]) -> None:
    question = str(declared["question"])
    if question and question not in pool.questions:
        pool.questions.append(question)
    pool.controls.add(str(declared["control"]))
    pool.contrasts += [pair for pair in map(_pair, declared["contrasts"]) if pair not in pool.contrasts]
    if (smallest := declared["smallest"]) is not None:
        pool.smallest.add(float(smallest))
    if (paired := declared["paired"]) is not None:
        pool.paired.add(bool(paired))
    if factors := declared["factors"]:
        levels = {factor: tuple(each) for factor, each in factors.items()}
        pool.designs.append(Design(levels=levels, cells={arm: tuple(cell) for arm, cell in declared["cells"].items()}))
    pool.claims += [text for text in declared["claims"] if text not in pool.claims]
    for about in declared["runs"].values():
        if about.get("arm") and about.get("seed") is not None:
            pool.expected.setdefault(str(about["arm"]), set()).add(int(about["seed"]))
    pool.left += sorted(finished & set(declared["left"]))


def _pair(names: Sequence[str]) -> Contrast:
    first, second = names
    return str(first), str(second)
