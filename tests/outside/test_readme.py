"""The task of docs/your_task.md, the algorithm of README and what docs/extending.md adds, as they are printed there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests import forked
from tests.outside.conftest import TINY, TRAINING
from tests.run.test_runs import SMALL as OF_REVIEWS

CHECKOUT = Path(__file__).parents[2]
TASK, README = CHECKOUT / "docs" / "your_task.md", CHECKOUT / "README.md"
EXTENDING = CHECKOUT / "docs" / "extending.md"
FILE = re.compile(r"```(?:python|yaml)\n((?:# @package _global_\n)?# (?P<name>[\w/]+\.(?:py|yaml))\n.*?)```", re.DOTALL)
SMALL = [field for field in (*TRAINING, *TINY) if not field.startswith(("plugins", "data."))]


def test_the_task_of_the_docs_runs_as_it_is_printed(tmp_path, own_cache):
    page = TASK.read_text(encoding="utf-8")
    files = {match["name"]: match[1] for match in FILE.finditer(page)}
    assert set(files) == {"my_task.py", "conf/data/my_sums.yaml"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (line,) = re.findall(r"^align_lab (plugins.*)$", page, re.MULTILINE)
    environment = {**os.environ, "ALIGN_LAB_CACHE": str(own_cache)}

    def align_lab(*args):
        done = forked.run(args, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    fields = [field for field in line.split() if not field.startswith("model.sft")]
    assert "digits" in align_lab(*fields, *SMALL, "study=readme")
    (manifest,) = (tmp_path / "runs" / "readme").glob("*/manifest.json")
    assert json.loads(manifest.read_text())["config"]["evaluation.metric"] == "eval/digits"
    align_lab("doctor", "plugins=[my_task]", "data=sums", "reward=right_answer", "reward=digits")


def test_the_algorithm_of_readme_trains_as_it_is_printed(tmp_path, shared_cache):
    page = README.read_text(encoding="utf-8")
    (text,) = [match[1] for match in FILE.finditer(page) if match["name"] == "my_rloo.py"]
    (tmp_path / "my_rloo.py").write_text(text)
    assert "`plugins=[my_rloo] algo=my_rloo`" in page
    command = ["plugins=[my_rloo]", "algo=my_rloo", *OF_REVIEWS, "train.steps=1", "study=readme"]
    done = forked.run(command, cwd=tmp_path, env={**os.environ, "ALIGN_LAB_CACHE": str(shared_cache)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "runs" / "readme").glob("my_rloo-*/status.json"))) == 1


def test_the_model_and_the_test_of_the_docs_are_in_order_as_they_are_printed(tmp_path, shared_cache):
    for page in (TASK, EXTENDING):
        for match in FILE.finditer(page.read_text(encoding="utf-8")):
            (tmp_path / match["name"]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / match["name"]).write_text(match[1])
    environment = {**os.environ, "ALIGN_LAB_CACHE": str(shared_cache)}
    checked = forked.run(["doctor", "plugins=[my_llama]", "model=my_llama"], cwd=tmp_path, env=environment)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    script = "import test_my_task; test_my_task.test_my_task_keeps_its_contracts()"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
