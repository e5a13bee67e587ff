"""Whole studies on a real cluster: planned, queued, run, watched, and submitted again."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run.test_runs import SMALL, rows
from tests.slurm.conftest import PATIENCE, PLACEMENT, Lab, until
from tests.train.test_processes import BREAKS

pytestmark = pytest.mark.nightly

HELD = 'hardware.placement.sbatch=["--hold"]'  # a job that does not start before it is released
TEN = ["-m", "algo=ppo,rloo,reinforce,reinforce_pp,dpo", "seed=1,2", "study=ten"]


@pytest.fixture
def fresh(cluster, tmp_path, cache):
    """A user whose cache contains nothing but the downloaded data."""
    own = tmp_path / "cache"
    own.mkdir()
    if (cache / "downloads").exists():
        (own / "downloads").symlink_to(cache / "downloads")
    return Lab(cluster, own, tmp_path)


def test_ten_runs_with_their_stages_and_gpus_finish(fresh):
    plan = fresh.train(*TEN, "dry_run=true").stdout
    assert "10 runs, 10 to do" in plan and "#SBATCH --gpus-per-node=1" in plan and "Nothing was submitted" in plan
    assert not (fresh.folder / "runs").exists()
    submitted = fresh.train(*TEN).stdout
    assert "10 to do, 5 stages first" in submitted and "status ten --watch" in submitted
    again = fresh.train(*TEN).stdout  # while everything is queued
    assert "10 runs, 0 to do" in again and "submitted" not in again
    runs = fresh.wait("ten")
    assert {(task["arm"], task["seed"]) for task in runs} == {(a, s) for a in TEN[1][5:].split(",") for s in (1, 2)}
    logs = fresh.logs("ten")
    assert sorted(re.findall("building (.+)", logs)) == [
        "data set",
        "gold judge",
        "preference pairs",
        "reward model",
        "start policy (supervised fine-tuning)",
    ]
    until(lambda: [state for _, state in fresh.jobs("ten")] == ["COMPLETED"] * 15, lambda: fresh.jobs("ten"))
    gpus = fresh.cluster("sacct", "-nXP", "--format=JobName,AllocTRES")
    with_gpu = ["gres/gpu=1" in line for line in gpus.splitlines() if line.startswith("ten.")]
    assert sum(with_gpu) == 13  # data and gold need none
    status = fresh("status", "ten").stdout
    assert "10 done" in status and "reinforce_pp" in status
    compared = json.loads(fresh("compare", "ten", "--json").stdout)
    assert {arm["name"] for arm in compared["arms"]} == set(TEN[1][5:].split(","))
    more = fresh.train("-m", "algo=rloo", "seed=1,2,3", "study=ten").stdout  # more seeds: only the difference
    assert "3 runs, 1 to do" in more and "skipped: rloo seeds 1, 2: finished" in more
    other = fresh.train("-m", "algo=rloo", "seed=1,2", "study=other", "wait=true").stdout
    assert "2 runs, 0 to do" in other and "finished in ten" in other and "2 of 2 runs are finished" in other
    fresh.wait("ten")


def test_a_failed_stage_fails_only_the_runs_that_need_it_and_gives_its_reason(lab):
    (lab.folder / "broken.py").write_text(BROKEN)
    broken = ["-m", "study=broken", "plugins=[broken]", "reward=broken,vader", "algo=rloo", "wait=true"]
    small = [text for text in SMALL if not text.startswith("reward.")]
    done = lab(*broken, *small, "hardware=slurm_cpu", *PLACEMENT, check=False, PYTHONPATH=str(lab.folder))
    assert done.returncode == 1
    assert "no film was ever this bad" in done.stdout and "1 of 2 runs are finished" in done.stdout
    by_state = {task["state"]: task for task in lab.runs("broken")}
    assert set(by_state) == {"done", "failed"}
    assert "its stage broken-" in by_state["failed"]["why"] and "no film was ever this bad" in by_state["failed"]["why"]
    stage = next(
        task for task in lab.states("broken").values() if task["state"] == "failed" and task["kind"] == "stage"
    )
    assert "no film was ever this bad" in Path(lab.folder / stage["log"]).read_text()
    (lab.folder / "broken.py").write_text(BROKEN.replace('raise ValueError("no film was ever this bad")', "pass"))
    again = lab(*broken, *small, "hardware=slurm_cpu", *PLACEMENT, PYTHONPATH=str(lab.folder))
    assert "2 runs, 1 to do, 1 stage first" in again.stdout and "2 of 2 runs are finished" in again.stdout


BROKEN = '''
from dataclasses import dataclass
from align_lab.base.registry import register
from align_lab.base.contracts import Reward
from align_lab.base.task import Score

@register("reward", "broken")
@dataclass(frozen=True, kw_only=True)
class Broken(Reward):
    """A reward whose training fails."""

    trained = True

    def build(self, folder, given):
        raise ValueError("no film was ever this bad")

    def load(self, folder):
        return self

    def score(self, examples, completions):
        return Score(total=[float(len(text)) for text in completions])
'''


def test_two_studies_build_a_stage_that_they_share_once(fresh):
    commands = [
        fresh.command(*SMALL, "hardware=slurm_cpu", *PLACEMENT, "-m", f"algo={algo}", "seed=1,2", f"study={algo}")
        for algo in ("rloo", "reinforce")
    ]
    heads = [subprocess.Popen(c, cwd=fresh.folder, env=fresh.env, stdout=subprocess.DEVNULL) for c in commands]
    assert [head.wait(PATIENCE) for head in heads] == [0, 0]
    for study in ("rloo", "reinforce"):
        fresh.wait(study)
    logs = fresh.logs("rloo") + fresh.logs("reinforce")
    assert sorted(re.findall("building (.+)", logs)) == [
        "data set",
        "gold judge",
        "reward model",
        "start policy (supervised fine-tuning)",
    ]
    third = fresh.train("-m", "algo=reinforce_pp", "seed=1,2", "study=third", hardware="slurm_cpu").stdout
    assert "stages first" not in third


def test_a_run_on_two_nodes_equals_one_process(lab):
    double = ["algo=ppo", "hardware.numerics.dtype=float64", "train.steps=6"]
    two = ["hardware.placement.nodes=2", "hardware.placement.setup=['export MASTER_ADDR=127.0.0.1']"]
    lab.train(*double, "study=one", hardware="cpu")
    shutil.move(lab.path("one"), lab.folder / "one")  # otherwise it would be reused: nodes are not part of a signature
    lab.train(*double, *two, "study=two", "wait=true")
    count = ("sacct", "-nXP", "--format=NNodes", f"--name={job_name(lab, 'two')}")
    until(lambda: lab.cluster(*count).split() == ["2"], lambda: lab.jobs("two"))
    alone, together = rows(lab.folder / "one"), rows(lab.path("two"))
    assert [row.keys() for row in together] == [row.keys() for row in alone]
    for ours, theirs in zip(together, alone, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6, rel=1e-6)


def test_an_error_in_one_process_ends_the_job_with_its_traceback(lab):
    """Two processes of one node; the second breaks, the first records that and reports it."""
    (lab.folder / "breaks.py").write_text(BREAKS)
    (lab.folder / "conf" / "algo").mkdir(parents=True)
    (lab.folder / "conf" / "algo" / "breaks.yaml").write_text("defaults:\n  - /schema/algo/breaks@_here_\n  - _self_\n")
    two = ["hardware.placement.tasks_per_node=2", "hardware.placement.setup=['export MASTER_ADDR=127.0.0.1']"]
    fields = ["plugins=[breaks]", "algo=breaks", "study=breaks", "wait=true", *SMALL, *two]
    done = lab(*fields, "hardware=slurm_cpu", *PLACEMENT, check=False, PYTHONPATH=str(lab.folder))
    reason = "process 1 of 2: ValueError: there is no sign"
    assert done.returncode == 1 and reason in done.stdout
    (run,) = lab.runs("breaks")
    assert run["state"] == "failed" and run["why"].startswith(reason)
    log = (lab.path("breaks") / "error.log").read_text()
    assert "Traceback" in log and "breaks.py" in log and "closed by peer" not in log


def job_name(lab, study):
    return f"{study}.{submission_file(lab, study).name.split('.')[0]}"


def submission_file(lab, study):
    (file,) = (lab.folder / "runs" / study / ".dispatch").glob("*.submission.json")
    return file


def test_a_queued_job_runs_the_code_it_was_submitted_with(lab, tmp_path):
    """The package is edited, to the point that it cannot be imported, before its queued job starts."""
    root = Path(__file__).parents[2]
    for part in ("align_lab", "conf", "sweeps"):
        shutil.copytree(root / part, tmp_path / "checkout" / part, ignore=shutil.ignore_patterns("__pycache__"))
    lab.folder = tmp_path / "checkout"
    submit = lab.command(*SMALL, "hardware=slurm_gpu", *PLACEMENT, "algo=rloo", "study=frozen", HELD)
    subprocess.run(submit, cwd=lab.folder, env=lab.env, check=True, capture_output=True)  # imports the checkout's code
    (lab.folder / "align_lab" / "base" / "errors.py").write_text("raise SystemExit('edited')\n")
    lab.cluster("scontrol", "release", f"jobname={job_name(lab, 'frozen')}")
    lab.at_step("frozen", 4)
    until(lambda: lab.status("frozen").get("state") == "done", lambda: lab.logs("frozen"))
    submission = json.loads(submission_file(lab, "frozen").read_text())
    code = Path(submission["snapshot"])
    assert (
        code.name == submission["snapshot_hash"]
        and "edited" not in (code / "align_lab" / "base" / "errors.py").read_text()
    )
    lab.folder = tmp_path
    lab.train("algo=rloo", "study=changed", HELD)  # a job whose snapshot was changed does not run
    touched = (
        Path(json.loads(submission_file(lab, "changed").read_text())["snapshot"]) / "align_lab" / "base" / "types.py"
    )
    before = touched.read_text()
    try:
        touched.write_text(before + "# changed\n")
        lab.cluster("scontrol", "release", f"jobname={job_name(lab, 'changed')}")
        (run,) = lab.wait("changed", "failed")
        assert "was changed after the job was submitted" in run["why"]
    finally:
        touched.write_text(before)


def test_each_run_uses_its_own_hardware_and_a_cluster_run_never_trains_here(lab):
    (lab.folder / "sweeps").mkdir()
    (lab.folder / "sweeps" / "both.yaml").write_text(
        "# @package _global_\nstudy: both\narms:\n  here: [algo=rloo, hardware=cpu]\n"
        "  there: [algo=reinforce, hardware=slurm_cpu, hardware.placement.mem_gb=1]\nhydra: {mode: MULTIRUN}\n"
    )
    lab(*SMALL, "sweeps=both")
    by_arm = {task["arm"]: task for task in lab.wait("both")}
    statuses = {path.name: json.loads((path / "status.json").read_text()) for path in lab.paths("both")}
    assert "job" not in statuses[by_arm["here"]["name"]]
    assert statuses[by_arm["there"]["name"]]["node"].startswith("node")
    swept = lab(*SMALL, "-m", "algo=rloo", "hardware=cpu,slurm_cpu", "seed=1", "study=swept", "dry_run=true").stdout
    assert "1 duplicate" in swept  # one run, wherever it is computed
    one = lab.train("algo=reinforce", "seed=5", "study=single").stdout  # without -m
    assert "submitted run: reinforce-tiny-s5-" in one
    lab.wait("single")
    assert lab.status("single")["node"].startswith("node")


def test_arms_may_have_different_resources(lab):
    (lab.folder / "sweeps").mkdir()
    (lab.folder / "sweeps" / "shapes.yaml").write_text(
        "# @package _global_\nstudy: shapes\nquestion: Does more memory help?\narms:\n"
        "  ppo: [algo=ppo, hardware.placement.gpus_per_node=2]\n  dpo: [algo=dpo]\nseeds: [0, 1]\n"
        "hydra: {mode: MULTIRUN}\n"
    )
    plan = lab.train("sweeps=shapes", "dry_run=true").stdout
    assert "Does more memory help?" in plan
    assert re.findall(r"gpus-per-node=(\d)\n(?:#.*\n)*?#SBATCH --job-name", plan).count("2") == 1
    lab.train("sweeps=shapes", HELD)
    file = lab.folder / "sweeps" / "shapes.yaml"
    file.write_text(file.read_text().replace("seeds: [0, 1]", "seeds: [1]"))
    shortened = lab.train("sweeps=shapes", HELD).stdout
    assert "No longer in the sweep file: 2 runs" in shortened and "2 runs, 0 to do" in shortened
    assert "No longer in the sweep file" in lab("status", "shapes").stdout
    assert "2 of its jobs cancelled" in lab("cancel", "shapes", "--removed").stdout
    until(lambda: [task["state"] for task in lab.runs("shapes")].count("cancelled") == 2, lambda: lab.runs("shapes"))
    extended = lab.train("sweeps=shapes", "seed=7", HELD).stdout  # adds to the study, and removes nothing
    assert "2 runs, 2 to do" in extended and "sweep file: 4 runs" not in extended
    lab("cancel", "shapes")


def test_the_clusters_array_limit_is_read_and_a_refusal_of_sbatch_is_reported(lab):
    refused = lab.train("algo=rloo", "study=nowhere", "hardware.placement.partition=nowhere", check=False)
    assert refused.returncode == 1 and "sbatch refused" in refused.stderr
    assert "invalid partition" in refused.stderr.lower()
    assert "missing" in lab("status", "nowhere").stdout
    code = "from align_lab.dispatch import slurm; print(slurm.max_array_size())"
    limit = subprocess.run([sys.executable, "-c", code], env=lab.env, capture_output=True, text=True, check=True).stdout
    assert int(limit) == 1001  # as cluster.sh configures it; tests/dispatch/test_plan.py splits at it
    lab.train("algo=rloo", "study=nowhere")
    lab.wait("nowhere")


def test_status_watches_until_the_end_and_prints_json(lab):
    lab.train("algo=rloo", "study=watched")
    watching = subprocess.run(
        lab.command("status", "watched", "--watch"),
        cwd=lab.folder,
        env=lab.env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert watching.returncode == 0 and "1 done" in watching.stdout and "running" in watching.stdout
    status = json.loads(lab("status", "watched", "--json").stdout)
    assert status["study"] == "watched" and status["tasks"][-1]["state"] == "done"
    until(lambda: lab.jobs("watched")[0][1] == "COMPLETED")
