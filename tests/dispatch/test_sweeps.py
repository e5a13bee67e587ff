"""Sweeps on this machine, through the command line: in parallel, stopped, continued, extended, hung."""

import json
import shutil
import signal
import subprocess
import time

import pytest

from align_lab.run import watchdog
from tests.run.test_runs import (
    PAUSING,
    SMALL,
    command,
    environment,
    folder_of,
    interrupted,
    invoke,
    place,
    rows,
    run,
    whole,
)

pytestmark = pytest.mark.nightly

__all__ = ["place", "whole"]  # fixtures


def states(place, study):
    status = invoke(place, "status", study, "--json")
    return {task["name"]: task for task in json.loads(status.stdout)["tasks"]}


SIDE = ("-m", "algo=rloo,reinforce", "seed=0,1", "study=side", "train.steps=5", "parallel=2")


@pytest.fixture(scope="module")
def side(place):
    """What the study `side`, two algorithms with two seeds in parallel, has said."""
    done = run(place, *SIDE)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_runs_in_parallel_equal_single_runs(place, whole, side):
    assert "4 of 4 runs are finished" in side
    (ours,) = (place / "runs" / "side").glob("rloo-tiny-s0-*")
    assert rows(ours)[:5] == rows(whole[0])[:5]
    assert not [name for name in ("multirun.yaml", "multirun", "outputs") if (place / name).exists()]
    again = run(place, *SIDE)
    assert again.returncode == 0 and "0 to do" in again.stdout
    assert "skipped: rloo seeds 0, 1, reinforce seeds 0, 1: finished" in again.stdout


def test_a_comparison_can_be_replayed_from_its_lock(place, side):
    """Existing runs are checked, a missing one is run again with the same result."""
    compared = invoke(place, "compare", "side")
    assert compared.returncode == 0, compared.stderr
    lock = place / "runs" / "side" / "comparison.lock"
    assert lock.exists() and f"replay {lock.relative_to(place)}" in compared.stdout
    (removed,) = (place / "runs" / "side").glob("reinforce-tiny-s1-*")
    before = rows(removed)
    shutil.rmtree(removed)
    replayed = invoke(place, "replay", lock)
    assert replayed.returncode == 0, replayed.stderr + replayed.stdout
    assert "4 runs, 1 to do" in replayed.stdout and replayed.stdout.count("as locked") == 4
    assert f"as locked (computed again) {removed.name}" in replayed.stdout
    assert "4 of 4 runs equal the lock; 3 checked, not computed again, 1 computed by this command" in replayed.stdout
    assert rows(removed) == before
    original = lock.read_text()
    changed = json.loads(original)
    changed["runs"][0]["hashes"]["reward"] = "0000"
    changed["runs"][1]["config"]["train.lr"] = 1.0
    lock.write_text(json.dumps(changed))
    wrong = invoke(place, "replay", lock)
    assert wrong.returncode == 2 and "its config gives the signature" in wrong.stderr
    changed["runs"] = changed["runs"][:1]
    lock.write_text(json.dumps(changed))
    differs = invoke(place, "replay", lock)
    assert differs.returncode == 1 and "differs" in differs.stdout and "reward" in differs.stdout
    lock.write_text(original)
    samples = removed / "samples.jsonl"
    samples.write_text(samples.read_text().replace('"completion": "', '"completion": "better ', 1))
    altered = invoke(place, "replay", lock)
    assert altered.returncode == 1 and "samples.jsonl changed after the run had finished" in altered.stdout
    assert "left out" in invoke(place, "compare", "side").stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_whole_sweep_and_the_same_command_continues_it(place, number):
    study, seed = f"many{int(number)}", f"seed={30 + number}"  # a run that no other study has finished
    status, output = interrupted(place, study, number, algo="rloo,reinforce", flags=["-m", seed])
    assert status == 75, output
    (first,) = (path for path in (place / "runs" / study).glob("[!.]*"))
    assert json.loads((first / "status.json").read_text())["state"] == "stopped" and first.name.startswith("rloo-")
    done = run(place, "-m", "algo=rloo,reinforce", seed, PAUSING, f"study={study}", "train.steps=6")
    assert done.returncode == 0, done.stderr
    assert "continuing after step" in "".join(
        log.read_text() for log in (place / "runs" / study / ".dispatch" / "logs").glob("*.out")
    )
    assert run(place, "algo=rloo", seed, f"study=alone{int(number)}", "train.steps=6").returncode == 0
    assert rows(first) == rows(folder_of(place, f"alone{int(number)}"))


def test_one_failed_arm_neither_stops_nor_hides_another(place):
    wrong = ["-m", "algo=rloo,dpo", "study=arms", "train.lr=1e30", "train.max_grad_norm=.inf", "train.warmup_steps=0"]
    done = run(place, *wrong)
    assert done.returncode == 1 and "0 of 2 runs are finished" in done.stdout
    assert done.stdout.count("not finite") >= 2
    runs = [task for task in states(place, "arms").values() if task["kind"] == "run"]
    assert {task["state"] for task in runs} == {"failed"}
    assert all("not finite" in task["why"] for task in runs)


