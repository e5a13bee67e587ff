"""A tuned study through the command line: equal trials, the best recipe with fresh seeds, an interruption, refusals."""

import json
import shutil
import subprocess
import time

import pytest

from tests.run.test_runs import command, environment, invoke, place, run

__all__ = ["place"]  # a fixture

PLAN = "tune={trials: 3, seeds: [100, 101]}"
COMMAND = ("-m", "algo=rloo,dpo", "study=tuned", "train.steps=1", "seeds=[0, 1]", "parallel=2")


def names(place, study):
    return sorted(path.name for path in (place / "runs" / study).glob("[!.]*") if path.is_dir())


def recorded(place, study="tuned"):
    return json.loads((place / "runs" / study / ".dispatch" / "tuning.json").read_text())


def config(place, study, name):
    return json.loads((place / "runs" / study / name / "manifest.json").read_text())["config"]


@pytest.fixture(scope="module")
def done(place):
    first = run(place, *COMMAND, PLAN)
    assert first.returncode == 0, first.stderr + first.stdout
    return first.stdout


def test_every_arm_gets_as_many_trials_on_the_development_set(place, done):
    assert "2 arms are tuned with 3 trials each, at seeds 100, 101, on the development set: 12 runs" in done
    trials = names(place, "tuned_tuning")
    assert len(trials) == 12 and {name.split("-")[2] for name in trials} == {"s100", "s101"}
    configs = [config(place, "tuned_tuning", name) for name in trials]
    assert all(one["evaluation.sets"] == ["development"] for one in configs)
    rates = {algo: {one["train.lr"] for one in configs if one["algo.name"] == algo} for algo in ("rloo", "dpo")}
    assert rates["rloo"] == rates["dpo"] and len(rates["rloo"]) == 3


def test_the_best_recipe_runs_with_fresh_seeds_and_these_decide(place, done):
    record = recorded(place)
    for arm in ("rloo", "dpo"):
        best = max(record["trials"][arm], key=lambda trial: sum(trial["scores"]))["point"]
        fresh = [name for name in names(place, "tuned") if name.startswith(arm)]
        assert [name.split("-")[2] for name in fresh] == ["s0", "s1"]
        for name in fresh:
            values = config(place, "tuned", name)
            assert {field: values[field] for field in best} == best
            assert values["evaluation.sets"] == ["evaluation", "development"]
    assert record["trials"]["rloo"][0]["spent"]["episodes"] > 0


def test_status_of_a_study_says_how_many_of_its_trials_have_ended(place, done):
    assert "Its trials: 12 done: align_lab status tuned_tuning" in " ".join(
        invoke(place, "status", "tuned").stdout.split()
    )
    asked = [json.loads(invoke(place, "status", name, "--json").stdout)["trials"] for name in ("tuned", "tuned_tuning")]
    assert asked == [{"done": 12}, {}]


def test_cancelling_a_study_that_is_being_tuned_leads_to_its_trials(place):
    words = ("-m", "algo=rloo", "seed=0", "study=trying", "train.steps=400", PLAN)
    process = subprocess.Popen(command(*words), cwd=place, env=environment(place), stderr=subprocess.DEVNULL)
    try:
        while not list((place / "runs" / "trying_tuning").glob("*/metrics.jsonl")) and process.poll() is None:
            time.sleep(0.05)
        said = " ".join(invoke(place, "cancel", "trying").stdout.split())
        assert "0 of its jobs cancelled" in said and "align_lab cancel trying_tuning" in said
        assert "of its jobs cancelled" in invoke(place, "cancel", "trying_tuning").stdout
    finally:
        process.terminate()
        assert process.wait() != 0


def test_compare_says_what_tuning_found_and_cost(place, done):
    shown = invoke(place, "compare", "tuned")
    words = " ".join(shown.stdout.split())
    assert shown.returncode == 0, shown.stderr
    assert "Tuning: 3 trials an arm, at seeds 100, 101" in words and "optimism" in words and "best of 1 2 3" in words
    page = (place / "runs" / "tuned" / "report.html").read_text()
    assert '<details class="part" id="tuning">' in page and "train.lr=" in page
    tables = place / "runs" / "tuned" / "report"
    assert {"tuning.csv", "tuning_expected.csv"} <= {path.name for path in tables.rglob("*.csv")}
    assert "## Tuning" in (place / "runs" / "tuned" / "report.md").read_text()


