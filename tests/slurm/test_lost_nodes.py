"""A node of a run that trains on two of them is killed: the run goes back into the queue, and ends the same."""

import os
import signal
from contextlib import suppress

import pytest

from tests.run.test_runs import rows
from tests.slurm.conftest import Lab, until

pytestmark = pytest.mark.nightly

RUN = ["algo=rloo", "train.steps=40"]
TWO = ["hardware.placement.nodes=2", "hardware.placement.setup=['export MASTER_ADDR=127.0.0.1']"]


@pytest.fixture(scope="module")
def undisturbed_by_two(cluster, cache, tmp_path_factory):
    """The metrics of two processes of this machine that nothing disturbs."""
    lab = Lab(cluster, cache, tmp_path_factory.mktemp("two"))
    lab.train(*RUN, "study=calm", hardware="cpu_2proc")
    return rows(lab.path("calm"))


def nodes_of(lab, job):
    """The two nodes that a job has now, in the order of its processes."""
    listed = lab.cluster("squeue", "--noheader", "--jobs", job, "--format=%N").strip()
    return lab.cluster("scontrol", "show", "hostnames", listed).split()


@pytest.mark.parametrize("process", [0, 1])
def test_a_run_on_two_nodes_that_loses_one_goes_back_into_the_queue(lab, undisturbed_by_two, process):
    """With process 0 Slurm has lost the node of the job's script; with the other one, process 0 notices."""
    study = f"lost_{process}_of_2"
    lab.train(*RUN, *TWO, f"study={study}")
    status = lab.at_step(study, 3)
    os.kill(status["pid"], signal.SIGSTOP)  # so that the run does not end before
    number = nodes_of(lab, status["job"])[process].removeprefix("node")
    lab.cluster.script("kill-node", number)
    with suppress(ProcessLookupError):
        os.kill(status["pid"], signal.SIGCONT)
    try:
        until(lambda: lab.status(study).get("requeued", 0) >= 1, lambda: (lab.jobs(study), lab.logs(study)))
        (run,) = lab.wait(study)
    finally:
        lab.cluster.script("start-node", number)
    assert run["requeued"] >= 1 and "continuing after step" in lab.logs(study)
    assert rows(lab.path(study)) == undisturbed_by_two
