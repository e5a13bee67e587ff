"""Temporary folders: each process has its own, and those of killed processes do not stay."""

import os
import signal
import subprocess
import sys

from align_lab.base.scratch import scratch

WAITS = "from align_lab.base.scratch import scratch\nwith scratch() as folder: print(folder, flush=True); input()"


def waiting(folder):
    """A process that has a temporary folder, and the folder."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().strip()


def test_the_folder_of_a_killed_process_goes_with_the_next_one_and_that_of_a_live_one_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    alive, stays = waiting(tmp_path)
    killed, goes = waiting(tmp_path)
    with open(os.path.join(goes, "note"), "w"):
        killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert os.path.isdir(goes)
    with scratch() as own:
        assert sorted(tmp_path.iterdir()) == sorted([own, tmp_path / os.path.basename(stays)])
    alive.communicate("\n")
    assert not list(tmp_path.iterdir())
