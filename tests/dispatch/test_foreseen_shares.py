"""A dry run prints the share of `max_parallel` that each array would get, and what it would wait behind."""

import pytest

from align_lab.config.composition import compose
from align_lab.dispatch import parallel
from align_lab.dispatch.plan import JobArray, Task, placement_of


@pytest.fixture
def batches():
    """A stage and three arrays of two runs."""
    cfg = compose(["algo=rloo", "hardware=slurm_gpu", "study=large"])
    place = placement_of(cfg)
    stage = Task(name="sft", kind="stage", cfg=cfg, placement=place)
    runs = [[Task(name=f"{arm}{seed}", kind="run", cfg=cfg, placement=place) for seed in (1, 2)] for arm in "abc"]
    return [JobArray(tasks=tuple(tasks)) for tasks in ([stage], *runs)]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (None, [(None, []), (None, []), (None, []), (None, [])]),
        (2, [(None, []), (1, []), (1, []), (1, ["<b1>"])]),
        (5, [(None, []), (1, []), (2, []), (2, [])]),
    ],
)
def test_the_shares_are_those_that_arrays_would_be_given(tmp_path, batches, most, expected):
    shares = [
        (batch.placement.max_parallel, behind) for batch, behind in parallel.foreseen(tmp_path, batches, most=most)
    ]
    assert shares == expected and not list(tmp_path.iterdir())
