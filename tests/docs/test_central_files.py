"""The study that README and the skill show is taken exactly as it is printed, with prompts alone and a local model."""

import json

import pytest

from align_lab.base import registry
from align_lab.config import study, study_file
from align_lab.rewards.python_source import EXAMPLE
from tests.docs.snippets import CHECKOUT, snippets
from tests.models.test_hf import folder

pytest.importorskip("transformers")
PAGES = [CHECKOUT / "README.md", CHECKOUT / "skills" / "align-lab" / "SKILL.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_file_is_a_study_of_a_reader_who_has_prompts_alone(page, tmp_path, monkeypatch):
    (shown,) = [one for one in snippets([page]) if one.language == "yaml"]
    registry.scan()
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"What is {i} and {i}?"} for i in range(400)]
    (tmp_path / "my_prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "my_reward.py").write_text(EXAMPLE + "\n")
    (tmp_path / "my_study.yaml").write_text(shown.text)
    folder(tmp_path / "model", "llama")
    runs = study.read(study_file.expanded(["my_study.yaml", "model.path=model"])).runs
    assert {run.values["train"]["budget"]["episodes"] for run in runs} == {20000}
    assert len({run.values["algo"]["name"] for run in runs}) == 2
