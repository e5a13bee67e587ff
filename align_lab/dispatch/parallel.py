"""`hardware.placement.max_parallel` over all arrays of a study: their shares, written down and kept by Slurm.

Whoever submits an array gives it a share (`shares`), and a run that begins or has ended hands on what no array needs
any more. One at a time: the lease of the shares is held for one submission, or for one look at the queue.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypedDict

from align_lab.base import shapes
from align_lab.base.errors import ConfigError
from align_lab.base.files import read_json, write_json
from align_lab.base.hardware import Placement
from align_lab.base.lease import exclusive
from align_lab.dispatch import slurm
from align_lab.dispatch.ledger import Ledger, Submission
from align_lab.dispatch.plan import JobArray
from align_lab.dispatch.shares import Part, handed_on, of_next, waits
from align_lab.dispatch.slurm_commands import SlurmAway, SlurmError
from align_lab.record.layout import StudyLayout

UNBOUNDED = 1_000_000
PATIENCE, PAUSE = 300.0, 0.2  # seconds for which the lease is waited for, and between two tries


class _Part(TypedDict):
    token: str
    share: int
    behind: list[str]
    live: int


class _Stored(TypedDict):
    most: int
    parts: list[_Part]
    ended: list[str]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """`most`: the study's `max_parallel`. `ended`: jobs that Slurm still has, and whose runs have ended."""

    most: int = UNBOUNDED
    parts: tuple[Part, ...] = ()
    ended: tuple[str, ...] = ()


def bound(places: Iterable[Placement]) -> int | None:
    """The `max_parallel` of a study: the smallest that its runs on a cluster name; None where none does."""
    named = (place.max_parallel for place in places if place.executor == "slurm")
    return min((each for each in named if each is not None), default=None)


def begin(study: Path, most: int | None) -> None:
    """From now on `most` holds for what is submitted; arrays that have no share yet count with all their runs.

    Raises SlurmError, and ConfigError where another process holds the lease.
    """
    if most is None and _read(study) is None:
        return
    with _alone(study, PATIENCE):
        _hand_on(study, _of_all(study, most))


def foreseen(study: Path, batches: Sequence[JobArray], *, most: int | None) -> Iterator[tuple[JobArray, list[str]]]:
    """Each array with the share that `placed` would give it, and the jobs that it would wait behind: ids, and of arrays
    that are still to be submitted the first run. Nothing is written. Where Slurm is away, only these are counted.
    """
    if most is None and _read(study) is None:
        yield from ((batch, []) for batch in batches)
        return
    now, ids = Shares(most=most or UNBOUNDED), dict[str, str]()
    with suppress(SlurmError):
        now = _present(study, _of_all(study, most))
        ids = {one.token: str(one.job_id) for one in _submissions(study, [part.token for part in now.parts])}
    parts = [*_grown(now).values()]
    for batch, left in zip(batches, to_come(batches), strict=False):
        if batch.kind != "run":
            yield batch, []
            continue
        share, behind = of_next(parts, most=now.most, left=left)
        parts.append(Part(token=f"<{batch.tasks[0].name}>", share=share, behind=behind, live=len(batch.tasks)))
        yield batch.placed(max_parallel=share), [ids.get(token, token) for token in behind]


def to_come(batches: Sequence[JobArray]) -> Iterator[int]:
    """For one array after the other: how many arrays of runs are still to be submitted, with it. Never ends."""
    for number in range(len(batches)):
        yield sum(batch.kind == "run" for batch in batches[number:])
    while True:
        yield 1


@contextmanager
def placed(study: Path, submission: Submission, batch: JobArray, *, left: int) -> Generator[tuple[JobArray, list[str]]]:
    """The array with its share, and the ids of the jobs that it waits behind, for the time of its submission.

    `left`: the arrays of runs that are still to be submitted, with this one.
    """
    if batch.kind != "run" or _read(study) is None:
        yield batch, []
        return
    with _alone(study, PATIENCE):
        now = _present(study, _read(study) or Shares())
        share, behind = of_next(now.parts, most=now.most, left=left)
        new = Part(token=submission.token, share=share, behind=behind, live=len(batch.tasks))
        _write(study, replace(now, parts=(*now.parts, new)))
        yield batch.placed(max_parallel=share), [str(one.job_id) for one in _submissions(study, behind)]


