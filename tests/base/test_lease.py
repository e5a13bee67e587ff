"""Whom a lease belongs to, and whether the owner lives: also where the file was planted, torn, or has another clock."""

import json
import os
import subprocess
import sys
import time

import pytest

from align_lab.base import lease as leases
from align_lab.base.lease import lease, live, local_process, owner, stale

HERE = {"host": "here", "where": leases.where()}
ELSEWHERE = {"host": "there", "where": "there pid:[1]"}


def plant(path, content, *, seconds_ago=0.0):
    """A lease with this content, whose last heartbeat is so long ago."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    beat = time.time() - seconds_ago
    os.utime(path, (beat, beat))
    return path


@pytest.fixture
def process():
    """A live process, and its start time."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid, leases._began(process.pid)
        process.kill()


@pytest.mark.parametrize("pid", [-1, 0, 1, True, None, "7", 1.5, [1], 10**30])
def test_a_planted_number_is_nobody_who_could_be_signaled(tmp_path, pid):
    path = plant(tmp_path / "x.lease", {**HERE, "pid": pid, "began": "1"})
    assert local_process(path) is None


def test_the_process_that_holds_the_lease_is_as_old_as_it_says(tmp_path, process):
    pid, began = process
    card = {**HERE, "pid": pid, "began": began}
    assert local_process(plant(tmp_path / "own", card)) == pid and live(tmp_path / "own")
    reused = plant(tmp_path / "reused", card | {"began": str(int(began) - 1)})
    assert local_process(reused) is None and stale(reused)
    assert local_process(plant(tmp_path / "without", card | {"began": None})) is None
    assert local_process(plant(tmp_path / "there", card | ELSEWHERE)) is None


DEEP = pytest.param("[" * 100_000, id="deep")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pid": -1}', '{"pid": 7, "host": "x"}', "\x00\x00", DEEP])
def test_an_empty_or_torn_lease_is_judged_by_its_heartbeat(tmp_path, content):
    assert not stale(plant(tmp_path / "young", content)) and owner(tmp_path / "young") == "owner unknown"
    old = plant(tmp_path / "old", content, seconds_ago=leases.STALE_SECONDS + 5)
    assert stale(old)
    with lease(old, on_wait=pytest.fail) as mine:
        assert mine and local_process(old) == os.getpid()
    assert not old.exists()


def test_a_live_process_of_another_user_is_alive(tmp_path, process, monkeypatch):
    pid, began = process

    def forbidden(pid, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    path = plant(tmp_path / "x", {**HERE, "pid": pid, "began": began}, seconds_ago=1000)
    assert live(path)
    monkeypatch.setattr(leases, "_began", lambda pid: None)  # /proc hides the processes of others
    assert stale(path)
    assert not stale(plant(path, path.read_text()))


def test_a_process_that_has_ended_holds_nothing(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert stale(plant(tmp_path / "x", {**HERE, "pid": ended.pid, "began": None}))


@pytest.mark.parametrize("ahead", [-120.0, 120.0])
def test_clocks_of_two_machines_may_differ(tmp_path, monkeypatch, ahead):
    """Heartbeats are compared with the clock of the file system, not with that of this machine."""
    young = plant(tmp_path / "young", {**ELSEWHERE, "pid": 7, "began": "1"}, seconds_ago=5)
    old = plant(tmp_path / "old", {**ELSEWHERE, "pid": 7, "began": "1"}, seconds_ago=leases.STALE_SECONDS + 5)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + ahead)
    assert not stale(young) and stale(old)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "young"]


def test_a_lease_is_whole_when_it_is_there(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(os, "fsync", lambda file: written.append(list(tmp_path.glob("x"))))
    with lease(tmp_path / "x", on_wait=pytest.fail):
        assert written == [[]]  # flushed to the disk before it had its name


def test_what_killed_processes_have_left_beside_a_lease_goes_with_the_next_one(tmp_path, process):
    """Cards that never became the lease, and probes of the file system's clock; what live processes write stays."""
    pid, began = process
    alive, long_ago = {**HERE, "pid": pid, "began": began}, {"seconds_ago": leases.STALE_SECONDS + 5}
    plant(tmp_path / ".x.lease.0000000a", {**HERE, "pid": pid, "began": "1"})
    plant(tmp_path / "..x.lease.0000000b", "", **long_ago)
    stay = [plant(tmp_path / ".x.lease.0000000c", alive), plant(tmp_path / "..x.lease.0000000d", "")]
    stay += [plant(tmp_path / ".xy.lease.0000000a", "", **long_ago), plant(tmp_path / ".x.lease.old", "", **long_ago)]
    with lease(tmp_path / ".x.lease", on_wait=pytest.fail) as mine:
        assert mine
    assert sorted(tmp_path.iterdir()) == sorted(stay)
