"""The command without a server: what it writes to disk, what it refuses, what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import forked
from tests.compare.folders import edit, name_of
from tests.dashboards.conftest import KEY, dashboard

WITHOUT = """
import importlib.util as util
found, util.find_spec = util.find_spec, lambda name, *more: None if name == "wandb_workspaces" else found(name, *more)
"""
NO_TORCH = "import sys; sys.modules['torch'] = None"


def test_offline_writes_both_specs_always_the_same_and_sends_nothing(here):
    first = dashboard("three", "--offline", key="", code=NO_TORCH)
    assert first.returncode == 0, first.stderr
    folder = Path("runs/three/wandb")
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "workspace.json"]
    texts = [path.read_text() for path in sorted(folder.iterdir())]
    assert all(str(path) in first.stdout for path in folder.iterdir())
    assert "align_lab wandb dashboard three" in first.stdout
    again = dashboard("three", "--offline", "--json", "--project=mine", "--entity=team")
    assert json.loads(again.stdout)["workspace"] == "runs/three/wandb/workspace.json"
    assert json.loads(again.stdout)["comparable"] is True
    changed = json.loads(folder.joinpath("workspace.json").read_text())
    assert (changed["entityName"], changed["projectName"]) == ("team", "mine")
    assert dashboard("three", "--offline").returncode == 0
    assert [path.read_text() for path in sorted(folder.iterdir())] == texts  # of another process, with a key
    assert KEY not in "".join(texts)


def test_compare_does_not_take_the_folder_for_a_run(here):
    assert dashboard("three", "--offline").returncode == 0
    compare = forked.run(["compare", "three", "--json"])
    compare.check_returncode()
    assert [run["name"] for run in json.loads(compare.stdout)["unfinished"]] == [name_of("ppo", 3)]


def test_runs_that_may_not_be_compared_have_a_dashboard_that_says_so(here):
    manifest = Path("runs/three", name_of("ppo", 0), "manifest.json")
    edit(manifest, hashes={**json.loads(manifest.read_text())["hashes"], "gold": "other"})
    run = dashboard("three", "--offline")
    assert run.returncode == 0
    assert run.stdout.startswith("Not comparable: the runs differ in gold. Workspace and report say so at the top.")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["thre"], "did you mean 'three'?"),
        (["three", "--projekt=x"], "unrecognized arguments: --projekt=x"),
        ([], "needs a STUDY, and align_lab studies lists them"),
    ],
)
def test_a_wrong_command_says_what_is_right(here, args, said):
    run = dashboard(*args)
    assert run.returncode == 2
    assert said in run.stderr


def test_a_missing_library_is_named_with_what_to_type(here):
    run = dashboard("three", "--offline", code=WITHOUT)
    assert run.returncode == 2
    assert "needs wandb_workspaces. Type: pip install 'align_lab[wandb]'" in run.stderr


def test_help_tells_what_is_made_and_how(here):
    run = dashboard("--help")
    assert run.returncode == 0
    for word in ("updates both in place", "--offline", "--entity", "WANDB_API_KEY", "five_algorithms"):
        assert word in run.stdout
