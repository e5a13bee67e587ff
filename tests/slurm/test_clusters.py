"""`hardware.placement.cluster`: what is submitted, asked, changed and cancelled goes to the cluster of the study."""

import json
import os

from tests.slurm.test_hostile import site

__all__ = ["site"]  # fixture

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo")
CLUSTER = "hardware.placement.cluster"
STUDY = ("-m", "algo=rloo", "seed=0,1", "study=elsewhere", 'hardware.placement.sbatch=["--hold"]')


def test_every_command_about_a_study_goes_to_its_cluster(lab, site):
    calls = site.folder / "calls"
    for name in COMMANDS:
        site.before(name, f'echo "{name} $*" >> {calls}\nexec REAL "$@"\n')
    path = {"PATH": os.environ["PATH"]}
    study = (*STUDY, "hardware.placement.max_parallel=1")
    lab.train(*study, f"{CLUSTER}=ci", **path)
    tasks = json.loads(lab("status", "elsewhere", "--json", **path).stdout)["tasks"]
    held = [task for task in tasks if "JobHeldUser" in task["why"]]
    assert held and all(f"scontrol --clusters=ci release {task['job']}" in task["why"] for task in held)
    assert "0 to do" in lab.train(*study, f"{CLUSTER}=ci", **path).stdout
    done = lab.train(*study, check=False, **path)
    assert done.returncode == 2 and f"Set {CLUSTER}=ci, or give the study another name" in done.stderr
    lab("cancel", "elsewhere", **path)
    assert {run["state"] for run in lab.runs("elsewhere")} == {"cancelled"}
    asked = calls.read_text().splitlines()
    assert {line.split()[0] for line in asked} >= {"sbatch", "squeue", "scancel", "scontrol"}
    assert not [line for line in asked if line.split()[1] != "--clusters=ci"]


def test_a_cluster_that_slurm_does_not_know_is_refused_before_anything_is_built(lab):
    for more in ([], ["dry_run=true"]):
        done = lab.train(*STUDY, f"{CLUSTER}=nope", *more, check=False)
        assert done.returncode == 2 and "No cluster 'nope' known by database" in done.stderr
        assert f"{CLUSTER}=nope" in done.stderr and "sacctmgr list cluster" in done.stderr
    assert not (lab.folder / "runs").exists()
