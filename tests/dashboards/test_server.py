"""The command against a W&B on this machine: made once, then made again in place, whatever happens in between."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.compare.folders import name_of, write_run
from tests.dashboards.conftest import KEY, dashboard
from tests.dashboards.server import running

FREEZE = """
import os, signal, wandb
end, wandb.teardown = wandb.teardown, lambda: (os.kill(service(), signal.SIGSTOP), end())
service = lambda: wandb.setup()._connection._proc._process.pid
"""
MEMORY = Path("runs/three/wandb/dashboard.json")


@pytest.fixture
def wandb():
    with running() as server:
        yield server


def test_it_is_made_once_and_then_made_again_in_place(here, wandb):
    first = dashboard("three", url=wandb.url)
    assert first.returncode == 0, first.stderr
    workspace, report = wandb.views
    assert [(view["type"], view["displayName"]) for view in wandb.views] == [
        ("project-view", "align_lab: three"),
        ("runs", "align_lab: three"),
    ]
    assert f"{wandb.url}/me/align_lab?nw={workspace['name'].removeprefix('nw-').removesuffix('-v')}" in first.stdout
    assert f"{wandb.url}/me/align_lab/reports/align_lab%3A-three--{report['id'].rstrip('=')}" in first.stdout
    names, specs = [view["name"] for view in wandb.views], [view["spec"] for view in wandb.views]

    assert dashboard("three", url=wandb.url).returncode == 0
    assert [view["spec"] for view in wandb.views] == specs  # nothing new, nothing changed
    write_run(Path("runs/three"), "ppo", 5, config={"arm": ""})
    assert dashboard("three", url=wandb.url).returncode == 0
    assert [view["name"] for view in wandb.views] == names  # the same two
    assert all("ppo-tiny-s5" in view["spec"] or view["type"] == "project-view" for view in wandb.views)
    assert [json.loads(view["spec"]) for view in wandb.views] != [json.loads(spec) for spec in specs]

    MEMORY.unlink()  # on another machine, for example: found by its title
    assert dashboard("three", url=wandb.url).returncode == 0
    assert len(wandb.views) == 2
    no_key = [path for path in here.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert no_key == []
    assert not (here / "wandb").exists()


def test_a_renamed_one_is_found_by_its_id_and_a_removed_one_is_made_anew(here, wandb):
    assert dashboard("three", url=wandb.url).returncode == 0
    wandb.views[0]["displayName"] = "my own name"
    removed = wandb.views.pop(1)["id"]
    wandb.views += [dict(wandb.views[0], id=f"other{i}", displayName=f"other {i}") for i in range(5)]  # several pages
    again = dashboard("three", "--json", url=wandb.url)
    assert again.returncode == 0, again.stderr
    assert (
        Counter((view["type"], view["displayName"]) for view in wandb.views)[("project-view", "align_lab: three")] == 1
    )
    assert len(wandb.views) == 7
    told, remembered = json.loads(again.stdout), json.loads(MEMORY.read_text())[f"{wandb.url}/me/align_lab"]
    assert told["report"] == remembered["report"]["url"]
    assert remembered["report"]["id"] == wandb.views[-1]["id"] != removed


def test_it_goes_where_the_runs_were_logged_or_where_it_is_told_to(here, wandb):
    wandb.projects |= {"team/words", "team/other"}
    logged = {"id": "x", "entity": "team", "project": "words"}
    Path("runs/three", name_of("ppo", 0), "wandb.json").write_text(json.dumps(logged))
    assert dashboard("three", url=wandb.url).returncode == 0
    assert dashboard("three", "--project=other", url=wandb.url).returncode == 0
    assert Counter(view["place"] for view in wandb.views) == {"team/words": 2, "team/other": 2}
    assert set(json.loads(MEMORY.read_text())) == {f"{wandb.url}/team/words", f"{wandb.url}/team/other"}
    shutil.copytree("runs/three", "runs/four")  # a study of its own, though it has the memory of the other
    assert dashboard("four", url=wandb.url).returncode == 0
    assert [view["displayName"] for view in wandb.views] == ["align_lab: three"] * 4 + ["align_lab: four"] * 2


def test_without_the_project_nothing_is_written(here, wandb):
    run = dashboard("three", "--project=nowhere", url=wandb.url)
    assert run.returncode == 2
    assert "no project me/nowhere" in run.stderr
    assert "wandb push" in run.stderr
    assert not wandb.views
    assert not MEMORY.parent.exists()


@pytest.mark.parametrize("broken", [{"*": (500, 0)}, {"upsertView": (500, 0)}])
def test_a_server_with_errors_is_named_and_nothing_is_left_half_written(here, wandb, broken):
    wandb.broken = broken
    run = dashboard("three", url=wandb.url, seconds=2)
    assert run.returncode == 1
    assert f"{wandb.url} does not answer, or answers with errors" in run.stderr
    assert "--offline" in run.stderr
    assert "Traceback" not in run.stderr
    assert not wandb.views
    assert not MEMORY.exists()


def test_what_fails_between_the_two_is_gone_on_with(here, wandb):
    wandb.broken = {"upsertView": (500, 1)}
    assert dashboard("three", url=wandb.url, seconds=4).returncode == 1
    assert [view["type"] for view in wandb.views] == ["project-view"]
    wandb.broken = {}
    assert dashboard("three", url=wandb.url).returncode == 0
    assert sorted(view["type"] for view in wandb.views) == ["project-view", "runs"]


def test_a_dead_server_is_named(here):
    run = dashboard("three", url="http://127.0.0.1:9", seconds=2)
    assert run.returncode == 1
    assert "http://127.0.0.1:9 does not answer" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("operation", ["*", "upsertView"])
def test_a_refused_key_says_what_to_type(here, wandb, operation):
    wandb.broken = {operation: (401, 0)}
    run = dashboard("three", url=wandb.url)
    assert run.returncode == 2
    assert "wandb login --relogin" in run.stderr
    assert not wandb.views


def test_a_key_that_cannot_be_one_says_what_to_type(here, wandb):
    run = dashboard("three", url=wandb.url, key="short")
    assert run.returncode == 2
    assert "wandb login --relogin" in run.stderr


def test_without_a_key_it_says_what_to_do(here, wandb):
    run = dashboard("three", url=wandb.url, key="")
    assert run.returncode == 2
    assert f"no W&B key for {wandb.url}. Type: wandb login" in run.stderr
    assert "align_lab wandb dashboard three --offline" in run.stderr
    assert not wandb.asked


def test_a_service_of_wandb_that_hangs_does_not_keep_the_command(here, wandb):
    begin = time.monotonic()
    assert dashboard("three", url=wandb.url, code=FREEZE).returncode == 0
    assert time.monotonic() - begin > 3
    assert len(wandb.views) == 2
