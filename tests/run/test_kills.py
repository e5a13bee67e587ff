"""A kill between two writes that belong together: the same command ends with the record of an undisturbed run."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from align_lab.base.files import publishing
from align_lab.record.folder import RunFolder
from align_lab.run import inherit
from align_lab.train.checkpoint import Checkpoints
from tests.run.test_runs import folder_of, place, rows, run

__all__ = ["place"]  # a fixture

STEPS = ("algo=rloo", "plugins=[ended_before]", "evaluation.every=1", "train.lr=1e-12")  # the first score is the best


@pytest.fixture
def plugin(place):
    """The folder with the plug-in that kills."""
    shutil.copy(Path(__file__).with_name("ended_before.py"), place)
    return place


def best(path):
    manifest = json.loads((path / "manifest.json").read_text())
    return json.loads((path / "checkpoints" / "best.json").read_text()), manifest["best_step"]


def test_a_kill_before_the_best_checkpoint_has_its_name_does_not_lose_it(plugin):
    """With one checkpoint kept, the best one would be pruned as well."""
    words = (*STEPS, "record.keep_checkpoints=1")
    assert run(plugin, *words, "study=unkilled").returncode == 0
    function = {"ENDED_BEFORE": "align_lab.train.checkpoint.Checkpoints.mark_best", "ENDED_AT": "1"}
    assert run(plugin, *words, "study=unnamed", **function).returncode == -signal.SIGKILL
    assert run(plugin, *words, "study=unnamed").returncode == 0
    whole, resumed = folder_of(plugin, "unkilled"), folder_of(plugin, "unnamed")
    assert best(resumed) == best(whole) and best(whole)[1] == 0
    assert rows(resumed) == rows(whole)
    assert {path.name for path in (resumed / "checkpoints").iterdir()} == {"best.json", "step-000000", "step-000004"}


def test_a_kill_after_the_last_step_costs_the_status_nothing(plugin):
    words = ("algo=rloo", "plugins=[ended_before]", "study=last")
    function = {"ENDED_BEFORE": "align_lab.record.folder.RunFolder.finish", "ENDED_AT": "1"}
    assert run(plugin, *words, **function).returncode == -signal.SIGKILL
    path = folder_of(plugin, "last")
    told = ("step", "steps", "episode", "score", "decides")
    before = json.loads((path / "status.json").read_text())
    assert run(plugin, *words).returncode == 0
    after = json.loads((path / "status.json").read_text())
    assert [after[name] for name in told] == [before[name] for name in told] and after["state"] == "done"


def test_a_run_that_was_killed_goes_on_with_its_micro_batches(plugin):
    """Whatever fits on the machine where it goes on: with others, rounding would differ."""
    words = ("algo=rloo", "plugins=[ended_before]", "study=batches", "train.steps=3", "record.checkpoint_every=1")
    function = {"ENDED_BEFORE": "align_lab.record.folder.RunFolder.log", "ENDED_AT": "3"}
    assert run(plugin, *words, "train.micro_batch=4", **function).returncode == -signal.SIGKILL
    assert run(plugin, *words).returncode == 0
    assert json.loads((folder_of(plugin, "batches") / "manifest.json").read_text())["memory"]["micro_batch"] == 4


class Killed(BaseException):
    """As by a signal that cannot be handled."""


def test_a_longer_run_takes_the_newest_checkpoint_over_last(tmp_path, monkeypatch):
    """It would begin there after a kill, and not take over the best one any more."""
    source, target = (RunFolder(tmp_path / name) for name in ("source", "target"))
    target.path.mkdir()
    for step in (1, 8):
        Checkpoints(source.at.checkpoints).save(step, {"a": step}, keep=2)
    Checkpoints(source.at.checkpoints).mark_best(1, 0.5)
    source.log({"step": 1})
    source.log_samples([{"step": 0}])
    taken = []

    def killed_at_the_second(folder):
        taken.append(folder.name)
        if len(taken) == 2:
            raise Killed
        return publishing(folder)

    monkeypatch.setattr(inherit, "publishing", killed_at_the_second)
    with pytest.raises(Killed):
        inherit._copy(inherit.Start(source.path, 8), target)
    assert Checkpoints(target.at.checkpoints).steps() == [1] == [Checkpoints(target.at.checkpoints).best()]
