"""An error about what a study file says names the file and the line."""

import pytest

from align_lab.__main__ import main

FILE = """\
# my question
question: Which?
metric: {metric}
train:
  lr: {lr}
  steps: 3
reward: {{name: python, file: my_reward.py}}
arms:
  rloo: [algo=rloo]
  dpo:
    - algo=dpo
    - {override}
seeds: [0, 1]
"""
FINE = {"metric": "eval/score", "lr": "1e-3", "override": "algo.beta=0.2"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"metric": "golden"}, "my_study.yaml, line 3: evaluation.metric=golden is not known"),
        ({"lr": "fast"}, "my_study.yaml, line 5: train.lr='fast': train.lr must be a number"),
        ({"override": "algo.betta=1"}, "my_study.yaml, line 12: algo.betta=1: there is no algo.betta"),
        ({"lr": "fast", "override": "algo.betta=1"}, "\nmy_study.yaml, line 12: "),
        ({}, "error: my_study.yaml, line 7: reward.file=my_reward.py: "),
    ],
)
def test_the_line_of_the_file_is_named(tmp_path, monkeypatch, capsys, wrong, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_study.yaml").write_text(FILE.format(**{**FINE, **wrong}))
    assert main(["my_study.yaml", "dry_run=true"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("word", ["train.lr=fast", "tran.lr=1"])
def test_what_the_command_line_says_is_not_blamed_on_the_file(tmp_path, monkeypatch, capsys, word):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_study.yaml").write_text(FILE.format(**FINE))
    (tmp_path / "my_reward.py").write_text(
        "def reward(completions, **columns):\n    return [0.0 for _ in completions]\n"
    )
    assert main(["my_study.yaml", word, "dry_run=true"]) == 2
    assert f"error: {word.partition('=')[0]}=" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_named_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_study.yaml").write_text("a: [&x b, *y")
    assert main(["my_study.yaml"]) == 2
    assert capsys.readouterr().err.count("my_study.yaml") == 1
    assert main(["nothing.yaml"]) == 2
    assert "To begin with one: align_lab init my_project" in capsys.readouterr().err
