"""`init` writes a project whose commands run, into a new folder only."""

import re

import pytest

from align_lab.__main__ import main
from align_lab.cli import init

BLOCK = re.compile(r"^```\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture
def project(tmp_path, monkeypatch):
    assert main(["init", str(tmp_path / "my_project")]) == 0
    monkeypatch.chdir(tmp_path / "my_project")
    return tmp_path / "my_project"


def test_every_file_that_the_readme_names_is_there(project):
    named = re.findall(r"^\| `([^`]+)` \|", (project / "README.md").read_text(), re.MULTILINE)
    assert sorted([*named, "README.md"]) == sorted(name for _, name in init.files())
    assert all((project / name).is_file() for name in named)


def test_the_commands_of_the_readme_are_valid(project, capsys):
    text = (project / "README.md").read_text()
    inspect, plan, study, compare = (line for block in BLOCK.findall(text) for line in block.splitlines())
    assert (study, compare) == ("align_lab my_study.yaml", "align_lab compare my_study")
    assert main(plan.split()[1:]) == 0 and "Nothing was submitted" in capsys.readouterr().out
    assert main([word for word in inspect.split()[1:] if not word.startswith("model=")]) == 0  # a model is a download
    assert "10 training" in capsys.readouterr().out


def test_what_the_study_takes_is_printed_and_in_the_readme(tmp_path, capsys):
    assert main(["init", str(tmp_path / "timed")]) == 0
    printed, text = capsys.readouterr().out, (tmp_path / "timed" / "README.md").read_text()
    assert init.DURATION in printed and init.DURATION in " ".join(text.split())


def test_the_reward_prefers_what_its_prompt_asks_for(project):
    space = {}
    exec((project / "my_reward.py").read_text(), space)
    long = "The sea is blue " + "and wide " * 20
    scores = space["reward"](["", "", ""], ["The sea is blue.", "The sea is wide.", long], ["blue"] * 3)
    assert scores[0] > scores[2] and scores[0] > scores[1]


def test_nothing_is_overwritten(project, capsys):
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert main(["init", str(project)]) == 2
    assert "exists already, and nothing in it was changed" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
    assert main(["init", str(project / "no" / "where")]) == 2
