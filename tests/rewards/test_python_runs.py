"""Whole runs with a reward file: it raises in the middle, the run stops saved, is repaired, and continues."""

import json

import pytest

from align_lab.base.contracts import Data
from align_lab.base.task import DataSet
from align_lab.rewards.python_file import PythonFile
from align_lab.run.description import earlier_hashes
from tests.outside.conftest import SUMS, lab, own_cache, own_lab

__all__ = ["lab", "own_cache", "own_lab"]  # fixtures

RUN = [field for field in SUMS if not field.startswith("reward=")]
RUN += [
    "model.sft.epochs=1",
    "evaluation.sets=[same]",
    "evaluation.prompts=8",
    "reward=python",
    "reward.file=my_reward.py",
    "algo=rloo",
]
REWARD = """
import os

def reward(prompts, completions, answer, **columns):
    with open("calls.txt", "a+") as log:
        log.write("called\\n")
        log.seek(0)
        calls = len(log.readlines())
    if calls > 4:  # the evaluations of step 0 and 2, and two steps
        raise ZeroDivisionError("the third step")
    return [float(text.strip() == str(right)) for text, right in zip(completions, answer)]
"""


RIGHT = REWARD.replace("calls > 4", "calls < 0")


def test_a_run_whose_reward_raises_stops_saved_and_continues_when_the_file_is_repaired(own_lab):
    path = own_lab.folder / "my_reward.py"
    path.write_text(REWARD)
    fields = [*RUN, "study=repaired", "reward.max_failed=0.5"]
    out, err = own_lab(*fields, expected=1)
    assert "16 of 16 completions could not be scored, and reward.max_failed=0.5" in err
    assert "it raised ZeroDivisionError: the third step" in err
    assert 'my_reward.py", line 10, in reward: raise ZeroDivisionError("the third step")' in err
    assert "run the same command again: it continues" in " ".join(err.split())
    status = json.loads((own_lab.run("repaired") / "status.json").read_text())
    assert status["state"] == "failed" and status["step"] == 2
    before = own_lab.manifest("repaired")["hashes"]["files"]
    rows = own_lab.rows("repaired")

    path.write_text(REWARD.replace("calls > 4", "calls < 0"))
    out, _ = own_lab(*fields)
    assert "continuing after step 2" in out and "changed since the steps before: files" in " ".join(out.split())
    assert [row["step"] for row in own_lab.rows("repaired")] == [0, 1, 2, 3, 4]
    assert own_lab.rows("repaired")[:3] == rows  # nothing was trained again
    hashes = own_lab.manifest("repaired")["hashes"]
    assert hashes["files.until_step_2"] == before != hashes["files"]


def test_runs_of_a_reward_file_that_was_changed_between_them_are_not_compared(own_lab):
    file = own_lab.folder / "my_reward.py"
    for seed, source in enumerate((RIGHT, RIGHT.replace("float(", "0.5 * float("), RIGHT)):
        file.write_text(source)
        own_lab(*RUN, "study=changed", "train.steps=1", f"seed={seed}")
    _, err = own_lab("compare", "changed", expected=3)
    text = " ".join(err.split())
    assert "not comparable" in text and "was changed between these runs: of the reward" in text
    out, err = own_lab("compare", "changed", "--allow=files")
    assert "files" in " ".join((out + err).split())


def test_the_same_file_as_judge_in_two_processes_and_for_preference_pairs(own_lab):
    (own_lab.folder / "my_reward.py").write_text(REWARD.replace("calls > 4", "calls < 0"))
    judged = "evaluation.judges.right={name:python,file:my_reward.py}"
    own_lab(*RUN, "study=two", "hardware=cpu_2proc", "train.steps=1", judged)
    for row in own_lab.samples("two"):
        assert row["right"] in (0.0, 1.0) and row["score"] == row["right"] - (not row["ended"])
    own_lab(*RUN, "study=pairs", "algo=dpo", "train.steps=1")
    assert own_lab.manifest("pairs")["artefacts"]["pairs"].startswith("preferences-")


@pytest.mark.parametrize(
    ("source", "fields", "message"),
    [
        ("def reward(completions): pass\n", ["reward.file=my_rewards.py"], "there is no file my_rewards.py"),
        ("def reward(completions) pass\n", [], "my_reward.py, line 1: expected ':'"),
        ("def a(completions): pass\ndef b(prompts): pass\n", [], "Name one: reward.file=my_reward.py:a"),
        ("def reward(completions): pass\n", ["reward.file="], "reward=python needs a file"),
    ],
)
def test_a_wrong_file_is_refused_with_what_to_type_and_nothing_is_written(own_lab, source, fields, message):
    (own_lab.folder / "my_reward.py").write_text(source)
    _, err = own_lab(*RUN, "study=refused", *fields, expected=2)
    assert message in err
    assert not (own_lab.folder / "runs").exists()


class Rows(Data):
    """Data that knows its columns."""

    def column_names(self):
        return ("answer", "level")

    def build(self, folder):
        raise AssertionError("nothing is built")

    def load(self, folder) -> DataSet:
        raise AssertionError("nothing is loaded")


def test_a_parameter_that_is_no_column_is_found_where_the_data_knows_its_columns(tmp_path):
    (tmp_path / "r.py").write_text("def reward(completions, anwser, level, other=1): pass\n")
    problem = PythonFile(file=str(tmp_path / "r.py")).data_problem(Rows())
    assert "reward needs a column 'anwser', which the data lacks: did you mean 'answer'?" in problem


def test_a_run_that_is_repaired_twice_names_every_version():
    first = earlier_hashes({"files": "a", "source": "x"}, {"files": "b", "source": "y"}, 3)
    assert first == {"files.until_step_3": "a"}
    assert earlier_hashes({"files": "b", **first}, {"files": "c"}, 7) == {
        "files.until_step_3": "a",
        "files.until_step_7": "b",
    }
    assert earlier_hashes({"files": "b", **first}, {"files": "b"}, 1) == {}  # its first steps are trained again
