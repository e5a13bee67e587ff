"""A requeued job continues the same W&B run: each row is logged once."""

import os
import signal

import pytest

pytest.importorskip("wandb", reason="pip install 'align_lab[wandb]'")

from tests.boards.test_wandb_runs import holds_key, logged_rows, online
from tests.run.test_runs import rows
from tests.slurm.conftest import until
from tests.slurm.test_survive import RUN

pytestmark = pytest.mark.nightly

__all__ = ["online"]  # fixture


def test_a_requeued_job_continues_the_same_wandb_run(lab, online):
    """All processes of the first attempt end with the job, including the one that uploads."""
    server, where = online
    lab.train(*RUN, "study=logged", "record=wandb", "record.finish_seconds=600", **where)
    status = lab.at_step("logged", 3)
    os.kill(status["pid"], signal.SIGSTOP)  # its rows are sent nevertheless, by another process
    until(lambda: any(map(server.rows, server.of_type("train"))), lambda: what_happened(lab))
    lab.cluster("scontrol", "requeue", status["job"])
    (run,) = lab.wait("logged")
    (name,) = server.of_type("train")
    assert run["requeued"] == 1
    complete = lambda: logged_rows(server, name) == rows(lab.path("logged"))  # noqa: E731
    until(complete, lambda: what_happened(lab))  # a run is done a little before its upload
    assert holds_key(lab.folder) == []


def what_happened(lab):
    """The log of the job, and that of its upload."""
    uploads = [path.read_text() for path in lab.paths("logged")[0].glob("wandb.log")]
    return "\n".join([lab.logs("logged"), *uploads])