def test_the_same_command_goes_on_where_a_trial_is_missing_and_runs_nothing_twice(place, done):
    before = recorded(place)
    shutil.rmtree(place / "runs" / "tuned_tuning" / names(place, "tuned_tuning")[0])
    kept = run(place, *COMMAND, PLAN)  # the record has the trial: its run may be removed
    assert kept.returncode == 0 and recorded(place) == before and "tuned_tuning: " not in kept.stdout
    (place / "runs" / "tuned" / ".dispatch" / "tuning.json").unlink()
    again = run(place, *COMMAND, PLAN)
    assert again.returncode == 0 and "12 runs, 1 to do" in again.stdout
    assert [one["point"] for one in recorded(place)["trials"]["dpo"]] == [
        one["point"] for one in before["trials"]["dpo"]
    ]
    nothing = run(place, *COMMAND, PLAN)
    assert "tuned: 4 runs, 0 to do" in nothing.stdout and "tuned_tuning: " not in nothing.stdout


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("tune={trials: 4, seeds: [100, 101]}", "tune.trials: 3, now 4"),
        ("tune={trials: 3, seeds: [1, 101]}", "1 is also a seed of the study"),
        ("tune={trials: 3, space: {ppo: {train.lr: 'around(2)'}}}", "there is no such arm, only rloo, dpo"),
        ("tune={trials: 3, sampler: tpe, prune: halving}", "goes with tune.sampler=sobol"),
        ("tune=12", "it must be {trials: 12"),
    ],
)
def test_another_plan_or_a_wrong_one_is_refused(place, done, changed, words):
    refused = run(place, *COMMAND, changed)
    assert refused.returncode == 2 and words in refused.stderr, refused.stderr


@pytest.mark.parametrize(
    ("space", "more", "words"),
    [
        ("sampling.temperature: [0.5, 1.0]", (), "tune.space.rloo.sampling.temperature: it is a setting"),
        ("train.budget.episodes: [64, 128]", (), "tune.space.rloo.train.budget.episodes: it is a budget"),
        ("train.group_size: [1, 2]", ("budget.episodes=64",), "algo=rloo needs train.group_size >= 2 (got 1)"),
        ("train.group_size: [2, 4]", ("budget.episodes=64",), "Give all arms more steps: train.steps=8"),
    ],
)
def test_a_space_of_other_than_recipes_is_refused_before_anything_is_written(place, space, more, words):
    command = ("-m", "algo=rloo,dpo", "study=refused", "train.steps=1", "seeds=[0]", *more)
    refused = run(place, *command, f"tune={{trials: 3, seeds: [100], space: {{rloo: {{{space}}}}}}}")
    assert refused.returncode == 2 and words in refused.stderr, refused.stderr + refused.stdout
    assert "trials each" not in refused.stdout and not (place / "runs" / "refused").exists()


def test_completions_of_a_step_are_not_tuned_with_rungs(place):
    command = ("-m", "algo=rloo", "study=refused", "seeds=[0]", "budget.episodes=64")
    plan = "tune={trials: 3, seeds: [100], prune: halving, space: {rloo: {train.group_size: [2, 4]}}}"
    refused = run(place, *command, plan)
    assert refused.returncode == 2 and "trials of a rung would get unequal shares" in refused.stderr, refused.stderr


def test_a_development_set_of_few_prompts_is_warned_of_in_the_plan(place):
    words = ("-m", "algo=rloo", "seeds=[0]", PLAN, "study=few", "dry_run=true", "evaluation.prompts=100")
    few, enough = (run(place, *words, f"data.development={size}").stdout for size in (20, 200))
    warning = "the development set has 20 prompts: what is chosen by so few is chosen in part by chance"
    assert warning in few and "what is chosen by so few" not in enough


def test_data_without_a_development_set_cannot_be_tuned_on(place):
    refused = run(place, *COMMAND, PLAN, "study=none", "data.development=0")
    assert refused.returncode == 2 and "no development set" in refused.stderr and "data.development=N" in refused.stderr


def test_a_recipe_that_always_diverges_stops_the_study_and_says_so(place):
    command = ("-m", "algo=rloo", "study=wild", "train.steps=2", "seeds=[0]", "train.warmup_steps=0")
    stopped = run(place, *command, "tune={trials: 2, seeds: [100], space: {rloo: {train.lr: [1e30, 1e31]}}}")
    assert stopped.returncode == 2 and "all 2 trials of rloo diverged" in stopped.stderr, (
        stopped.stderr + stopped.stdout
    )


def test_successive_halving_gives_every_arm_the_same_rungs(place):
    command = ("-m", "algo=rloo,dpo", "study=halved", "train.steps=3", "seeds=[0]", "parallel=2", "dry_run=false")
    done = run(place, *command, "tune={trials: 3, seeds: [100], prune: halving}")
    assert done.returncode == 0, done.stderr
    for trials in recorded(place, "halved")["trials"].values():
        assert [one["steps"] for one in trials] == [1, 1, 1, 3]
        assert trials[3]["point"] == max(trials[:3], key=lambda one: one["scores"][0])["point"]
