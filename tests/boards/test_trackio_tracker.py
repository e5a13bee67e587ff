"""Runs in Trackio, whose database is a file of this machine."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("trackio", reason="pip install 'align_lab[trackio]'")

from align_lab.boards.sinks import sink
from tests.boards import run_folder
from tests.boards.run_folder import PER_STEP, STEPS

pytestmark = pytest.mark.nightly


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.chdir(tmp_path)


def start(root):
    folder, record = run_folder.new(root, "trackio", "record.project=ours")
    messages = []
    return folder, sink(record, folder.path, messages.append), messages


def read():
    """{run: (config, rows)} as trackio itself reads them, in a process that has not imported it yet."""
    code = (
        "import json, trackio\nfrom trackio.sqlite_storage import SQLiteStorage as s\n"
        "print(json.dumps({run.name: [run.config, s.get_logs('ours', run.name)] "
        "for run in trackio.Api().runs('ours')}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_killed_run_continues_the_same_run_and_every_row_is_logged_once(tmp_path):
    folder, first, _ = start(tmp_path)
    first.follow()
    run_folder.write(folder, 0, 13)
    deadline = time.monotonic() + 600
    while not (folder.path / "trackio.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(first._process.pid, signal.SIGKILL)
    first.close()
    folder.rewind(10)
    folder, second, messages = start(tmp_path)
    second.follow()
    run_folder.write(folder, 11, STEPS)
    run_folder.finish(folder)
    second.close()
    assert not [text for text in messages if text.startswith("warning")], (folder.path / "trackio.log").read_text()
    runs = read()
    (name,) = runs.keys()  # the run alone: what it started from is no run, and stands in its config
    config, rows = runs[name]
    assert [(row["step"], row["episode"]) for row in rows] == [(step, PER_STEP * step) for step in range(STEPS + 1)]
    assert [row["objective/kl"] for row in rows] == [run_folder.row(step)["objective/kl"] for step in range(STEPS + 1)]
    assert config["algo"] == "rloo" and config["stages"]["policy"] == "sft-0c" and "rloo" in config["tags"]
    assert len(rows[0]["completions"]["_value"]) == 64


def test_the_command_that_opens_the_dashboard_puts_what_decides_first(tmp_path, monkeypatch):
    folder, trackio, messages = start(tmp_path)
    trackio.follow()
    run_folder.write(folder, 0, STEPS)
    run_folder.finish(folder)
    trackio.close()
    (command,) = [text.removeprefix("trackio: ") for text in messages if text.startswith("trackio: ")]
    order, *words = shlex.split(command)
    assert words == ["trackio", "show", "--project", "ours"]
    monkeypatch.setenv(*order.split("=", 1))
    from trackio.utils import order_metrics_by_plot_preference

    ((_, rows),) = read().values()
    names, groups = order_metrics_by_plot_preference(sorted({key for row in rows for key in row}))
    assert names[0] == "eval" and groups["eval"]["direct_metrics"][:2] == ["eval/gold_score", "eval/score"]
