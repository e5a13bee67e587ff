"""What `status` shows of each run: how far it will go, whose it is, what tells it from others, and the results."""

import json

import pytest

from align_lab.base.hyperparameters import Budget, Train
from align_lab.base.paths import runs_folder
from align_lab.config import study
from align_lab.dispatch import expected_runs
from align_lab.dispatch.launch import current_states
from align_lab.dispatch.run_rows import results, results_line
from tests import forked
from tests.run.test_runs import folder_of, invoke, place, run

__all__ = ["place"]  # a fixture


@pytest.mark.parametrize(
    ("budget", "planned"),
    [({}, 60), ({"episodes": 1280}, 20), ({"episodes": 1281}, 21), ({"episodes": 10**6}, 60), ({"tokens": 5}, 0)],
)
def test_the_last_step_of_a_run_is_known_from_its_budget_of_episodes(budget, planned):
    assert Train(steps=60, prompts_per_step=16, group_size=4, budget=Budget(**budget)).planned_steps == planned


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({}, 60),
        ({"episodes": 1280}, 16),  # 80 a step: each prompt has a greedy completion too
        ({"tokens": 4000}, 40),
        ({"seconds": 2.5}, 13),
        ({"tokens": 4000, "seconds": 2.5}, 13),
        ({"tokens": 100}, 10),  # it ends now
    ],
)
def test_the_last_step_follows_what_steps_have_charged(budget, expected):
    plan = Train(steps=60, prompts_per_step=16, group_size=4, budget=Budget(**budget))
    assert plan.expected_steps(10, episodes=800, tokens=1000, seconds=2.0) == expected


def test_a_run_that_its_episodes_end_shows_the_step_at_which_it_ended(place):
    done = run(place, "algo=rloo", "study=short", "train.steps=9", "train.budget.episodes=48", "seed=4")
    assert done.returncode == 0, done.stderr
    assert "step 3/3" in done.stdout and "/9" not in done.stdout
    shown = invoke(place, "status", "short").stdout
    row = next(line for line in shown.splitlines() if line.startswith("rloo "))
    assert row.split()[:4] == ["rloo", "4", "done", "3/3"]
    score = json.loads((folder_of(place, "short") / "status.json").read_text())["decides"]
    line = f"gold score at the end: rloo {score:.2f} (1 seed). All of it: align_lab compare short"
    assert line in shown.splitlines()
    content = json.loads(invoke(place, "status", "short", "--json").stdout)
    (task,) = [task for task in content["tasks"] if task["kind"] == "run"]
    assert (task["arm"], task["seed"], task["steps"]) == ("rloo", 4, 3)
    assert content["results"] == [{"arm": "rloo", "seeds": 1, "mean": score, "metric": "gold score"}]


def written(tmp_path, name, *, decides, arm="", manifest=True, **fields):
    """A finished run that was started alone."""
    path = tmp_path / "runs" / "mine" / name
    path.mkdir(parents=True)
    (path / "config.yaml").touch()
    status = {"state": "done", "step": 3, "steps": 3, "decides": decides, "metric": "gold score", "heartbeat": 1.0}
    (path / "status.json").write_text(json.dumps(status))
    if manifest:
        config = {"arm": arm, "seed": 1, "study": "mine", **fields}
        (path / "manifest.json").write_text(json.dumps({"signature": name[-8:], "config": config}))


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda: current_states(runs_folder() / "mine")


def test_two_values_of_one_algorithm_are_told_apart_by_the_fields_that_differ(tmp_path, mine):
    low, high = {"algo.kl_coef": 0.05, "train.lr": 1e-4}, {"algo.kl_coef": 0.5, "train.lr": 1e-4}
    written(tmp_path, "rloo-tiny-s1-00000001", decides=0.5, **low)
    written(tmp_path, "rloo-tiny-s1-00000002", decides=0.25, **high)
    written(tmp_path, "rloo-tiny-s2-00000003", decides=0.75, **high)
    written(tmp_path, "dpo-tiny-s1-00000004", decides=0.1, **low)
    tasks = mine()
    assert {(task.arm, task.seed, task.values) for task in tasks} == {
        ("rloo", 1, "algo.kl_coef=0.05"),
        ("rloo", 1, "algo.kl_coef=0.5"),
        ("rloo", 2, "algo.kl_coef=0.5"),
        ("dpo", 1, ""),
    }
    assert results_line("mine", results(tasks)) == (
        "gold score at the end: rloo algo.kl_coef=0.05 0.50 (1 seed), rloo algo.kl_coef=0.5 0.50 (2 seeds), "
        "dpo 0.10 (1 seed). Which is better, and how surely: align_lab compare mine"
    )
    shown = forked.run(["status", "mine"], cwd=tmp_path).stdout
    assert len({line.split("done")[0] for line in shown.splitlines() if line.startswith("rloo")}) == 3


def test_runs_without_a_manifest_are_told_apart_by_their_hashes(tmp_path, mine):
    written(tmp_path, "rloo-tiny-s1-0000000a", decides=0.5, manifest=False)
    written(tmp_path, "rloo-tiny-s1-0000000b", decides=0.5, manifest=False)
    assert [(task.arm, task.seed, task.values) for task in mine()] == [
        ("rloo", 1, "0000000a"),
        ("rloo", 1, "0000000b"),
    ]


def test_an_arm_that_the_run_names_is_its_arm(tmp_path, mine):
    written(tmp_path, "rloo-tiny-s1-0000000a", decides=0.5, arm="large")
    assert [(task.arm, task.seed) for task in mine()] == [("large", 1)]


def test_runs_that_wait_are_told_apart_by_what_the_command_asked_for(tmp_path, mine):
    asked = study.read(["algo=rloo", "algo.kl_coef=0.05,0.5", "seed=1,2", "study=mine"])
    expected_runs.update(runs_folder() / "mine", asked)
    found = {(task.seed, task.values, task.steps, task.state) for task in mine()}
    assert found == {(s, f"algo.kl_coef={kl}", 60, "missing") for s in (1, 2) for kl in (0.05, 0.5)}
    assert results(mine()) == []
