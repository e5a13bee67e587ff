"""What of a study did not fit into the queue, written down for the jobs that submit it as they end (`top_up`)."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from align_lab.base.files import write_text
from align_lab.base.hardware import Placement
from align_lab.base.run_config import RunConfig
from align_lab.dispatch.plan import JobArray, Task, payload
from align_lab.record.layout import StudyLayout


@dataclass(frozen=True, kw_only=True)
class Rest:
    """The tasks that are left, the snapshot of the code that they run, and the jobs that have given up submitting them.

    Those are about to end, and count as jobs of the queue until they have.
    """

    tasks: tuple[Task, ...]
    code: Path
    digest: str
    gone: tuple[str, ...] = ()


def keep(study: Path, batches: Sequence[JobArray], *, code: Path, digest: str, gone: Sequence[str] = ()) -> None:
    """Write down what is left, or that nothing is. The caller holds the lease of the study."""
    tasks = [task for batch in batches for task in batch.tasks]
    if not tasks:
        forget(study)
        return
    head = json.dumps({"code": str(code), "digest": digest, "gone": list(gone), "names": [task.name for task in tasks]})
    write_text(StudyLayout(study).rest, "".join(f"{line}\n" for line in (head, *map(_line, tasks))))


def forget(study: Path, tasks: Collection[str] | None = None) -> None:
    """Nothing of these tasks is to be submitted any more, or of all."""
    waiting = read(study)
    if waiting is None or tasks is None:
        StudyLayout(study).rest.unlink(missing_ok=True)
        return
    kept = [JobArray(tasks=(task,)) for task in waiting.tasks if task.name not in tasks]
    keep(study, kept, code=waiting.code, digest=waiting.digest, gone=waiting.gone)


def give_up(study: Path, job: str) -> None:
    """The job ends, and leaves what is left to the others. The caller holds the lease of the study."""
    if waiting := read(study):
        batches = [JobArray(tasks=waiting.tasks)]
        keep(study, batches, code=waiting.code, digest=waiting.digest, gone=[*waiting.gone, job])


def read(study: Path) -> Rest | None:
    """What is left; None where nothing is, or where the file cannot be read: the command that is typed again knows."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        head, *lines = StudyLayout(study).rest.read_text(encoding="utf-8").splitlines()
        card = json.loads(head)
        return Rest(
            tasks=tuple(map(_task, lines)),
            code=Path(card["code"]),
            digest=str(card["digest"]),
            gone=tuple(map(str, card["gone"])),
        )
    return None


def names(study: Path) -> set[str]:
    """The runs and stages that wait for room in the queue. Read from the first line alone: `status` asks often."""
    with suppress(OSError, ValueError, KeyError, TypeError), StudyLayout(study).rest.open(encoding="utf-8") as file:
        return set(map(str, json.loads(file.readline())["names"]))
    return set()


def _line(task: Task) -> str:
    return json.dumps({**payload(task), "placement": asdict(task.placement), "needs": task.needs})


def _task(line: str) -> Task:
    values = json.loads(line)
    return Task(
        name=values["name"],
        kind=values["kind"],
        cfg=RunConfig(values["values"], values["choices"]),
        placement=Placement(**values["placement"]),
        needs=tuple(values["needs"]),
    )


def can_be_topped_up(batches: Sequence[JobArray]) -> bool:
    """May the jobs of these placements submit jobs? Inside a container there is no sbatch."""
    return all(batch.placement.look_job and not batch.placement.container for batch in batches)
