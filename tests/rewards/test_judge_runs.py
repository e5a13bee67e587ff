"""Runs whose reward or judge is an endpoint that dies: they stop, saved, and the same command continues."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from align_lab.base.run_config import signature
from align_lab.config.composition import compose
from tests import forked
from tests.models.test_hf import folder
from tests.rewards.judge_server import KEY

pytest.importorskip("transformers")
ROOT = Path(__file__).parents[2]


def free_port():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        return free.getsockname()[1]


class Place:
    """A folder with a small model, from which runs are started; the server of each test is a process."""

    def __init__(self, path):
        self.path = path
        folder(path / "llama", "llama", template=None)
        self.port = free_port()

    def environment(self, **extra):
        return {**os.environ, "ALIGN_LAB_CACHE": str(self.path / "cache"), "MY_KEY": KEY, **extra}

    @contextlib.contextmanager
    def server(self, *, dies_after=0, word=""):
        command = [sys.executable, "-m", "tests.rewards.judge_server", str(self.port), str(dies_after), word]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def words(self, study, *overrides):
        return [f"study={study}", "algo=rloo", *RUN, *self.judges(), *overrides]

    def judges(self):
        """The reward and, with another question, a judge are the endpoint."""
        address, quick = f"http://127.0.0.1:{self.port}/v1", "{retries: 1, longest_wait: 0.01, concurrency: 4}"
        judge = f"name: judge, url: '{address}', model: small, key_env: MY_KEY, rubric: Other, connection: {quick}"
        fields = [f"reward.url={address}", "reward.model=small", "reward.key_env=MY_KEY", "reward.input_price=10"]
        return ["reward=judge", *fields, f"reward.connection={quick}", f"evaluation.judges={{opinion: {{{judge}}}}}"]

    def run(self, study, *overrides, **extra):
        return forked.run(self.words(study, *overrides), cwd=self.path, env=self.environment(**extra))

    def of(self, study):
        (run,) = [path for path in (self.path / "runs" / study).iterdir() if path.is_dir()]
        return run

    def rows(self, study):
        lines = (self.of(study) / "metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in lines]

    def manifest(self, study):
        return json.loads((self.of(study) / "manifest.json").read_text())


RUN = [
    *("model=hf", "model.path=llama", "model.chat=false", "train.lr=0.01"),
    *(
        "evaluation.prompts=8",
        "evaluation.development=0",
        "evaluation.every=1",
        "train.steps=2",
        "train.prompts_per_step=2",
        "train.group_size=2",
    ),
    *(
        "sampling.max_new_tokens=8",
        "record.checkpoint_every=5",
        "~evaluation.judges.gold_score",
        "evaluation.metric=eval/opinion",
    ),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("judged"))
    from align_lab.base.paths import cache_folder

    if (downloads := cache_folder() / "downloads").is_dir():
        (made.path / "cache").mkdir()
        (made.path / "cache" / "downloads").symlink_to(downloads)
    return made


@pytest.fixture(scope="module")
def whole(place):
    with place.server():
        done = place.run("whole")
    assert done.returncode == 0, done.stdout + done.stderr
    return place.rows("whole")


def test_the_price_of_a_run_is_in_its_rows_and_its_manifest(place, whole):
    assert [row.get("reward/judge_tokens") for row in whole] == [None, 110.0, 110.0]
    assert whole[1]["reward/judge_cost"] == pytest.approx(100 * 10 / 1e6)
    assert place.manifest("whole")["spent"]["scoring"] == pytest.approx(
        {
            "reward.judge_tokens": 110.0 * (3 * 8 + 2 * 4),
            "reward.judge_cost": 100 * 10 / 1e6 * (3 * 8 + 2 * 4),
            "evaluation.judges.opinion.judge_tokens": 110.0 * 3 * 8,
            "evaluation.judges.opinion.judge_cost": 0.0,
        }
    )


def test_the_price_of_preference_pairs_that_it_labels_is_charged_once_to_the_pairs_that_are_used(place):
    """4 pairs of the best and the worst of 2 samples: 2 steps of 2 pairs use all of them, a third step the first."""
    pairs = ["algo=dpo", "preferences.pairs=4", "preferences.samples=2", "train.steps=3"]
    with place.server():
        done = place.run("pairs", *pairs)
    assert done.returncode == 0, done.stdout + done.stderr
    spent, evaluated = place.manifest("pairs")["spent"], 4 * 8
    assert spent["labels"] > 8 and spent["labels"] % 2 == 0  # prompts with equal scores give no pair, and cost as much
    assert spent["scoring"]["reward.judge_tokens"] == pytest.approx(110.0 * (evaluated + spent["labels"]))
    assert spent["scoring"]["reward.judge_cost"] == pytest.approx(100 * 10 / 1e6 * (evaluated + spent["labels"]))


@pytest.mark.slow
def test_an_endpoint_that_dies_stops_the_run_saved_and_the_same_command_continues(place, whole, tmp_path):
    """First while it is the reward of a step, then while it is the judge of an evaluation."""
    cache = str(tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "downloads").symlink_to(place.path / "cache" / "downloads")
    judged = {"dies_after": 1, "word": "Other"}  # the rubric of the judge
    for death, field in (({"dies_after": 18}, "reward"), (judged, "evaluation.judges.opinion")):
        with place.server(**death):
            stopped = place.run("dies", ALIGN_LAB_CACHE=cache)
        assert stopped.returncode == 1 and "Traceback" not in stopped.stderr, stopped.stderr
        assert f"{field}.max_failed" in stopped.stderr and "did not answer" in stopped.stderr
        logged = place.rows("dies")
        assert len(logged) < len(whole) and logged == whole[: len(logged)]
    with place.server():
        done = place.run("dies", ALIGN_LAB_CACHE=cache)
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.rows("dies") == whole
    spent = [place.manifest(study)["spent"]["scoring"] for study in ("whole", "dies")]
    assert spent[0] == pytest.approx(spent[1])


def test_no_file_of_the_run_holds_the_key(place, whole):
    for file in [*place.of("whole").rglob("*"), *(place.path / "cache" / "judge").rglob("*")]:
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


def test_how_a_service_is_reached_does_not_name_the_run(place, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    overrides = ["algo=rloo", "evaluation.metric=eval/opinion", *place.judges()]
    other = ["reward.connection.timeout=5", "reward.key_env=null", "evaluation.judges.opinion.connection.retries=9"]
    first, reached, asked = (
        signature(compose([*overrides, *more]).values) for more in ([], other, ["reward.temperature=0.5"])
    )
    assert first == reached != asked


def test_a_run_without_the_key_is_refused_before_anything_starts(place):
    environment = place.environment()
    environment.pop("MY_KEY")
    done = forked.run(place.words("refused"), cwd=place.path, env=environment)
    assert done.returncode == 2 and "the environment variable MY_KEY is not set" in done.stderr, done.stderr
    assert "evaluation.judges.opinion" in done.stderr and not (place.path / "runs" / "refused").exists()
