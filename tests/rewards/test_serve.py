"""The command `serve` as a process: what it prints, who may reach it, how it stops, and a run that it scores."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import httpx2
import pytest

from align_lab.rewards.score_messages import PATH
from tests import forked
from tests.models.test_hf import folder

SLOW = """
import pathlib, time
def reward(prompts, completions, **columns):
    pathlib.Path("started").touch()
    time.sleep(1.0)
    return [float(len(text)) for text in completions]
"""


class Served:
    """A running `serve`."""

    def __init__(self, place, *words, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "align_lab", "serve", "port=0", *words],
            cwd=place,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if result := re.search(r"at (http://\S+)$", line):
                self.url = result[1]
                return
        raise AssertionError(self.process.communicate())

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=600)
        return self.process.returncode, "".join(self.lines) + out, err


@contextlib.contextmanager
def served(place, *words, **environment):
    running = Served(place, *words, **environment)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def ask(url, completions, **headers):
    examples = [{"key": str(i), "prompt": "The film"} for i in range(len(completions))]
    body = {"version": 1, "examples": examples, "completions": completions}
    return httpx2.post(url + PATH, json=body, headers=headers, timeout=600)


def refused(place, *words, **environment):
    done = forked.run(["serve", *words], cwd=place, env={**os.environ, **environment})
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["reward=vader", "host=0.0.0.0"], "can be reached from other machines, so a token is needed"),
        (["reward=vader", "token_env=NO_SUCH_TOKEN"], "NO_SUCH_TOKEN is not set: type export NO_SUCH_TOKEN="),
        (["reward=vader", "port=http"], "port=http must be a whole number from 0, for example port=8000"),
        (["reward=vader", "port=70000"], "cannot be listened on"),
        (["reward=vadr"], "did you mean 'vader'?"),
    ],
)
def test_a_wrong_command_is_refused(tmp_path, words, expected):
    assert expected in refused(tmp_path, *words)


def test_a_port_in_use_is_refused(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port={port} cannot be listened on" in refused(tmp_path, "reward=vader", f"port={port}")


def test_it_answers_what_is_in_progress_before_it_stops(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    with served(tmp_path, "reward=python", "reward.file=slow.py", "token_env=SCORES", SCORES="secret") as server:
        assert ask(server.url, ["abc"]).status_code == 401
        answers = []
        token = {"Authorization": "Bearer secret"}
        asking = threading.Thread(target=lambda: answers.append(ask(server.url, ["abc"], **token)))
        asking.start()
        while not (tmp_path / "started").exists():
            assert server.process.poll() is None
        status, out, err = server.stop()
        asking.join()
    assert (status, err) == (0, "") and out.endswith("stopped\n")
    assert answers[0].json()["outcomes"][0]["score"] == 3.0
    assert "secret" not in out and "abc" not in out


LENGTH = """
def reward(prompts, completions, **columns):
    return [len(set(text)) / 7 for text in completions]
"""
RUN = [
    *("algo=rloo", "model=hf", "model.path=llama", "model.chat=false", "train.steps=1", "evaluation.prompts=8"),
    *("train.prompts_per_step=2", "train.group_size=2", "sampling.max_new_tokens=8", "sampling.missing_eos_penalty=0"),
    *("~evaluation.judges.gold_score", "evaluation.metric=eval/score", "study=served", "reward=remote"),
    "evaluation.judges.here={name: python, file: length.py}",
]


@pytest.mark.slow
def test_a_run_is_scored_by_a_served_reward(tmp_path, shared_cache):
    """The served reward is also a judge of the run, in a process of its own: both give the same numbers."""
    pytest.importorskip("transformers")
    folder(tmp_path / "llama", "llama", template=None)
    (tmp_path / "length.py").write_text(LENGTH)
    environment = {"ALIGN_LAB_CACHE": str(shared_cache)}
    with served(tmp_path, "reward=python", "reward.file=length.py", **environment) as server:
        about = httpx2.get(f"{server.url}/health").json()
        assert about == {"status": "ok", "version": 1, "reward": "python", "parts": [], "waiting": 0}
        done = forked.run([*RUN, f"reward.url={server.url}"], cwd=tmp_path, env={**os.environ, **environment})
        assert done.returncode == 0, done.stderr
        assert server.stop(signal.SIGINT)[0] == 0
    (samples,) = (tmp_path / "runs" / "served").glob("*/samples.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    assert len(rows) == 16 and all(row["score"] == row["here"] for row in rows)
    assert len({row["score"] for row in rows}) > 1
