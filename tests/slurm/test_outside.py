"""A study of a task that a plug-in brings, on a real cluster."""

import json
import os
import re
import shutil

from tests.outside.conftest import PACKAGE, SUMS
from tests.slurm.conftest import PLACEMENT


def test_a_study_of_a_plug_ins_task_builds_its_stages_once_and_is_compared(lab):
    shutil.copytree(PACKAGE, lab.folder / "small_tasks", ignore=shutil.ignore_patterns("conf", "__pycache__"))
    shutil.copytree(PACKAGE / "conf", lab.folder / "conf")
    study = ["-m", *SUMS, "algo=rloo,reinforce", "seed=1,2", "study=sums", "hardware=slurm_cpu", *PLACEMENT]
    path = os.pathsep.join([str(lab.folder), os.environ.get("PYTHONPATH", "")])
    assert "4 runs, 4 to do, 2 stages first" in lab(*study, PYTHONPATH=path).stdout
    runs = lab.wait("sums")
    assert {(run["arm"], run["seed"], run["metric"]) for run in runs} == {
        (arm, seed, "numbers") for arm in ("rloo", "reinforce") for seed in (1, 2)
    }
    built = sorted(re.findall("building (.+)", lab.logs("sums")))
    assert built == ["data set", "start policy (supervised fine-tuning)"]
    compared = json.loads(lab("compare", "sums", "--json").stdout)
    assert {arm["name"]: arm["n"] for arm in compared["arms"]} == {"rloo": 2, "reinforce": 2}
