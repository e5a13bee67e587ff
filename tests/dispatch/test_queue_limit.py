"""A study of more jobs than an account may have in the queue."""

import pytest

from align_lab.base.hardware import Placement
from align_lab.base.run_config import RunConfig
from align_lab.dispatch.plan import JobArray, Task
from align_lab.dispatch.queue_limit import QueueIsFull, as_many_as_fit
from align_lab.dispatch.submit import Refused

LIMIT = (  # as Slurm says it
    "sbatch refused a and others: sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job "
    "submit limit, user's size and/or time limits)"
)


def arrays(*sizes):
    place, cfg = Placement(executor="slurm"), RunConfig({}, {})
    names = iter(range(sum(sizes)))
    tasks = [[Task(name=str(next(names)), kind="run", cfg=cfg, placement=place) for _ in range(size)] for size in sizes]
    return [JobArray(tasks=tuple(part)) for part in tasks]


class Queue:
    """It takes so many jobs."""

    def __init__(self, room):
        self.room, self.taken = room, []

    def __call__(self, batch):
        if len(batch.tasks) > self.room:
            raise Refused(LIMIT)
        self.room -= len(batch.tasks)
        self.taken += [int(task.name) for task in batch.tasks]
        return len(batch.tasks)


@pytest.mark.parametrize("room", [1, 6, 7, 10, 999])
def test_as_many_runs_as_the_queue_takes_are_submitted_and_the_others_are_counted(room):
    queue = Queue(room)
    with pytest.raises(QueueIsFull, match=f"no more jobs in the queue: {1000 - room} are left") as full:
        list(as_many_as_fit(arrays(6, 994), queue))
    assert queue.taken == list(range(room))
    assert [int(task.name) for batch in full.value.left for task in batch.tasks] == list(range(room, 1000))


def test_a_study_that_fits_is_not_split():
    assert list(as_many_as_fit(arrays(6, 4), Queue(10))) == [6, 4]


def test_another_refusal_is_no_matter_of_numbers():
    def refuse(batch):
        raise Refused("sbatch refused a: invalid partition specified")

    with pytest.raises(Refused, match="invalid partition specified$"):
        list(as_many_as_fit(arrays(6), refuse))
