"""Reading a W&B project through its API, whose replacement here rejects every request for a subsample."""

import sys
import types

import pytest

from align_lab.base.errors import ConfigError
from align_lab.boards import wandb_history
from align_lab.compare.foreign import reader


class Run:
    def __init__(self, name, state, config, rows):
        self.name, self.state, self.config, self._rows = name, state, config, rows

    def scan_history(self):
        yield from self._rows

    def history(self, *args, **kwargs):
        raise AssertionError("history() returns a subsample")


def rows(end):
    return [{"_step": i, "train/global_step": i, "train/reward": end * i / 2000} for i in range(2001)]


RUNS = [
    Run("brave-fox-1", "finished", {"algo": {"name": "grpo"}, "seed": 1}, rows(1.0)),
    Run("calm-owl-2", "finished", {"algo": {"name": "grpo"}, "seed": 2}, rows(2.0)),
    Run("slow-cat-3", "crashed", {"algo": {"name": "grpo"}, "seed": 3}, rows(9.0)),
]


class Api:
    def runs(self, path):
        if path != "team/project":
            raise ValueError(f"Could not find project {path}")
        return iter(RUNS)

    def run(self, path):
        assert path == "team/project/abc123"
        return RUNS[0]


@pytest.fixture
def server(monkeypatch):
    replacement = types.SimpleNamespace(Api=Api, Error=type("Error", (Exception,), {}))
    monkeypatch.setitem(sys.modules, "wandb", replacement)


def test_every_row_of_every_finished_run_is_read_with_arm_and_seed_of_its_config(server):
    project = reader.read([["wandb", "team/project"]])
    assert [(run.label, run.seed) for run in project.runs] == [("grpo (W&B)", 1), ("grpo (W&B)", 2)]
    assert len(project.runs[0].series["objective/scores"][0]) == 2001  # W&B's own charts hold 500
    assert [(run.name, run.state) for run in project.left_out] == [("slow-cat-3", "crashed")]


def test_one_run_by_its_path(server):
    assert [one.name for one in wandb_history.read("team/project/abc123")] == ["brave-fox-1"]


def test_a_project_that_is_not_there_says_what_to_check(server):
    with pytest.raises(ConfigError, match=r"there is no team/other on disk, and W&B did not return it.*WANDB_API_KEY"):
        reader.read([["wandb", "team/other"]])


def test_without_wandb_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"pip install 'align_lab\[wandb\]'"):
        reader.read([["wandb", "team/project"]])


def test_the_real_api_has_the_methods_that_are_called():
    api = pytest.importorskip("wandb.apis.public")
    assert callable(api.Api.runs) and callable(api.Api.run) and callable(api.Run.scan_history)
    assert isinstance(api.Run.config, property)
