"""Runs on Weights & Biases: the real SDK against a local server that works, is slow, rejects, hangs or is dead."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

pytest.importorskip("wandb", reason="pip install 'align_lab[wandb]'")

from align_lab.boards.feed import POLL_SECONDS
from align_lab.boards.sinks import NoSink, sink
from tests.boards import run_folder
from tests.boards.run_folder import KEY, PER_STEP, STEPS
from tests.boards.wandb_server import WandbServer, free_port

pytestmark = pytest.mark.nightly

COUNTS = [(step, PER_STEP * step) for step in range(STEPS + 1)]


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    """Without the keys, logins, settings and caches of the person who runs the tests. Rows are sent at once."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB__FILE_STREAM_TRANSMIT_INTERVAL", "1")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server(monkeypatch):
    server = WandbServer()
    with server.serving() as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield server


class Run:
    """A run in this process, which writes its rows while its sink logs them."""

    def __init__(self, root, *overrides):
        self.folder, record = run_folder.new(root, "wandb", *overrides)
        self.messages = []
        self.sink = sink(record, self.folder.path, self.messages.append)

    def go(self, first=0, last=STEPS, done=True):
        self.sink.follow()
        run_folder.write(self.folder, first, last)
        if done:
            run_folder.finish(self.folder)
            self.close()
        return self

    def close(self):
        self.sink.close()

    @property
    def warnings(self):
        return [text for text in self.messages if text.startswith("warning")]

    @property
    def stored(self):
        return json.loads((self.folder.path / "wandb.json").read_text())

    def kill(self):
        """As when a node dies: no process of the run can send anything more."""
        os.killpg(self.sink._process.pid, signal.SIGKILL)
        self.sink.close()

    def push(self):
        return subprocess.run(
            [sys.executable, "-m", "align_lab", "wandb", "push", "boards"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=600,
        )


def counts(server, name):
    """(step, episode) of each row, as the server has them."""
    return [(row["step"], row["episode"]) for row in server.rows(name)]


def only(server):
    (name,) = server.of_type("train")
    return name


def until(condition, seconds=600):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.02)


def test_a_run_is_logged_with_its_group_its_config_its_tables_and_its_stages(server, tmp_path):
    run = Run(tmp_path, "arm=leave_one_out", "seed=3").go()
    assert (
        run.warnings == [] and run.stored["arrived"] == STEPS + 1 and run.stored["sent"]["episode"] == STEPS * PER_STEP
    )
    name = only(server)
    on_server, config = server.runs[name], server.config(name)
    assert (
        on_server["groupName"] == "boards/leave_one_out" and on_server["jobType"] == "train" and on_server["exit"] == 0
    )
    assert {"boards", "rloo", "leave_one_out", "tiny"} <= set(on_server["tags"])
    assert (config["algo"], config["model"], config["seed"], config["arm"]) == ("rloo", "tiny", 3, "leave_one_out")
    assert config["run"]["algo"]["kl_coef"] == 0.05 and "placement" not in config["run"]["hardware"]
    assert [{key: logged[key] for key in run_folder.row(i)} for i, logged in enumerate(server.rows(name))] == [
        run_folder.row(step) for step in range(STEPS + 1)
    ]
    metrics = json.loads(on_server["config"])["_wandb"]["value"]["m"]
    assert any(
        metric.get("2") == "*" and metric.get("5") for metric in metrics
    )  # the x axis of every metric: the first, `episode`
    assert metrics[0]["1"] == "episode"
    summary = server.summary(name)
    assert summary["final/step"] == STEPS and summary["final/eval/score"] == pytest.approx(2.0)
    assert summary["best/step"] == 4 and summary["best/eval/gold_score"] == pytest.approx(0.26)
    tables = [json.loads(body) for path, body in server.uploads.items() if ".table.json" in path]
    assert len(tables) == STEPS // 2 + 1 and {len(table["data"]) for table in tables} == {64}
    stages = server.of_type("stage")
    assert set(stages) == set(config["stages"].values()) == set(run_folder.ARTEFACTS.values())
    assert server.config("sft-0c")["inputs"] == ["data-0b"] and server.summary("gold-0d")["accuracy"] == 0.75


def test_a_killed_run_continues_the_same_run_and_every_row_arrives_once(server, tmp_path):
    """Rows after the checkpoint are repeated: those that arrived are not sent again, those that were lost are."""
    first = Run(tmp_path).go(last=13, done=False)
    until(lambda: server.of_type("train") and len(server.rows(only(server))) >= 8)
    first.kill()
    arrived = len(server.rows(only(server)))
    first.folder.rewind(10)
    second = Run(tmp_path).go(first=11)
    assert counts(server, only(server)) == COUNTS
    assert second.warnings == [] and f"has {arrived} rows" in second.messages[0]
    assert server.runs[only(server)]["exit"] == 0 and len(server.of_type("stage")) == 4


