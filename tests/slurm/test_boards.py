"""A job that is requeued continues the same W&B run: each row is there once."""

import os
import signal

import pytest

pytest.importorskip("wandb", reason="pip install 'align_lab[wandb]'")

from tests.boards.test_wandb_runs import as_shown, holds_key, online
from tests.run.test_runs import rows
from tests.slurm.conftest import until
from tests.slurm.test_survive import RUN

__all__ = ["online"]  # fixture


def test_a_requeued_job_continues_the_same_run_there(lab, online):
    """The processes of the first attempt all end with the job, the one that feeds W&B as well."""
    server, where = online
    lab.train(*RUN, "study=shown", "record=wandb", **where)
    status = lab.at_step("shown", 3, seconds=150)
    os.kill(status["pid"], signal.SIGSTOP)  # its rows are sent all the same: another process sends them
    shown = lambda: [name for name in server.of_type("train") if server.rows(name)]  # noqa: E731
    until(shown, 60, lambda: lab.logs("shown"))
    lab.cluster("scontrol", "requeue", status["job"])
    (run,) = lab.wait("shown")
    (name,) = server.of_type("train")
    assert run["requeued"] == 1
    until(lambda: as_shown(server, name) == rows(lab.path("shown")), 30)  # a run is done a little before its feed
    assert holds_key(lab.folder) == []
