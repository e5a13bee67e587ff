"""`--json`: one JSON document on standard output, for every verb, every error and every run, and nothing else there."""

import json

import pytest

from align_lab.__main__ import main
from align_lab.base import answer
from align_lab.cli.commands import VERBS
from tests import forked
from tests.compare.folders import write_run
from tests.run.test_runs import SMALL, environment, invoke, place

__all__ = ["place"]  # a fixture


@pytest.fixture
def here(tmp_path):
    """A folder with a study of two arms."""
    for arm, gold in (("ppo", 0.9), ("rloo", 0.1)):
        for seed in range(3):
            write_run(tmp_path / "runs" / "two", arm, seed, gold=[0.0, gold + 0.01 * seed])
    return tmp_path


def document(folder, *words, status=0):
    done = forked.run([*words, "--json"], cwd=folder)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["list", "algo"], "groups"),
        (["show", "algo=rloo"], "fields"),
        (["studies"], "studies"),
        (["status", "two"], "tasks"),
        (["compare", "two"], "verdict"),
        (["gate", "two", "--arm", "ppo", "--against", "rloo", "--margin", "0.1"], "outcome"),
        (["gate", "two", "--arm", "ppo", "--store", "base.json"], "baseline"),
        (["cancel", "two"], "cancelled"),
        (["gc"], "folders"),
        (["init", "project"], "files"),
        (["doctor", "train=default"], "components"),
        (["--cfg", "job", "algo=dpo"], "config"),
        (["algo=rloo,dpo", "-m", "dry_run=true"], "tasks"),
        ([], "commands"),
    ],
)
def test_a_verb_answers_with_one_document(here, words, key):
    assert key in document(here, *words)


def test_the_document_holds_what_the_table_shows(here):
    headlines = document(here, "list", "algo")["groups"]["algo"]
    assert "leave-one-out" in headlines["rloo"] and "dpo" in headlines
    card = document(here, "show", "algo=rloo")
    assert card["option"] == "algo=rloo" and card["fields"][0]["name"] == "algo.kl_coef"
    config = document(here, "--cfg", "job", "algo=dpo", "seed=7")["config"]
    assert config["seed"] == 7 and config["algo"]["name"] == "dpo"
    plan = document(here, "-m", "algo=rloo,dpo", "seed=1,2", "study=planned", "dry_run=true")
    assert [task["seed"] for task in plan["tasks"] if task["kind"] == "run"] == [1, 2, 1, 2]
    results = document(here, "status", "two")
    assert {task["arm"] for task in results["tasks"]} == {"ppo", "rloo"}


@pytest.mark.parametrize(
    ("words", "kind", "status"),
    [
        (["algo=rlo"], "ConfigError", 2),
        (["-m", "algo=rlo,dpo"], "ConfigError", 2),
        (["lst"], "ConfigError", 2),
        (["status"], "ConfigError", 2),
        (["status", "two", "--wach"], "ConfigError", 2),
        (["--no-such-flag"], "ConfigError", 2),
        (["compare", "three"], "ConfigError", 2),
        *([[verb, "--no-such-flag"], "ConfigError", 2] for verb in sorted(VERBS) if verb != "help"),
    ],
)
def test_an_error_is_a_document_too(here, words, kind, status):
    error = document(here, *words, status=status)["error"]
    assert error["kind"] == kind and error["status"] == status and error["message"]


def test_runs_that_are_not_comparable_are_an_error_with_its_own_status(here):
    write_run(here / "runs" / "two", "dpo", 0, gold=[0.0, 0.1], config={"sampling.temperature": 0.9})
    error = document(here, "compare", "two", status=3)["error"]
    assert error["kind"] == "NotComparableError" and "sampling.temperature" in error["message"]


def test_a_run_answers_with_its_state_and_the_table_goes_to_standard_error(place):
    done = invoke(place, *SMALL, "algo=rloo", "study=told", "train.steps=2", "--json")
    assert done.returncode == 0, done.stderr
    (task,) = json.loads(done.stdout)["tasks"]
    assert (task["arm"], task["state"], task["step"]) == ("rloo", "done", 2)
    assert "gold score" in done.stderr and "held-out prompts" in done.stderr
    inspected = forked.run(["data", "inspect", "--json", "--examples", "1"], cwd=place, env=environment(place))
    assert json.loads(inspected.stdout)["splits"]["train"]["prompts"] == 1000 and "example 1" in inspected.stderr
    measured = invoke(place, "evaluate", f"told/{task['name']}", "evaluation.temperature=0", "--json")
    assert json.loads(measured.stdout)["evaluations"][0]["step"] == 2
    said = forked.run(
        ["chat", f"told/{task['name']}", "--json"], cwd=place, env=environment(place), typed="The film\n\n"
    )
    assert json.loads(said.stdout)["completions"][0]["prompt"] == "The film"
    exported = invoke(place, "export", f"told/{task['name']}", "model", "--json")
    assert json.loads(exported.stdout)["folder"] == "model"


def test_without_the_word_nothing_is_collected(capsys):
    answer.give({"never": 1})
    assert not answer.wanted() and main(["list", "algo"]) == 0
    assert capsys.readouterr().out.startswith("algo\n")


def test_help_is_for_people_with_or_without_the_word(capsys):
    assert main(["status", "--json", "--help"]) == 0
    assert "--json" in capsys.readouterr().out