def hand_on(study: Path, *, ended: str = "") -> None:
    """Called when a run begins, or when that of the job `ended` has ended: others get what no array needs any more.

    A run that begins leaves it to who holds the lease. Raises SlurmError and ConfigError.
    """
    shares = _read(study)
    if shares is None or (len(shares.parts) == 1 and shares.parts[0].share >= shares.most):
        return
    with _alone(study, PATIENCE if ended else 0):
        now = _read(study) or shares
        _hand_on(study, replace(now, ended=(*now.ended, *filter(None, [ended]))))


def waiting(study: Path) -> set[str]:
    """The tokens of the submissions that wait behind others."""
    parts = shares.parts if (shares := _read(study)) else ()
    there = {part.token for part in parts}
    return {part.token for part in parts if waits(part, there)}


def _of_all(study: Path, most: int | None) -> Shares:
    """The shares, and all the runs of each array that has none yet."""
    before = _read(study) or Shares()
    known = {part.token for part in before.parts}
    runs = [one for one in Ledger.of(study).submissions() if one.kind == "run" and one.executor == "slurm"]
    others = (Part(token=one.token, share=len(one.names)) for one in runs if one.token not in known)
    return replace(before, most=most or UNBOUNDED, parts=(*before.parts, *others))


def _grown(shares: Shares) -> dict[str, Part]:
    """Token -> part, with what no other needs any more."""
    larger = handed_on(shares.parts, most=shares.most)
    return {part.token: part for part in (*shares.parts, *larger)}


def _hand_on(study: Path, shares: Shares) -> None:
    """The larger shares are written before Slurm gives them, so that they are never given twice."""
    now = _present(study, shares)
    before = {part.token: part for part in now.parts}
    after = _grown(now)
    _write(study, replace(now, parts=tuple(after.values())))
    for submission in _submissions(study, [token for token in after if after[token] != before[token]]):
        try:
            _tell_slurm(study, submission, before[submission.token], after[submission.token])
        except SlurmAway:  # it may have been told
            raise
        except SlurmError:  # the last of its runs has just begun, or ended
            after[submission.token] = before[submission.token]
            _write(study, replace(now, parts=tuple(after.values())))


def _tell_slurm(study: Path, submission: Submission, before: Part, after: Part) -> None:
    job = str(submission.job_id)
    if submission.array and after.share > before.share:
        slurm.throttle(job, after.share)
    if before.behind:
        slurm.wait_no_longer(job, {str(one.job_id) for one in _submissions(study, before.behind)})


def _present(study: Path, shares: Shares) -> Shares:
    """With the number of live runs of each array, by Slurm, and without the arrays that have none."""
    submissions = {one.token: one for one in _submissions(study, [part.token for part in shares.parts])}
    jobs = slurm.query(slurm.names_of(submissions.values()))
    live = {job for job, info in jobs.items() if info.live}
    count = Counter(job.partition("_")[0] for job in live - {*shares.ended})
    jobs_of = {token: str(one.job_id) for token, one in submissions.items()}
    parts = (replace(part, live=count[jobs_of.get(part.token, "")]) for part in shares.parts)
    left = tuple(part for part in parts if part.live)
    return Shares(most=shares.most, parts=left, ended=tuple(job for job in shares.ended if job in live))


def _submissions(study: Path, tokens: Iterable[str]) -> list[Submission]:
    """Those of these tokens that Slurm has taken; where the command was killed, once that is certain."""
    ledger, wanted, taken = Ledger.of(study), {*tokens}, list[Submission]()
    for one in ledger.submissions() if wanted else ():
        if one.token in wanted:
            job = one.job_id or slurm.find_settled(one.job_name, lambda one=one: ledger.age(one))
            taken += [replace(one, job_id=job)] if job else []
    return taken


def _read(study: Path) -> Shares | None:
    """None where the study has no `max_parallel`. Of a file that is damaged nothing is counted on."""
    content = read_json(StudyLayout(study).shares)
    if not shapes.fits(content, _Stored):
        return None
    parts = (Part(**{**part, "behind": tuple(part["behind"])}) for part in content["parts"])
    return Shares(most=content["most"], parts=tuple(parts), ended=tuple(content["ended"]))


def _write(study: Path, shares: Shares) -> None:
    write_json(StudyLayout(study).shares, asdict(shares))


@contextmanager
def _alone(study: Path, patience: float) -> Generator[None]:
    """The lease of the shares. Raises ConfigError where another process holds it for so many seconds."""
    end = time.monotonic() + patience
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(exclusive(StudyLayout(study).shares_lease, _refusal))
                break
            except ConfigError:
                if time.monotonic() > end:
                    raise
            time.sleep(PAUSE)
        yield


def _refusal(owner: str) -> str:
    return f"{owner} is submitting jobs of the study, and max_parallel is given out by one process at a time"