def test_a_stopped_run_is_continued_by_the_same_command(server, tmp_path):
    run = Run(tmp_path).go(last=6, done=False)
    run.folder.set_status("stopped", step=6)
    run.close()
    assert counts(server, only(server)) == COUNTS[:7] and server.runs[only(server)]["exit"] == 1
    Run(tmp_path).go(first=7)
    assert counts(server, only(server)) == COUNTS


def test_signals_that_a_cluster_sends_to_every_process_do_not_end_the_upload(server, tmp_path):
    run = Run(tmp_path).go(last=6, done=False)
    until(lambda: server.of_type("train") and counts(server, only(server)) == COUNTS[:7])
    uploader = run.sink._process.pid
    children = Path(f"/proc/{uploader}/task/{uploader}/children").read_text().split()
    assert children
    for pid in (uploader, *map(int, children)):
        os.kill(pid, signal.SIGUSR2)
    os.kill(uploader, signal.SIGTERM)
    run_folder.write(run.folder, 7, STEPS)
    run_folder.finish(run.folder)
    run.close()
    assert counts(server, only(server)) == COUNTS and run.warnings == []


def test_a_server_that_answers_429_and_500_gets_every_row_once(server, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB__FILE_STREAM_RETRY_WAIT_MIN_SECONDS", "1")
    Run(tmp_path).go(last=2, done=False).close()
    server.fail = [429, 500]
    run = Run(tmp_path).go(first=3)
    assert counts(server, only(server)) == COUNTS and run.warnings == [] and not server.fail


def test_a_server_that_hangs_costs_a_bounded_wait_and_one_warning_and_push_sends_all(server, tmp_path):
    server.hang.set()
    run = Run(tmp_path, "record.finish_seconds=2").go(done=False)
    until(server.asked.is_set)  # on a busy machine the process that uploads starts later than the run ends
    run_folder.finish(run.folder)
    run.close()
    assert len(run.warnings) == 1
    assert "not accepted within 2 s" in run.warnings[0] and "align_lab wandb push boards" in run.warnings[0]
    server.hang.clear()
    done = run.push()
    assert done.returncode == 0, done.stderr
    assert f"{STEPS + 1} rows sent, 0 were there" in done.stdout and counts(server, only(server)) == COUNTS
    again = run.push()
    assert again.returncode == 0 and f"0 rows sent, {STEPS + 1} were there" in again.stdout
    assert counts(server, only(server)) == COUNTS and len(server.of_type("stage")) == 4


def test_a_server_that_dies_costs_one_warning_and_push_sends_the_rest(tmp_path, monkeypatch):
    server, port = WandbServer(), free_port()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with server.serving(port):
        run = Run(tmp_path, "record.finish_seconds=2").go(last=9, done=False)
        until(lambda: server.of_type("train") and counts(server, only(server)) == COUNTS[:10])
    run_folder.write(run.folder, 10, STEPS)
    run_folder.finish(run.folder)
    run.close()
    assert len(run.warnings) == 1 and run.stored["arrived"] == 0
    with server.serving(port):
        done = run.push()
        assert done.returncode == 0, done.stderr
        assert f"{STEPS - 9} rows sent, 10 were there" in done.stdout
    assert counts(server, only(server)) == COUNTS


def test_a_rejected_key_costs_one_warning(server, tmp_path):
    server.reject = True
    run = Run(tmp_path).go()
    assert len(run.warnings) == 1 and KEY not in run.warnings[0] and "The run continues" in run.warnings[0]
    done = run.push()
    assert done.returncode == 1
    assert "the same command uploads the rest" in done.stderr and "Traceback" not in done.stderr


def test_with_a_key_that_may_only_write_a_run_continues_from_the_servers_count(server, tmp_path):
    server.on_run_history_keys = server.on_history_page = server.on_run = None
    Run(tmp_path).go(last=6, done=False).close()
    second = Run(tmp_path).go(first=7)
    assert counts(server, only(server)) == COUNTS and second.warnings == []
    done = second.push()
    assert done.returncode == 1 and "Traceback" not in done.stderr


def test_an_uploading_process_that_is_killed_costs_one_warning(server, tmp_path):
    run = Run(tmp_path).go(last=6, done=False)
    os.kill(run.sink._process.pid, signal.SIGKILL)
    run_folder.write(run.folder, 7, STEPS)
    run.close()
    assert len(run.warnings) == 1 and "see" in run.warnings[0] and len(run.folder.metrics()) == STEPS + 1


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_full_disk_costs_one_warning(server, tmp_path, monkeypatch, mode):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        monkeypatch.setenv("WANDB_DIR", str(disk))
        run = Run(tmp_path, "record.finish_seconds=5", f"record.mode={mode}", "record.table_rows=0").go()
        assert len(run.warnings) <= 1 and len(run.folder.metrics()) == STEPS + 1
        assert run.warnings or (mode == "online" and counts(server, only(server)) == COUNTS)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_folder_that_cannot_be_written_costs_one_warning(server, tmp_path):
    run = Run(tmp_path)
    (run.folder.path / "wandb.log").mkdir()
    run.go()
    assert (
        len(run.warnings) == 1
        and "uploading cannot start" in run.warnings[0]
        and len(run.folder.metrics()) == STEPS + 1
    )


def test_without_a_key_every_row_is_stored_offline_also_after_a_kill(tmp_path):
    first = Run(tmp_path).go(last=13, done=False)
    until(lambda: "sent" in first.stored if (first.folder.path / "wandb.json").exists() else False)
    first.kill()
    first.folder.rewind(10)
    second = Run(tmp_path).go(first=11)
    assert second.warnings == [] and "offline in" in second.messages[0]
    (offline_run,) = (second.folder.path / "wandb").glob(f"offline-run-*-{second.stored['id']}")
    server = WandbServer()
    with server.serving() as address:
        sync = [sys.executable, "-m", "wandb", "sync", str(offline_run)]
        subprocess.run(
            sync, env={**os.environ, "WANDB_BASE_URL": address, "WANDB_API_KEY": KEY}, check=True, timeout=600
        )
    assert counts(server, only(server)) == COUNTS and server.runs[only(server)]["groupName"] == "boards/rloo"
    (second.folder.path / "wandb.json").unlink()
    third = Run(tmp_path).go(first=STEPS + 1)
    assert (
        len(third.warnings) == 1 and "which cannot add to it" in third.warnings[0] and "wandb push" in third.warnings[0]
    )


def test_wandb_leet_opens_an_offline_run(tmp_path, monkeypatch):
    """W&B's dashboard for terminals draws the metrics of the run over `episode` on a pseudo terminal."""
    run = Run(tmp_path, "record.mode=offline").go()
    monkeypatch.setenv("TERM", "xterm-256color")
    (offline_run,) = (run.folder.path / "wandb").glob(f"offline-run-*-{run.stored['id']}")
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "wandb", "leet", str(offline_run)])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    screen, deadline = b"", time.monotonic() + 600
    try:
        while b"[x: episode]" not in screen and time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                new = os.read(terminal, 1 << 16)
                screen += new
                os.write(terminal, b"\x1b[1;1R" if b"\x1b[6n" in new else b"")
    finally:
        os.killpg(child, signal.SIGKILL)  # wandb starts a program of its own
        os.waitpid(child, 0)
        os.close(terminal)
    assert b"[x: episode]" in screen and b"Run Overview" in screen and b"rloo" in screen


