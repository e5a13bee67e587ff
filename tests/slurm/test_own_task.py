"""A practitioner's own prompts, pairs, reward file and model, as a study on a real cluster."""

import json

from tests.outside import own_task
from tests.slurm.conftest import PLACEMENT


def test_three_algorithms_on_own_files_are_compared_and_run_the_reward_file_that_was_submitted(lab):
    own_task.write(lab.folder)
    planned = lab("-m", *own_task.STUDY, "study=mine", "hardware=slurm_cpu", *PLACEMENT).stdout
    assert "6 runs, 6 to do" in planned
    (lab.folder / "my_reward.py").write_text("this is no Python\n")  # edited while the jobs are queued
    lab.wait("mine")
    (lab.folder / "my_reward.py").write_text(own_task.REWARD)
    compared = json.loads(lab("compare", "mine", "--json").stdout)
    assert {arm["name"]: arm["n"] for arm in compared["arms"]} == own_task.ARMS
