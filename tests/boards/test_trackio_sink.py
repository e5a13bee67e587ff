"""The same sink, another board: Trackio, whose database lies on this machine."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("trackio", reason="pip install 'align_lab[trackio]'")

from align_lab.boards.sinks import sink
from tests.boards import board_folder as made
from tests.boards.board_folder import PER_STEP, STEPS


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.chdir(tmp_path)


def start(root):
    folder, record = made.new(root, "record=trackio", "record.project=ours")
    said = []
    return folder, sink(record, folder.path, said.append), said


def read():
    """{run: rows} as trackio itself reads them, in a process that has not imported it yet."""
    code = (
        "import json, trackio\nfrom trackio.sqlite_storage import SQLiteStorage as s\n"
        "print(json.dumps({run.name: [run.config, s.get_logs('ours', run.name)] for run in trackio.Api().runs('ours')}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_killed_run_goes_on_in_the_same_place_and_every_row_is_there_once(tmp_path):
    folder, first, _ = start(tmp_path)
    first.follow()
    made.write(folder, 0, 13)
    deadline = time.monotonic() + 30
    while not (folder.path / "trackio.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    os.killpg(first._process.pid, signal.SIGKILL)
    first.close()
    folder.rewind(10)
    folder, second, said = start(tmp_path)
    second.follow()
    made.write(folder, 11, STEPS)
    made.finish(folder)
    second.close()
    assert not [text for text in said if text.startswith("warning")], (folder.path / "trackio.log").read_text()
    shown = read()
    (name,) = shown.keys() - set(made.ARTEFACTS.values())
    config, rows = shown[name]
    assert [(row["step"], row["episode"]) for row in rows] == [(step, PER_STEP * step) for step in range(STEPS + 1)]
    assert [row["objective/kl"] for row in rows] == [made.row(step)["objective/kl"] for step in range(STEPS + 1)]
    assert config["algo"] == "rloo" and config["stages"]["policy"] == "sft-0c" and "rloo" in config["tags"]
    assert len(rows[0]["completions"]["_value"]) == 64
    assert shown.keys() >= set(made.ARTEFACTS.values())
