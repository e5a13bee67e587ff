"""From an empty folder: own prompts, pairs, reward function and model; three algorithms, two seeds; a comparison."""

import json
import os

import pytest

from tests import forked
from tests.outside import own_task

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    own_task.write(folder)
    return folder


def align_lab(folder, *args, status=0):
    done = forked.run(args, cwd=folder, env={**os.environ, "ALIGN_LAB_CACHE": str(folder / "cache")})
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_study_of_own_files_runs_and_is_compared(mine):
    align_lab(mine, "-m", *own_task.STUDY, "study=mine", "parallel=2")
    compared = json.loads(align_lab(mine, "compare", "mine", "--json").stdout)
    assert {arm["name"]: arm["n"] for arm in compared["arms"]} == own_task.ARMS
    table = " ".join(align_lab(mine, "compare", "mine").stdout.split())
    assert "the arms did not get the same information" in table, "dpo learned from pairs of the data"
    (rloo, _) = sorted((mine / "runs" / "mine").glob("rloo-*"))
    rows = [json.loads(line) for line in (rloo / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["reward/failed"] == 0 and rows[-1]["episode"] == 32
