"""The order in which the workers of pytest-xdist get the test files: the longest first, and one worker has the cluster.

A file that takes minutes and starts last leaves the other workers idle. The tests of Slurm mostly wait, all for the one
cluster, so they are one unit of work that comes first, and the other files use the processor meanwhile.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

CLUSTER = "tests/slurm/"
LONGEST = (
    CLUSTER,
    "tests/train/test_sharded_engines.py",
    "tests/run/test_runs.py",
    "tests/preflight/test_preflight.py",
    "tests/dispatch/test_sweeps.py",
    "tests/studies/test_seed_steps.py",
    "tests/studies/test_tuning.py",
    "tests/train/test_processes.py",
    "tests/boards/",
    "tests/outside/",
    "tests/tasks/",
    "tests/rewards/test_judge_runs.py",
    "tests/train/",
    "tests/algos/test_papers.py",
)


def unit(nodeid: str) -> str:
    """What a worker gets as a whole: a file, or all tests of the cluster."""
    return CLUSTER if nodeid.startswith(CLUSTER) else nodeid.partition("::")[0]


def place(nodeid: str) -> int:
    """Where the unit of a test comes."""
    starts = (number for number, start in enumerate(LONGEST) if nodeid.startswith(start))
    return next(starts, len(LONGEST))


class LongestFirst(LoadScopeScheduling):
    """Units of work in the order of the collection."""

    def __init__(self, config: Any, log: Any) -> None:
        config.option.loadscopereorder = False  # xdist's own order: by the number of tests
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
