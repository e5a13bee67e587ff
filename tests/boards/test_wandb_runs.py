"""Whole runs through the command line that are logged to Weights & Biases, against a local server."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import align_lab

pytest.importorskip("wandb", reason="pip install 'align_lab[wandb]'")

from align_lab.dispatch import snapshot
from tests.boards.run_folder import KEY
from tests.boards.test_wandb_tracker import until
from tests.boards.wandb_server import WandbServer
from tests.run.test_runs import SMALL, command, environment, folder_of, invoke, place, rows, run

pytestmark = pytest.mark.nightly

__all__ = ["place"]  # fixture

DOCS = Path(align_lab.__file__).parents[1] / "docs" / "wandb.md"
SWEEP = DOCS.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]


@pytest.fixture
def online(monkeypatch, tmp_path):
    """A local server, and the environment variables with which wandb uses it."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    own = {name: str(home) for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR")}
    server = WandbServer()
    with server.serving() as address:
        yield (
            server,
            {
                **own,
                "WANDB_BASE_URL": address,
                "WANDB_API_KEY": KEY,
                "NETRC": str(home / "netrc"),
                "WANDB_ERROR_REPORTING": "false",
                "WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "1",
            },
        )


def holds_key(folder):
    """Files under the folder, symbolic links followed, that hold the planted key."""
    files = []
    for path, _, names in os.walk(folder, followlinks=True):
        for name in names:
            file = os.path.join(path, name)
            if os.path.isfile(file):
                with open(file, "rb") as content:
                    files += [file] if KEY.encode() in content.read() else []
    return files


def logged_rows(server, name):
    """The rows of a run on the server, without time measurements and without W&B's own columns."""
    wandb_columns = ("_step", "_timestamp", "_runtime", "_wandb", "completions")
    return [
        {key: value for key, value in row.items() if not key.startswith("time/") and key not in wandb_columns}
        for row in server.rows(name)
    ]


def real(command, place, **extra):
    """The command as a process of its own."""
    return subprocess.run(command, cwd=place, env=environment(place, **extra), capture_output=True, text=True)


def test_the_default_record_imports_no_tracker(place):
    args = [sys.executable, "-X", "importtime", *command("algo=rloo", "study=plain")[1:]]
    done = real(args, place, WANDB_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "torch" in imported and not {"wandb", "trackio"} & imported
    assert not list(folder_of(place, "plain").glob("*wandb*"))


def test_a_killed_run_continues_the_same_wandb_run(place, online):
    server, where = online
    many = ["record.finish_seconds=600", "train.steps=200", "evaluation.every=50", "record.checkpoint_every=20"]
    fields = ["algo=rloo", "study=logged", "record=wandb", *many]
    process = subprocess.Popen(command(*fields), cwd=place, env=environment(place, **where), stdout=subprocess.DEVNULL)
    until(lambda: sum(len(file.read_bytes().splitlines()) for file in place.glob("runs/logged/*/metrics.jsonl")) > 5)
    process.send_signal(signal.SIGSTOP)  # training may be faster than the upload, which goes on
    until(lambda: any(run["files"].get("wandb-history.jsonl") for run in server.runs.values()))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(rows(folder_of(place, "logged"))) < 201
    done = run(place, *fields, **where)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout
    (name,) = server.of_type("train")
    assert logged_rows(server, name) == rows(folder_of(place, "logged"))
    pushed = invoke(place, "wandb", "push", "logged", **where)
    assert pushed.returncode == 0 and "0 rows sent, 201 were there" in pushed.stdout
    assert f"Basic {_basic()}" in server.auth and holds_key(place) == []


def test_every_run_of_a_study_is_logged_and_no_file_contains_the_key(place, online, monkeypatch, tmp_path):
    server, where = online
    done = run(
        place,
        "-m",
        "algo=rloo,reinforce",
        "seed=7",
        "study=many",
        "record=wandb",
        "record.finish_seconds=600",
        "parallel=2",
        **where,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    runs = server.of_type("train")
    assert {run_there["groupName"] for run_there in runs.values()} == {"many/rloo", "many/reinforce"}
    assert all(len(server.rows(name)) == 5 for name in runs)
    stages = server.of_type("stage")
    assert {stage for name in runs for stage in server.config(name)["stages"].values()} == set(stages)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(place)
    snapshot.take()
    compared = invoke(place, "compare", "many", **where)
    assert compared.returncode == 0, compared.stderr
    assert holds_key(place) == [] and holds_key(tmp_path) == []


def test_an_agent_of_a_wandb_sweep_runs_the_command(place, online):
    server, where = online
    server.sweep = SWEEP
    values = {"algo.kl_coef": {"value": 0.2}, "study": {"value": "swept"}, "record.finish_seconds": {"value": 600}}
    small = {key: {"value": value} for key, _, value in (text.partition("=") for text in SMALL)}
    server.commands = [{"type": "run", "program": "align_lab", "run_id": "agents-own", "args": {**small, **values}}]
    beside = os.path.dirname(sys.executable)
    agent = [shutil.which("wandb", path=beside), "agent", "me/align_lab/sweep1"]
    done = real(agent, place, **where, PATH=os.pathsep.join([beside, os.environ["PATH"]]))
    assert done.returncode == 0, done.stderr
    assert list(server.of_type("train")) == ["agents-own"] and not server.of_type("stage")
    assert logged_rows(server, "agents-own") == rows(folder_of(place, "swept"))
    assert server.runs["agents-own"]["sweep"] == "sweep1" and server.summary("agents-own")["final/step"] == 4
    assert folder_of(place, "swept").joinpath("config.yaml").read_text().count("kl_coef: 0.2") == 1


def _basic():
    import base64

    return base64.b64encode(f"api:{KEY}".encode()).decode()
