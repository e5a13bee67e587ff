"""The plan is pure: no Slurm, no files, no clock."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align_lab.base.errors import ConfigError
from align_lab.base.hardware import Placement
from align_lab.config import study
from align_lab.dispatch import look
from align_lab.dispatch.batch_script import lines_around, parameters
from align_lab.dispatch.plan import Skipped, artefacts, job_arrays, plan
from align_lab.dispatch.reconcile import one_per_config

FIVE = ["algo=ppo,rloo,dpo", "seed=1,2", "hardware=slurm_gpu", "study=five"]
LARGE = Placement(
    executor="slurm",
    nodes=2,
    tasks_per_node=3,
    cpus_per_task=4,
    gpus_per_node=5,
    mem_gb=100,
    minutes=600,
    partition="gpu",
    account="a",
    constraint="h100",
    container="image.sqsh",
)


@pytest.fixture(scope="module")
def five():
    return study.read(FIVE)


def planned(study, finished=(), built=()):
    skipped = {name: Skipped(name=name, state="done", why="finished") for name in finished}
    return plan(study.name, study.runs, skipped=skipped, built=built)


def all_stages(*runs):
    return {name for run in runs for name in artefacts(run)}


def test_shared_stages_are_jobs_of_their_own_before_the_runs(five):
    tasks = planned(five).tasks
    stages = [task.name.rpartition("-")[0] for task in tasks if task.kind == "stage"]
    assert sorted(stages) == ["data", "gold", "human_ratings", "preferences", "sft"]
    seen = set()
    for task in tasks:
        assert set(task.needs) <= seen  # topological order
        seen.add(task.name)


def test_only_runs_that_need_a_stage_wait_for_it(five):
    needs = {task.name.split("-")[0]: {need.rpartition("-")[0] for need in task.needs} for task in planned(five).runs}
    assert needs["rloo"] == needs["ppo"] == {"data", "sft", "gold", "human_ratings"}
    assert needs["dpo"] == needs["rloo"] | {"preferences"}


def test_built_stages_and_finished_runs_are_not_planned(five):
    todo = planned(five, finished={five.runs[0].name}, built=all_stages(five.runs[0]))
    assert five.runs[0].name not in {task.name for task in todo.tasks}
    assert [task.name.rpartition("-")[0] for task in todo.tasks if task.kind == "stage"] == ["preferences"]
    assert todo.skipped[0].why == "finished"


def test_equal_runs_are_planned_once():
    twice = study.read(["algo=rloo,rloo", "seed=1,1,2", "study=five"])
    assert len(twice.runs) == 2 and len(twice.duplicates) == 4


def test_one_array_for_each_resource_shape_taken_from_each_runs_own_hardware(five):
    both_shapes = study.read([*FIVE[:1], "seed=1,2", "study=five", "hardware=slurm_gpu,slurm_cpu"])
    arrays = job_arrays(planned(both_shapes, built=all_stages(*both_shapes.runs)).tasks, max_size=1000)
    assert [(len(array.tasks), array.placement.gpus_per_node) for array in arrays] == [(6, 1), (6, 0)]
    on_gpus = study.read(["algo=ppo", "seed=1,2", "study=five", "hardware=slurm_gpu"]).runs
    on_cpus = study.read(["algo=dpo", "seed=1,2", "study=five", "hardware=slurm_cpu"]).runs
    todo = plan("five", [*on_gpus, *on_cpus], skipped={}, built=all_stages(*on_gpus, *on_cpus))
    arrays = job_arrays(todo.tasks, max_size=1000)
    assert [(len(array.tasks), array.placement.gpus_per_node) for array in arrays] == [(2, 1), (2, 0)]


@settings(max_examples=20, deadline=None)
@given(limit=st.integers(1, 7))
def test_arrays_are_split_at_the_clusters_limit_and_contain_every_run_once(five, limit):
    arrays = job_arrays(planned(five, built=all_stages(*five.runs)).tasks, max_size=limit)
    assert all(len(array.tasks) <= limit for array in arrays)
    assert sorted(task.name for array in arrays for task in array.tasks) == sorted(run.name for run in five.runs)


def test_a_stage_needs_one_process_however_many_its_runs_have():
    four_nodes = study.read(["algo=rloo", "hardware=slurm_gpu", "hardware.placement.nodes=4", "study=five"])
    for task in planned(four_nodes).tasks:
        assert task.placement.nodes == (4 if task.kind == "run" else 1)


def test_every_field_of_a_placement_reaches_sbatch():
    place = replace(
        LARGE,
        mem_gb=1.5,
        minutes=6,
        partition="p",
        qos="q",
        constraint="c",
        container_mounts=["/data:/data:ro", "/scratch:/scratch"],
        reservation="r",
        exclude=["n1", "n[3-4]"],
        mail="a@b.org",
        setup=["module load cuda"],
        sbatch=["--exclusive", "--gres=shard:2"],
        max_parallel=7,
        signal_seconds=8,
    )
    sbatch = parameters(place, name="job", dependency="afterok:1:2")
    assert sbatch["nodes"] == 2 and sbatch["ntasks_per_node"] == 3 and sbatch["cpus_per_task"] == 4
    assert sbatch["gpus_per_node"] == 5 and sbatch["mem"] == "1536M" and sbatch["time"] == 6
    assert (sbatch["partition"], sbatch["account"], sbatch["qos"], sbatch["constraint"]) == ("p", "a", "q", "c")
    assert "--container-image=image.sqsh" in sbatch["srun_args"] and "setup" not in sbatch
    around = lines_around(place, folder=Path("/runs/mine/.dispatch"), token="t")
    assert around["setup"][1] == "module load cuda" and around["teardown"][-1] == "exit $align_lab_status"
    assert "--container-mounts=/data:/data:ro,/scratch:/scratch" in sbatch["srun_args"]
    assert (sbatch["exclude"], sbatch["mail_user"], sbatch["mail_type"]) == ("n1,n[3-4]", "a@b.org", "END,FAIL")
    more = sbatch["additional_parameters"]
    assert more["reservation"] == "r" and more["exclusive"] is True and more["gres"] == "shard:2"
    assert sbatch["array_parallelism"] == 7 and sbatch["signal_delay_s"] == 8 and sbatch["dependency"] == "afterok:1:2"


def test_the_job_of_a_look_is_small_and_runs_where_the_command_does():
    place = replace(LARGE, python="/inside/python", look_minutes=7, look_partition="cpu")
    sbatch = parameters(look.placement(place), name="job", dependency="afterany:1")
    assert (sbatch["nodes"], sbatch["ntasks_per_node"], sbatch["cpus_per_task"]) == (1, 1, 1)
    assert (sbatch["mem"], sbatch["time"], sbatch["partition"], sbatch["account"]) == ("2048M", 7, "cpu", "a")
    assert not {"gpus_per_node", "constraint"} & set(sbatch)
    assert look.placement(place).python is None and look.placement(place).container is None


def test_a_sweep_file_states_question_arms_seeds_and_budget(tmp_path, monkeypatch):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(
        "# @package _global_\nstudy: mine\nquestion: Which?\narms:\n  small: [algo=rloo, train.group_size=2]\n"
        "  large: [algo=rloo, train.group_size=8, train.prompts_per_step=8]\nseeds: [3, 4]\nbudget: {episodes: 640}\n"
    )
    monkeypatch.chdir(tmp_path)
    mine = study.read(["sweeps=mine", "train.lr=1e-4"])
    assert mine.settings.question == "Which?" and mine.sweep == "mine" and mine.name == "mine"
    assert [(run["arm"], run["seed"], run["train"]["group_size"]) for run in mine.runs] == [
        ("small", 3, 2),
        ("small", 4, 2),
        ("large", 3, 8),
        ("large", 4, 8),
    ]
    assert all(run["train"]["budget"]["episodes"] == 640 and run["train"]["lr"] == 1e-4 for run in mine.runs)
    assert [run["seed"] for run in study.read(["sweeps=mine", "seed=9"]).runs] == [9, 9]
    with pytest.raises(ConfigError, match=r"the sweep file sets algo in its arms \(small, large\)"):
        study.read(["sweeps=mine", "algo=dpo"])


def test_the_mistakes_of_all_jobs_are_reported_before_anything_is_queued():
    with pytest.raises(ConfigError) as error:
        study.read(["algo=rloo,ppo", "train.group_size=1,4", "algo.clip=-1"])
    for message in ("algo=rloo needs train.group_size >= 2", "there is no algo.clip", "algo.clip must be"):
        assert message in str(error.value)


@pytest.mark.parametrize("words", [FIVE, ["algo=rloo,raft", *FIVE[1:], "vary=[rl,reward,policy]"]])
def test_runs_that_differ_in_the_seed_share_their_stages_unless_it_moves_them(words):
    """The plan looks up the stages of an arm once; each run needs what its own config says."""
    read = study.read(words)
    every = {name for run in read.runs for name in artefacts(run)}
    todo = planned(read)
    assert {task.name for task in todo.tasks if task.kind == "stage"} == every
    assert all(set(task.needs) == set(artefacts(task.cfg)) for task in todo.runs)
    assert {name for run in one_per_config(read.runs) for name in artefacts(run)} == every
