"""Runs of other programs from the command line, as users do: terminal, page, Markdown, JSON, and wrong words."""

import json
import os
import shutil
from pathlib import Path

import pytest

from align_lab.compare.foreign import sources
from tests import forked
from tests.compare.folders import write_run
from tests.compare.foreign_files import trl_state, verl_log

CONFIGS = Path(__file__).parent / "configs"
OURS = {"train.beta2": 0.95, "train.lr": 3e-4, "train.group_size": 4, "algo.clip": 0.2, "sampling.top_p": 1.0}


def command(tmp_path, *words):
    environment = {**os.environ, "COLUMNS": "200", "WANDB_MODE": "offline", "WANDB_API_KEY": ""}
    return forked.run(["compare", *words], cwd=tmp_path, env=environment)


@pytest.fixture
def outputs(tmp_path):
    for seed, (low, high) in enumerate([(0.2, 0.7), (0.21, 0.72), (0.19, 0.74)]):
        trl_state(tmp_path / "out" / f"rloo-s{seed}", [0.1, low, low])
        trl_state(tmp_path / "out" / f"grpo-s{seed}", [0.1, high, high])
    return tmp_path / "out"


def test_foreign_runs_alone_get_a_verdict_that_says_what_is_not_proven(tmp_path, outputs):
    done = command(tmp_path, "--from", "trl", outputs)
    assert done.returncode == 0, done.stderr
    assert "Not proven comparable (settings, data and reward are not known to be equal): " in done.stdout
    assert "GRPO (TRL) is better than RLOO (TRL) by " in done.stdout
    for file in ("report.html", "report.md"):
        text = (tmp_path / "runs" / "foreign" / file).read_text()
        assert "ot proven comparable" in text and "GRPO (TRL)" in text.replace("\\", "")
        assert "grpo (TRL)" not in text
    assert "grpo (TRL),TRL,False,0" in (tmp_path / "runs" / "foreign" / "report" / "foreign.csv").read_text()


def test_beside_a_study_the_proven_verdict_stays_as_it_is(tmp_path, outputs):
    study = tmp_path / "runs" / "s"
    for seed, gold in enumerate([1.0, 1.1, 0.9]):
        write_run(study, "rloo", seed, (0.0, gold))
        write_run(study, "ppo", seed, (0.0, gold - 0.8))
    alone = json.loads(command(tmp_path, "s", "--json").stdout)
    verl_log(tmp_path / "verl" / "grpo-s0.jsonl", [0.2, 0.4], val=[0.1, 0.5])
    both = json.loads(command(tmp_path, "s", "--json", "--from", "verl", tmp_path / "verl").stdout)
    for key in ("verdict", "arms", "improvement", "comparability", "metric"):
        assert both[key] == alone[key]
    assert alone["foreign"] is None
    result = both["foreign"]
    assert result["mark"] == "not proven comparable" and result["sentence"].startswith("Not proven comparable")
    assert result["metric"] == "eval/score"  # what both have; gold is ours alone
    assert {arm["name"]: arm["proven"] for arm in result["arms"]} == {
        "rloo (align_lab)": True,
        "ppo (align_lab)": True,
        "grpo (verl)": False,
    }
    grpo = next(arm for arm in result["arms"] if not arm["proven"])
    assert (grpo["values"], grpo["mean"], grpo["low"], grpo["n"], grpo["start"]) == ([0.5], 0.5, None, 1, 0.1)
    rloo = next(arm for arm in result["arms"] if arm["name"].startswith("rloo"))
    assert rloo["values"] == pytest.approx([1.1, 1.2, 1.0]) and rloo["low"] < 1.1 < rloo["high"]
    assert any("grpo (verl) has one seed only" in note for note in result["notes"])


