"""The folder of a user who brings two tasks of their own: a plug-in package, yaml files, a data file, a local model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import forked
from tests.run.test_runs import rows

PACKAGE = Path(__file__).parent / "small_tasks"
TRAINING = [
    "plugins=[small_tasks]",
    "evaluation.every=2",
    "evaluation.prompts=16",
    "train.steps=4",
    "train.prompts_per_step=4",
    "preferences.pairs=16",
    "record.checkpoint_every=2",
    "sampling.max_new_tokens=6",
]
TINY = [
    *("model.width=32", "model.layers=1", "model.heads=2", "model.kv_heads=2", "model.mlp=48", "model.vocab=300"),
    *("model.sft.epochs=20", "model.sft.batch_tokens=512", "data.training=200"),
]
SUMS = ["data=sums", "reward=right_answer", *TRAINING, *TINY]
QUESTIONS = ["data=questions", "reward=word_count", "model=hf", "train.lr=0.01", *TRAINING]


class Lab:
    """A folder from which commands are typed."""

    def __init__(self, folder, cache):
        self.folder, self.cache = folder, cache
        shutil.copytree(PACKAGE, folder / "small_tasks", ignore=shutil.ignore_patterns("conf", "__pycache__"))
        shutil.copytree(PACKAGE / "conf", folder / "conf")
        self.write_questions("How many?")

    def write_questions(self, text):
        """The data file of the questions: 8 to train on, 16 held out."""
        lines = [
            {
                "id": f"q{i}",
                "split": "train" if i < 8 else "evaluation",
                "question": f"{text} Say {i % 5} words.",
                "words": i % 5,
            }
            for i in range(24)
        ]
        (self.folder / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")

    @property
    def environment(self):
        path = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        return {**os.environ, "PYTHONPATH": path, "ALIGN_LAB_CACHE": str(self.cache)}

    def process(self, *args):
        return subprocess.Popen(
            [sys.executable, "-m", "align_lab", *args],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *args, expected=0, typed=""):
        """(standard output, standard error) of a command that ends with the expected status and without a traceback."""
        done = forked.run(args, cwd=self.folder, env=self.environment, typed=typed)
        assert done.returncode == expected, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout, done.stderr

    def interrupt(self, *args, study, after):
        """Send SIGTERM to a run once it has logged more than `after` rows."""
        process = self.process(*args, f"study={study}")
        while process.poll() is None:
            logs = list((self.folder / "runs" / study).glob("*/metrics.jsonl"))
            if logs and logs[0].read_text().count("\n") > after:
                process.send_signal(signal.SIGTERM)
                break
            time.sleep(0.005)
        out, err = process.communicate()
        assert process.returncode == 75, out + err

    def run(self, study):
        """The folder of a study's only run."""
        (path,) = [path for path in (self.folder / "runs" / study).iterdir() if path.is_dir()]
        return path

    def rows(self, study):
        return rows(self.run(study))

    def samples(self, study):
        return [json.loads(line) for line in (self.run(study) / "samples.jsonl").read_text().splitlines()]

    def manifest(self, study):
        return json.loads((self.run(study) / "manifest.json").read_text())


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache_of_own_tasks")


@pytest.fixture(scope="session")
def lab(tmp_path_factory, own_cache):
    """One folder for all tests that change nothing in it."""
    return Lab(tmp_path_factory.mktemp("own_tasks"), own_cache)


@pytest.fixture
def own_lab(tmp_path, own_cache):
    """A folder that a test may change."""
    return Lab(tmp_path, own_cache)
