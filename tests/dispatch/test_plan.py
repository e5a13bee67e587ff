"""The plan is pure: no Slurm, no files, no clock."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align_lab.base.errors import ConfigError
from align_lab.base.hardware import Placement
from align_lab.config import study
from align_lab.dispatch.plan import Kept, artefacts, batches, plan
from align_lab.dispatch.submit import parameters

FIVE = ["algo=ppo,rloo,dpo", "seed=1,2", "hardware=slurm_gpu", "study=five"]


@pytest.fixture(scope="module")
def five():
    return study.read(FIVE)


def planned(asked, kept=(), built=()):
    return plan(
        asked.name, asked.runs, kept={name: Kept(name=name, state="done", why="finished") for name in kept}, built=built
    )


def test_shared_stages_are_jobs_of_their_own_before_the_runs(five):
    tasks = planned(five).tasks
    stages = [task.name.rpartition("-")[0] for task in tasks if task.kind == "stage"]
    assert sorted(stages) == ["data", "gold", "human_ratings", "preferences", "sft"]
    seen = set()
    for task in tasks:
        assert set(task.needs) <= seen  # whatever is needed comes first
        seen.add(task.name)


def test_only_runs_that_need_a_stage_wait_for_it(five):
    needs = {task.name.split("-")[0]: {need.rpartition("-")[0] for need in task.needs} for task in planned(five).runs}
    assert needs["rloo"] == needs["ppo"] == {"data", "sft", "gold", "human_ratings"}
    assert needs["dpo"] == needs["rloo"] | {"preferences"}


def test_what_is_built_or_finished_is_not_planned(five):
    built = set(artefacts(five.runs[0]))
    todo = planned(five, kept={five.runs[0].name}, built=built)
    assert five.runs[0].name not in {task.name for task in todo.tasks}
    assert [task.name.rpartition("-")[0] for task in todo.tasks if task.kind == "stage"] == ["preferences"]
    assert todo.kept[0].why == "finished"


def test_equal_runs_are_planned_once():
    twice = study.read(["algo=rloo,rloo", "seed=1,1,2", "study=five"])
    assert len(twice.runs) == 2 and len(twice.duplicates) == 4


def test_one_array_for_each_resource_shape_taken_from_each_runs_own_hardware(five):
    asked = study.read([*FIVE[:1], "seed=1,2", "study=five", "hardware=slurm_gpu,slurm_cpu"])
    built = {name for run in asked.runs for name in artefacts(run)}
    found = batches(planned(asked, built=built).tasks, max_array=1000)
    assert [(len(batch.tasks), batch.placement.gpus_per_node) for batch in found] == [(6, 1), (6, 0)]
    shapes = study.read(["algo=ppo", "seed=1,2", "study=five", "hardware=slurm_gpu"]).runs
    other = study.read(["algo=dpo", "seed=1,2", "study=five", "hardware=slurm_cpu"]).runs
    both = plan(
        "five", [*shapes, *other], kept={}, built={name for run in [*shapes, *other] for name in artefacts(run)}
    )
    found = batches(both.tasks, max_array=1000)
    assert [(len(batch.tasks), batch.placement.gpus_per_node) for batch in found] == [(2, 1), (2, 0)]


@settings(max_examples=20, deadline=None)
@given(limit=st.integers(1, 7))
def test_arrays_are_split_at_the_clusters_limit_and_hold_every_run_once(five, limit):
    built = {name for run in five.runs for name in artefacts(run)}
    found = batches(planned(five, built=built).tasks, max_array=limit)
    assert all(len(batch.tasks) <= limit for batch in found)
    assert sorted(task.name for batch in found for task in batch.tasks) == sorted(run.name for run in five.runs)


def test_a_stage_needs_one_process_however_many_its_runs_have():
    asked = study.read(["algo=rloo", "hardware=slurm_gpu", "hardware.placement.nodes=4", "study=five"])
    for task in planned(asked).tasks:
        assert task.placement.nodes == (4 if task.kind == "run" else 1)


def test_every_field_of_a_placement_reaches_sbatch():
    place = Placement(
        executor="slurm",
        nodes=2,
        tasks_per_node=3,
        cpus_per_task=4,
        gpus_per_node=5,
        mem_gb=1.5,
        minutes=6,
        partition="p",
        account="a",
        qos="q",
        constraint="c",
        container="image.sqsh",
        setup=["module load cuda"],
        sbatch=["--reservation=mine", "--exclusive"],
        max_parallel=7,
        signal_seconds=8,
    )
    found = parameters(place, name="job", after=["1", "2"])
    assert found["nodes"] == 2 and found["ntasks_per_node"] == 3 and found["cpus_per_task"] == 4
    assert found["gpus_per_node"] == 5 and found["mem"] == "1536M" and found["time"] == 6
    assert (found["partition"], found["account"], found["qos"], found["constraint"]) == ("p", "a", "q", "c")
    assert "--container-image=image.sqsh" in found["srun_args"] and found["setup"] == ["module load cuda"]
    assert (
        found["additional_parameters"]["reservation"] == "mine" and found["additional_parameters"]["exclusive"] is True
    )
    assert found["array_parallelism"] == 7 and found["signal_delay_s"] == 8 and found["dependency"] == "afterok:1:2"


def test_a_sweep_file_states_question_arms_seeds_and_budget(tmp_path, monkeypatch):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(
        "# @package _global_\nstudy: mine\nquestion: Which?\narms:\n  small: [algo=rloo, train.group_size=2]\n"
        "  large: [algo=rloo, train.group_size=8, train.prompts_per_step=8]\nseeds: [3, 4]\nbudget: {episodes: 640}\n"
    )
    monkeypatch.chdir(tmp_path)
    asked = study.read(["sweeps=mine", "train.lr=1e-4"])
    assert asked.settings.question == "Which?" and asked.sweep == "mine" and asked.name == "mine"
    assert [(run["arm"], run["seed"], run["train"]["group_size"]) for run in asked.runs] == [
        ("small", 3, 2),
        ("small", 4, 2),
        ("large", 3, 8),
        ("large", 4, 8),
    ]
    assert all(run["train"]["budget"]["episodes"] == 640 and run["train"]["lr"] == 1e-4 for run in asked.runs)
    assert [run["seed"] for run in study.read(["sweeps=mine", "seed=9"]).runs] == [9, 9]
    with pytest.raises(ConfigError, match=r"the sweep file sets algo in its arms \(small, large\)"):
        study.read(["sweeps=mine", "algo=dpo"])


def test_all_that_is_wrong_in_any_job_is_said_before_anything_is_queued():
    with pytest.raises(ConfigError) as error:
        study.read(["algo=rloo,ppo", "train.group_size=1,4", "algo.clip=-1"])
    said = str(error.value)
    assert (
        "algo=rloo needs train.group_size >= 2" in said
        and "there is no algo.clip" in said
        and "algo.clip must be" in said
    )
