"""A requeued job continues the same W&B run: each row is logged once."""

import os
import signal

import pytest

pytest.importorskip("wandb", reason="pip install 'align_lab[wandb]'")

from tests.boards.test_wandb_runs import holds_key, logged_rows, online
from tests.run.test_runs import rows
from tests.slurm.conftest import until
from tests.slurm.test_survive import RUN

__all__ = ["online"]  # fixture


def test_a_requeued_job_continues_the_same_wandb_run(lab, online):
    """All processes of the first attempt end with the job, including the one that uploads."""
    server, where = online
    lab.train(*RUN, "study=logged", "record=wandb", **where)
    status = lab.at_step("logged", 3, seconds=150)
    os.kill(status["pid"], signal.SIGSTOP)  # its rows are sent nevertheless, by another process
    logged = lambda: [name for name in server.of_type("train") if server.rows(name)]  # noqa: E731
    until(logged, 300, lambda: lab.logs("logged"))
    lab.cluster("scontrol", "requeue", status["job"])
    (run,) = lab.wait("logged")
    (name,) = server.of_type("train")
    assert run["requeued"] == 1
    until(
        lambda: logged_rows(server, name) == rows(lab.path("logged")), 300
    )  # a run is done a little before its upload
    assert holds_key(lab.folder) == []