def test_an_offline_run_is_pushed_from_its_folder(tmp_path, monkeypatch):
    run = Run(tmp_path, "record.mode=offline").go()
    without_key = run.push()
    assert without_key.returncode == 2 and "wandb login" in without_key.stderr
    server = WandbServer()
    with server.serving() as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        assert run.push().returncode == 0 and counts(server, only(server)) == COUNTS
        assert set(server.of_type("stage")) == set(run_folder.ARTEFACTS.values())
        del server.runs["sft-0c"]
        files = server.runs[only(server)]["files"]
        files["wandb-history.jsonl"] = files["wandb-history.jsonl"][:-3]  # as if they had been lost
        assert run.push().returncode == 0 and counts(server, only(server)) == COUNTS
        assert "sft-0c" in server.runs
        files["wandb-history.jsonl"] += files["wandb-history.jsonl"][4:5]  # a duplicate
        duplicated = run.push()
        assert (
            duplicated.returncode == 1
            and "0 of 21 rows are missing there, 1 are there that should not" in duplicated.stdout
        )


def test_a_finished_run_is_uploaded_by_the_same_command_once(server, tmp_path):
    run = Run(tmp_path)
    run_folder.write(run.folder, 0, STEPS)
    run_folder.finish(run.folder)
    run.sink.follow()
    run.close()
    assert counts(server, only(server)) == COUNTS
    requests = len(server.requests)
    again = Run(tmp_path)
    again.sink.follow()
    again.close()
    assert len(server.requests) == requests and again.messages == []


def test_the_wandb_process_of_another_program_is_not_used(server, tmp_path, monkeypatch):
    """A notebook or an agent that starts a study leaves it in the environment, also of jobs on other nodes."""
    monkeypatch.setenv("WANDB_SERVICE", f"3-1-unix-{tmp_path}/socket")
    run = Run(tmp_path).go()
    assert run.warnings == [] and counts(server, only(server)) == COUNTS


def test_disabled_starts_nothing(tmp_path, monkeypatch):
    assert isinstance(Run(tmp_path, "record.mode=disabled").sink, NoSink)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert isinstance(Run(tmp_path).sink, NoSink)
    assert POLL_SECONDS < 1