def test_more_steps_later_cost_only_the_difference(place):
    assert run(place, "algo=ppo", "study=longer", "train.steps=4").returncode == 0
    more = run(place, "algo=ppo", "study=longer", "train.steps=9")
    assert more.returncode == 0 and "the first 4 steps are those of ppo-tiny-s0-" in more.stdout
    straight = run(place, "algo=ppo", "study=straight", "train.steps=9")
    assert straight.returncode == 0 and "the first" not in straight.stdout
    long = next(path for path in (place / "runs" / "longer").glob("[!.]*") if len(rows(path)) == 10)
    assert rows(long) == rows(folder_of(place, "straight"))
    cut = run(place, "algo=ppo", "study=longer", "train.steps=7")  # the last step of 9 is not one of its own
    assert cut.returncode == 0 and "the first 4 steps" in cut.stdout


def test_a_run_that_hangs_dumps_stack_traces_and_exits(place, tmp_path):
    (tmp_path / "asleep.py").write_text("""
import time
from dataclasses import dataclass
from align_lab.base.registry import register
from align_lab.base.contracts import Reward
from align_lab.base.task import Score

@register("reward", "asleep")
@dataclass(frozen=True, kw_only=True)
class Asleep(Reward):
    def load(self, folder):
        return self

    def score(self, examples, completions):
        keys = [example.key for example in examples]
        if keys != getattr(Asleep, "seen", keys):  # the first evaluation is done, this is training
            time.sleep(600)
        Asleep.seen = keys
        return Score(total=[0.0] * len(completions))
""")
    small = [text for text in SMALL if not text.startswith("reward.")]
    fields = ["reward=asleep", "plugins=[asleep]", "algo=rloo", "study=hung", "hang_minutes=0.03"]
    done = invoke(place, *small, *fields, PYTHONPATH=str(tmp_path))
    assert done.returncode == -watchdog.SIGNAL and "hung: no progress in the phase training" in done.stderr
    stacks = (folder_of(place, "hung") / "stacks.txt").read_text()
    assert "asleep.py" in stacks and "in score" in stacks
    (task,) = states(place, "hung").values()
    assert task["state"] == "failed" and "hung: no progress in the phase training" in task["why"]


def test_a_second_command_for_a_study_that_is_running_is_refused(place):
    process = subprocess.Popen(
        command("-m", "algo=rloo", "seed=0,1", "study=busy", "train.steps=400"),
        cwd=place,
        env=environment(place),
        stdout=subprocess.DEVNULL,
    )
    try:
        lease = place / "runs" / "busy" / ".dispatch" / "lease"
        while not list((place / "runs" / "busy").glob("*/metrics.jsonl")) and process.poll() is None:
            time.sleep(0.05)
        assert lease.exists()
        second = run(place, "-m", "algo=rloo", "seed=0,1", "study=busy", "train.steps=400")
        assert second.returncode == 2 and "status busy --watch" in second.stderr
        cancelled = invoke(place, "cancel", "busy")
        assert cancelled.returncode == 0 and "of its jobs cancelled" in cancelled.stdout
    finally:
        process.terminate()
        assert process.wait() == 75


def test_a_dry_run_prints_the_plan_and_writes_nothing(place):
    plan = run(place, "-m", "algo=rloo,ppo", "seed=50,51", "study=planned", "dry_run=true").stdout
    assert "4 runs, 4 to do" in plan and "run      4 x local, 1 core" in plan and "Nothing was submitted" in plan
    assert "of device time for 4 runs, as recorded ones took" in plan or "is recorded to estimate" in plan
    assert not (place / "runs" / "planned").exists()


def test_gc_shows_disk_space_and_removes_it_only_with_prune(place, whole):
    listing = invoke(place, "gc", "--only", "checkpoints", "--all")
    assert listing.returncode == 0 and "Nothing was removed" in listing.stdout
    steps = sorted(path.name for path in (whole[0] / "checkpoints").glob("step-*"))
    old = invoke(place, "gc", "--only", "checkpoints", "--older-than", "1d", "--prune")
    assert "removed 0 folders" in old.stdout
    invoke(place, "gc", "--only", "checkpoints", "--older-than", "0s", "--prune")
    remaining = sorted(path.name for path in (whole[0] / "checkpoints").glob("step-*"))
    assert steps[-1] in remaining and len(remaining) <= len(steps)
    wrong = invoke(place, "gc", "--older-than", "soon")
    assert wrong.returncode == 2 and "for example 12h, 30d or 8w" in wrong.stderr


def test_a_missing_gpu_is_reported_with_the_alternative(place):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = run(place, "algo=rloo", "study=gpu", "hardware=gpu")
    assert done.returncode == 2 and "use hardware=cpu" in done.stderr
    detached = run(place, "-m", "algo=rloo", "study=gpu", "wait=false")
    assert detached.returncode == 2 and "nohup" in detached.stderr


def test_another_sweeper_is_refused_with_what_replaces_it(place):
    done = run(place, "-m", "hydra/sweeper=optuna", "algo=rloo", "algo.kl_coef=interval(0.01,0.2)")
    assert done.returncode == 2 and "use tune={trials: 12}" in done.stderr


def test_the_debug_executor_runs_in_this_process(place):
    done = run(place, "-m", "algo=rloo", "seed=60", "study=debugged", "hardware.placement.executor=debug")
    assert done.returncode == 0, done.stderr
    assert "step 4/4" in done.stdout and "1 of 1 run is finished" in done.stdout
