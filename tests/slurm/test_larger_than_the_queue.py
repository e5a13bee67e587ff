"""A study of more jobs than the account may have in the queue goes on by its own jobs."""

import json
import os

import pytest

from tests.run.test_runs import rows
from tests.slurm.conftest import until

pytestmark = pytest.mark.nightly

LIMIT = """#!/bin/bash
# sbatch of a site where an account may have {most} jobs in the queue
script=${{@: -1}}
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
wanted=$(( ${{last:-0}} + 1 ))
there=$(squeue --noheader --array --format=%j | grep -c '^{study}\\.')
if [ $(( there + wanted )) -gt {most} ]; then
    echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's" \\
        "size and/or time limits)" >&2
    exit 1
fi
exec {real} "$@"
"""
RUN = ["-m", "algo=rloo", "seed=0,1,2,3,4", "train.steps=2"]


@pytest.fixture
def limited(lab, tmp_path):
    """The variables of a user who may have so many jobs of a study in the queue."""

    def variables(study, most):
        folder = tmp_path / f"site_{study}"
        folder.mkdir()
        real = lab.cluster("bash", "-c", "command -v sbatch").strip()
        (folder / "sbatch").write_text(LIMIT.format(most=most, study=study, real=real))
        (folder / "sbatch").chmod(0o755)
        return {"PATH": f"{folder}{os.pathsep}{lab.env['PATH']}"}

    return variables


def test_jobs_that_end_submit_what_did_not_fit(lab, limited, undisturbed):
    variables = limited("larger", 2)
    one_by_one = "hardware.placement.max_parallel=1"
    said = lab.train(*RUN, "study=larger", one_by_one, **variables).stdout
    assert "3 jobs more than your account may have in the queue: the jobs of the study submit them" in said
    runs = lab.wait("larger")
    assert len(runs) == 5 and not list((lab.folder / "runs" / "larger" / ".dispatch").glob("rest*"))
    assert lab.logs("larger").count("of the jobs that had not fitted into the queue") >= 1
    dispatch = lab.folder / "runs" / "larger" / ".dispatch"
    submitted = [name for file in dispatch.glob("*.submission.json") for name in json.loads(file.read_text())["names"]]
    assert sorted(submitted) == sorted(run["name"] for run in runs)  # none was submitted twice
    assert all(len(rows(path)) == 3 for path in lab.paths("larger"))


def test_what_waits_for_room_is_shown_and_cancelled(lab, limited, undisturbed):
    variables = limited("given_up", 2)
    lab.train(*RUN, "study=given_up", 'hardware.placement.sbatch=["--hold"]', **variables)
    waiting = [run for run in lab.runs("given_up") if "waits for room in the queue" in run["why"]]
    assert len(waiting) == 3 and {run["state"] for run in waiting} == {"queued"}
    again = lab.train(*RUN, "study=given_up", 'hardware.placement.sbatch=["--hold"]', check=False, **variables)
    assert again.returncode == 0 and "3 jobs more than" in again.stdout
    lab("cancel", "given_up")
    until(lambda: not [run for run in lab.runs("given_up") if run["state"] in ("queued", "running")])
    dispatch = lab.folder / "runs" / "given_up" / ".dispatch"
    submitted = [json.loads(file.read_text())["names"] for file in dispatch.glob("*.submission.json")]
    assert sum(map(len, submitted)) == 2 and not (dispatch / "rest.jsonl").exists()
