"""`logs`: the newest log of a run, and what is added to it until its job has ended."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from align_lab.__main__ import main
from align_lab.base.errors import ConfigError
from align_lab.cli import logs
from align_lab.dispatch.ledger import Ledger
from tests.dispatch.test_states import NAME, submission

PROCESS = "import sys, time\nwhile True: time.sleep(0.05)\n# submitit"


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    ledger = Ledger.of(tmp_path / "runs" / "mine")
    ledger.logs.mkdir(parents=True)
    return ledger


def put(ledger, text, **changes):
    one = submission(**changes)
    ledger._write(one)
    ledger.log(one.job_id).write_text(text)
    return one


def test_the_newest_log_is_printed_and_neither_moves_the_cursor_nor_shows_an_older_one(ledger, capsys):
    first = put(ledger, "old\n")
    put(ledger, "one\ntwo \x1b[2Jthree\n", token="u", job_id="8", written=first.written + 1)
    for given in (NAME, f"mine/{NAME}"):
        assert logs.logs([given]) == 0
        assert capsys.readouterr().out == "one\ntwo \ufffd[2Jthree\n"
    logs.logs([NAME, "-n", "1"])
    assert capsys.readouterr().out == "two \ufffd[2Jthree\n"


def test_following_prints_what_is_added_and_ends_with_the_job(ledger, capsys, monkeypatch):
    """A process of this machine stands for the job: its end is what `states` sees."""
    monkeypatch.setattr(logs, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(logs, "STATE_SECONDS", 0.0)
    process = subprocess.Popen([sys.executable, "-c", PROCESS, "submitit"])
    try:
        one = put(ledger, "first\nhalf", executor="local", job_id=str(process.pid))
        run = Path("runs/mine") / NAME
        run.mkdir()
        seen = threading.Event()
        printed = logs._print

        def note(content):
            printed(content)
            if b"half" in content:
                seen.set()

        monkeypatch.setattr(logs, "_print", note)

        def add():
            with ledger.log(one.job_id).open("a") as log:
                log.write(" and whole\n")
                log.flush()
                assert seen.wait(300)
                (run / "status.json").write_text(json.dumps({"state": "done", "heartbeat": one.written + 1}))
                log.write("last\n")
            process.kill()
            process.wait()

        writer = threading.Thread(target=add)
        writer.start()
        assert logs.follow(ledger.folder.parent, NAME, lines=None, stopped=lambda: False) == 0
        writer.join()
    finally:
        process.kill()
    assert capsys.readouterr().out == "first\nhalf and whole\nlast\n"


def test_a_job_that_fails_gives_its_reason_and_a_status(ledger, capsys):
    put(ledger, "RuntimeError: no\n", executor="local", job_id="0")
    (Path("runs/mine") / NAME).mkdir()
    (Path("runs/mine") / NAME / "status.json").write_text(
        json.dumps({"state": "failed", "error": "no", "heartbeat": 1e12})
    )
    assert logs.logs([NAME, "-f"]) == 1
    said = capsys.readouterr()
    assert said.out == "RuntimeError: no\n" and f"{NAME}: failed: no" in said.err


def test_a_study_is_not_a_run_and_an_empty_one_says_how_to_begin(ledger, capsys):
    with pytest.raises(ConfigError, match="no study under .* has jobs. Type align_lab studies"):
        logs.logs(["nothing"])
    with pytest.raises(ConfigError, match="mine is a study, .* none has a job \\(align_lab status mine\\)"):
        logs.logs(["mine"])
    put(ledger, "")
    with pytest.raises(ConfigError, match=f"mine is a study, .* or looks: {NAME}"):
        logs.logs(["mine"])
    Path("runs/empty").mkdir()
    assert main(["status", "empty"]) == 0
    assert "It holds no runs. Start one: align_lab study=empty algo=rloo" in capsys.readouterr().out


def test_what_has_no_log_says_where_to_look(ledger):
    put(ledger, "")
    with pytest.raises(ConfigError, match=f"did you mean.*mine/{NAME}"):
        logs.logs([f"mine/{NAME[:-1]}"])
    run = Path("runs/mine/here-s1-ffff")
    run.mkdir()
    for file, text in {"config.yaml": "", "status.json": '{"state": "done"}', "metrics.jsonl": ""}.items():
        (run / file).write_text(text)
    for given in (run.name, f"mine/{run.name}", str(run)):
        with pytest.raises(ConfigError) as caught:
            logs.logs([given])
        said = str(caught.value)
        assert "it ran in the terminal of its command, and what it printed went there. It is done." in said
        assert "Type align_lab status mine, or read its metrics: " in said and "error.log" not in said
        assert str(run / "metrics.jsonl") in said and "samples.jsonl" not in said
    other = Ledger.of(Path("runs/other"))
    other.logs.mkdir(parents=True)
    other._write(replace(submission(), study="other"))
    with pytest.raises(ConfigError, match=f"is in mine, other: type STUDY/{NAME}"):
        logs.logs([NAME])
    ledger.log("7").unlink()
    with pytest.raises(ConfigError, match="has printed nothing yet"):
        logs.logs([f"mine/{NAME}"])
    assert os.environ["PATH"] == ""