def test_page_markdown_and_terminal_of_a_study_hold_them_apart(tmp_path, outputs):
    for seed in (0, 1):
        write_run(tmp_path / "runs" / "s", "ppo", seed, (0.0, 1.0 + seed), objective_scores=(0.0, 1.0))
    done = command(tmp_path, "s", "--from", "trl", outputs, "--from", "trl", outputs / "grpo-s0", "arm=twin", "seed=4")
    assert done.returncode == 0, done.stderr
    before, after = done.stdout.split("Not proven comparable", 1)
    assert "TRL" not in before and "twin (TRL)" in after and "PPO (align_lab)" in after
    page = (tmp_path / "runs" / "s" / "report.html").read_text()
    assert "Runs of other programs" in page and "3 arms of other programs: not proven comparable" in page
    assert "## Runs of other programs" in (tmp_path / "runs" / "s" / "report.md").read_text()


def test_configs_come_first_in_the_verdict_and_stand_field_by_field_everywhere(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / "runs" / "s", "grpo", seed, (0.0, 1.0), config=OURS, objective_scores=(0.0, 1.0))
    shutil.copytree(CONFIGS / "trl_1_16", tmp_path / "out" / "grpo-s1")
    done = command(tmp_path, "s", "--from", "trl", "out/")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert " settings that decide a comparison of GRPO (TRL) with GRPO (align_lab), " in told
    assert told.index("settings that decide") < told.index("Not proven comparable (no config says what data")
    assert "adam_beta2 in training_args.json" in told and "equal: " in told
    page = (tmp_path / "runs" / "s" / "report.html").read_text()
    text = (tmp_path / "runs" / "s" / "report.md").read_text()
    assert "adam_beta2 in training_args.json" in page and "Names that are not mapped" in page
    assert "adam\\_beta2 in training\\_args.json" in text or "adam_beta2 in training_args.json" in text
    table = (tmp_path / "runs" / "s" / "report" / "foreign_settings.csv").read_text()
    assert "grpo (TRL),grpo (align_lab),train.beta2,recipe,differs,0.95,0.999" in table
    (settings,) = json.loads(command(tmp_path, "s", "--json", "--from", "trl", "out/").stdout)["foreign"]["settings"]
    assert settings["version"] == "TRL 1.16.0" and settings["equal"] + settings["differs"] + settings["unknown"] == len(
        settings["fields"]
    )


def test_without_any_config_it_says_what_to_pass(tmp_path, outputs):
    result = json.loads(command(tmp_path, "--json", "--from", "trl", outputs).stdout)["foreign"]
    assert result["settings"] == []
    notes = [note for note in result["notes"] if note.startswith("No config of ")]
    assert len(notes) == 2 and all("config=training_args.json" in note for note in notes)


def test_arms_of_other_programs_alone_are_compared_with_the_first(tmp_path, outputs):
    for name, rate in (("grpo-s0", 1e-5), ("rloo-s0", 3e-5)):
        (outputs / name / "config.yaml").write_text(f"learning_rate: {rate}\nbeta: 0.05\ntemperature: 1.0\n")
    words = ("--json", "--from", "trl", outputs / "grpo-s0", "trainer=grpo", "version=1.16")
    words += ("--from", "trl", outputs / "rloo-s0", "trainer=rloo", "version=1.16")
    result = json.loads(command(tmp_path, *words).stdout)
    (settings,) = result["foreign"]["settings"]
    assert (settings["arm"], settings["against"]) == ("rloo (TRL)", "grpo (TRL)")
    rate = next(row for row in settings["fields"] if row["field"] == "train.lr")
    assert (rate["ours"], rate["theirs"], rate["state"]) == ("1e-05", "3e-05", "differs")
    assert result["verdict"]["sentence"].startswith("Of ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs a STUDY"),
        (["--from", "trl", "gone"], "there is no gone"),
        (["--from", "trl", "out", "s"], "A STUDY stands before --from"),
        (["--from", "wandb", "team/project"], "there is no team/project on disk"),
        (["--from", "trl", "out", "config=out/grpo-s0/training_args.bin"], "no such file"),
        (["--from", "trl", "out", "trainer=ppo"], "trainer=ppo is not known to TRL"),
    ],
)
def test_a_wrong_command_ends_with_status_2_and_no_traceback(tmp_path, outputs, words, said):
    done = command(tmp_path, *words)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_help_says_how(tmp_path):
    said = command(tmp_path, "--help").stdout
    assert all(f"--from {name}" in said for name in sources.names()) and "map=FILE" in said
