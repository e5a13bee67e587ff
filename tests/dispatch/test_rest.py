"""What did not fit into the queue: written down, shown, submitted again by the same command, and forgotten."""

import pytest

from align_lab.config.composition import compose
from align_lab.dispatch import rest
from align_lab.dispatch.plan import JobArray, job_arrays, plan
from align_lab.dispatch.reconcile import reconcile
from align_lab.dispatch.states import states
from align_lab.stages.store import Store

RUN = ["algo=rloo", "hardware=slurm_gpu", "hardware.placement.minutes=7", "study=large"]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return [compose([*RUN, f"seed={seed}"]) for seed in range(3)]


@pytest.fixture
def folder(tmp_path, runs):
    """Of a study of which nothing fitted."""
    study = tmp_path / "runs" / "large"
    (study / ".dispatch").mkdir(parents=True)
    batches = job_arrays(plan("large", runs, skipped={}, built=()).tasks, max_size=10)
    rest.keep(study, batches, code=tmp_path / "code", digest="hash")
    return study


def test_tasks_are_read_as_they_were_written(folder, runs, tmp_path):
    waiting = rest.read(folder)
    planned = plan("large", runs, skipped={}, built=()).tasks
    assert [(task.name, task.kind, task.placement, task.needs) for task in waiting.tasks] == [
        (task.name, task.kind, task.placement, task.needs) for task in planned
    ]
    assert [task.cfg.signature for task in waiting.tasks] == [task.cfg.signature for task in planned]
    assert (waiting.code, waiting.digest) == (tmp_path / "code", "hash")


def test_status_says_what_they_wait_for_and_the_same_command_submits_them(folder, runs, tmp_path):
    tasks = states(folder, {run.name: {} for run in runs}, None)
    shown = {task.name: (task.state, task.why) for task in tasks}
    assert set(shown) == {run.name for run in runs} and len(set(shown.values())) == 1
    assert shown[runs[0].name][0] == "queued" and "waits for room in the queue" in shown[runs[0].name][1]
    assert not reconcile(folder, runs, Store(tmp_path / "store"), cluster=False).skipped


def test_what_is_cancelled_is_forgotten(folder, runs):
    rest.forget(folder, {runs[0].name})
    assert rest.names(folder) & {run.name for run in runs} == {runs[1].name, runs[2].name}
    rest.forget(folder)
    assert rest.names(folder) == set() and rest.read(folder) is None


def test_a_job_that_gives_up_leaves_what_is_left_to_the_others(folder):
    before = rest.read(folder)
    rest.give_up(folder, "12_0")
    rest.give_up(folder, "13")
    after = rest.read(folder)
    assert after.gone == ("12_0", "13") and before.gone == ()
    assert [task.name for task in after.tasks] == [task.name for task in before.tasks]


@pytest.mark.parametrize("text", ["", "{}", "no json\n", '{"code": "a", "digest": "b"}\n{"name": 1}\n'])
def test_a_damaged_file_holds_nothing(folder, text):
    (folder / ".dispatch" / "rest.jsonl").write_text(text)
    assert rest.read(folder) is None and rest.names(folder) == set()


@pytest.mark.parametrize(
    ("override", "possible"),
    [
        ("seed=0", True),
        ("hardware.placement.look_job=false", False),
        ("hardware.placement.container=image.sqsh", False),
    ],
)
def test_jobs_that_may_not_submit_are_not_counted_on(runs, override, possible):
    tasks = plan("large", [compose([*RUN, override])], skipped={}, built=()).tasks
    assert rest.can_be_topped_up([JobArray(tasks=(task,)) for task in tasks]) == possible
