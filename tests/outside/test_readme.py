"""README's own task, as it is printed there, trains and is in order."""

import json
import os
import re
from pathlib import Path

from tests import forked
from tests.outside.conftest import TINY, TRAINING

README = Path(__file__).parents[2] / "README.md"
FILE = re.compile(r"```(?:python|yaml)\n((?:# @package _global_\n)?# (?P<name>[\w/]+\.(?:py|yaml))\n.*?)```", re.DOTALL)
SMALL = [field for field in (*TRAINING, *TINY) if not field.startswith(("plugins", "data."))]


def section():
    text = README.read_text(encoding="utf-8")
    return text[text.index("### Bring your own task") : text.index("## Tests and benchmarks")]


def test_the_task_of_the_readme_runs_as_it_is_printed(tmp_path, own_cache):
    files = {match["name"]: match[1] for match in FILE.finditer(section())}
    assert set(files) == {"my_task.py", "conf/data/my_sums.yaml"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (line,) = re.findall(r"^python -m align_lab (plugins.*)$", section(), re.MULTILINE)
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
