"""The gate on runs of other programs: arms by name, what is not proven said first, stored baselines, curves."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from align_lab.__main__ import main
from align_lab.base.errors import ConfigError
from align_lab.cli.gate import gate
from tests.compare.folders import write_run
from tests.compare.foreign_files import trl_state, verl_log

CONFIGS = Path(__file__).parent / "configs"
NOT_PROVEN = "Not proven comparable: settings, data and reward are not known to be equal."


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Runs of TRL: `new` ends like `old` but learns later, `broken` learns nothing."""
    monkeypatch.chdir(tmp_path)
    for seed, noise in enumerate((0.0, 0.02, -0.01, 0.01, -0.02)):
        for arm, curve in {"old": (0.6, 0.7, 0.7, 0.7), "new": (0.0, 0.0, 0.7, 0.7), "broken": (0.1,) * 4}.items():
            trl_state(tmp_path / "out" / f"{arm}-s{seed}", [value + noise for value in curve])
    return tmp_path


def printed(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_two_arms_of_another_program(runs, capsys):
    arguments = ["--from", "trl", "out", "--against", "old", "--margin", "0.1"]
    assert gate([*arguments, "--arm", "new"]) == 0
    out = printed(capsys)
    assert out.startswith(NOT_PROVEN) and "No config of new (TRL) was found" in out
    assert "new (TRL) is at most 0.1 worse than old (TRL)" in out and "objective/scores" in out
    assert gate([*arguments, "--arm", "broken"]) == 1
    assert gate([*arguments, "--arm", "new", "--curve"]) == 1  # it was late
    assert gate([*arguments, "--arm", "new (TRL)"]) == 0


def test_what_machines_read_says_it_first_too(runs, capsys):
    arguments = [
        "--from",
        "trl",
        "out",
        "--arm",
        "broken",
        "--against",
        "old",
        "--margin",
        "0.1",
        "--markdown",
        "a.md",
        "--junit",
        "a.xml",
    ]
    assert main(["gate", *arguments, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["unproven"][0] == NOT_PROVEN and document["candidate"]["arm"] == "broken (TRL)"
    assert (runs / "a.md").read_text().startswith(NOT_PROVEN)
    assert ElementTree.parse(runs / "a.xml").getroot()[0].find("system-out").text.startswith(NOT_PROVEN)


def test_their_configs_say_what_differs(runs, capsys):
    config = json.loads((CONFIGS / "trl_1_16" / "training_args.json").read_text())
    (runs / "old.json").write_text(json.dumps(config))
    (runs / "new.json").write_text(json.dumps({**config, "learning_rate": 123e-6}))
    words = []
    for arm in ("old", "new"):
        (runs / arm).mkdir()
        for folder in list((runs / "out").glob(f"{arm}-*")):
            folder.rename(runs / arm / folder.name)
        words += ["--from", "trl", arm, f"config={arm}.json", "trainer=grpo"]
    assert gate([*words, "--arm", "new", "--against", "old", "--margin", "0.1"]) == 0
    out = printed(capsys)
    assert out.startswith("Not proven comparable: no config says what data, reward and evaluation hold.")
    assert "train.lr" in out.split("new (TRL) is at most")[0]


def test_a_stored_baseline_decides_like_the_arm_itself(runs, capsys):
    assert gate(["--from", "trl", "out", "--arm", "old", "--store", "old.json"]) == 0
    assert "5 runs of old are the baseline old.json" in printed(capsys)
    for arm, status in (("new", 0), ("broken", 1)):
        documents = []
        for other in (["--against", "old"], ["--baseline", "old.json"]):
            words = ["--from", "trl", "out", "--arm", arm, *other, "--margin", "0.1", "--json"]
            assert main(["gate", *words]) == status
            documents.append(json.loads(capsys.readouterr().out))
        here, stored = documents
        assert here["low"] == stored["low"] and stored["baseline"]["arm"] == "old (TRL, baseline)"
        assert stored["unproven"][0] == NOT_PROVEN


def test_an_arm_of_ours_against_one_of_theirs(runs, capsys):
    for seed, score in enumerate((0.71, 0.69, 0.7)):
        write_run(runs / "runs" / "s", "rloo", seed, (0.0, score - 0.1))  # eval/score is 0.1 higher
        verl_log(runs / "verl" / f"grpo-s{seed}.jsonl", [0.1, 0.2], val=[0.0, score])
    arguments = ["--from", "verl", "verl", "--against", "rloo", "--margin", "0.1"]
    assert gate(["s", *arguments, "--arm", "grpo"]) == 0
    assert "grpo (verl) is at most 0.1 worse than rloo (align_lab)" in printed(capsys)
    gate(["s", "--arm", "rloo", "--store", "ours.json"])
    assert main(["gate", *arguments[:3], "--arm", "grpo", "--baseline", "ours.json"]) == 2
    assert "has not logged objective/scores" in capsys.readouterr().err  # a baseline keeps the score that decides


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--arm", "nwe", "--against", "old"], "--arm=nwe: there is no such arm"),
        (["--arm", "new", "--against", "odl"], "--against=odl: there is no such arm"),
    ],
)
def test_a_wrong_name_is_refused_with_the_near_one(runs, arguments, words):
    with pytest.raises(ConfigError, match=words):
        gate(["--from", "trl", "out", *arguments])


def test_a_name_that_two_programs_have_must_be_typed_whole(runs):
    verl_log(runs / "verl" / "new-s0.jsonl", [0.1, 0.2])
    both = ["--from", "trl", "out", "--from", "verl", "verl", "--against", "old"]
    with pytest.raises(ConfigError, match=r"--arm=new may be new \(TRL\) or new \(verl\)"):
        gate([*both, "--arm", "new"])


def test_it_needs_a_study_or_runs_of_another_program(capsys):
    assert main(["gate", "--arm", "a", "--against", "b"]) == 2
    assert "gate needs a STUDY, or runs of another program" in capsys.readouterr().err
