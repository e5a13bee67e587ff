"""Generated reasoning problems: parts that share nothing, answers that can be verified, settings that are checked."""

import dataclasses
import json
import re
import subprocess
import sys

import pytest

pytest.importorskip("reasoning_gym")

from align_lab.base.errors import DataError
from align_lab.data import gym
from align_lab.data.reasoning import COLUMNS, SETTINGS, Reasoning
from align_lab.testing import assert_contract

SMALL = {"training": 30, "demonstrations": 40, "held_out": 20, "development": 10}


def built(folder, **settings):
    component = Reasoning(**{**SMALL, **settings})
    folder.mkdir(parents=True, exist_ok=True)
    component.build(folder)
    return component, component.load(folder)


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    return built(tmp_path_factory.mktemp("sums"))


@pytest.fixture(scope="module")
def two_tasks(tmp_path_factory):
    return built(
        tmp_path_factory.mktemp("two"), tasks=["chain_sum", "countdown"], demonstrations=6, training=8, held_out=4
    )


def result(question):
    """The value of the sum in a question, by a plain loop."""
    first, *others = re.findall(r"([+-]?)\s*(\d+)(?=\s*[+\-=.])", question.partition(":")[2] or question)
    return int(first[1]) + sum(int(number) * (-1 if sign == "-" else 1) for sign, number in others)


def terms(question):
    return len(re.findall(r"\d+", question))


def test_it_keeps_the_contract():
    assert_contract("data", "reasoning", **SMALL)


def test_no_question_is_in_two_parts_or_twice_in_one(sums):
    component, data = sums
    assert set(component.all_splits()) == {"train", "same", "harder", "other", "development"}
    questions = [one.prompt for split in component.all_splits() for one in data.examples(split)]
    questions += [one.prompt for one in data.demonstrations("train")]
    assert len(questions) == 30 + 3 * 20 + 10 + 40
    assert len(set(questions)) == len(questions)


def test_the_sets_have_the_difficulty_and_the_task_that_they_are_named_for(sums):
    component, data = sums
    assert component.splits() == ("train", "same", "harder", "other")
    assert {terms(one.prompt) for split in ("train", "same") for one in data.examples(split)} == {3}
    assert {terms(one.prompt) for one in data.examples("harder")} == {4}
    assert {one.columns["task"] for one in data.examples("other")} == {"basic_arithmetic"}
    assert all(tuple(one.columns) == COLUMNS for one in data.examples("same"))


@pytest.mark.parametrize("split", ["train", "same", "harder", "other"])
def test_the_answers_are_those_of_the_problems(sums, split):
    for one in sums[1].examples(split):
        assert one.columns["answer"] == str(result(one.prompt))
        assert json.loads(one.columns["entry"])["metadata"]["source_dataset"] == one.columns["task"]


def test_half_of_the_demonstrations_show_their_steps_and_all_end_with_the_right_answer(sums):
    demonstrations = sums[1].demonstrations("train")
    assert all(one.completion.endswith(f"<answer>{result(one.prompt)}</answer>") for one in demonstrations)
    assert sum(one.completion.count(" = ") == 2 for one in demonstrations) == 20
    assert sum(" = " not in one.completion for one in demonstrations) == 20
    assert sums[1].demonstrations("same")  # held-out ones, for the loss of the fine-tuned model


@pytest.mark.parametrize(("share", "with_steps"), [(0.0, 0), (0.25, 10), (1.0, 40)])
def test_the_share_of_demonstrations_with_steps_is_a_setting(tmp_path, share, with_steps):
    _, data = built(tmp_path, steps=share)
    assert sum(" = " in one.completion for one in data.demonstrations("train")) == with_steps


def test_the_same_settings_draw_the_same_problems_in_another_process_and_another_seed_draws_others(sums, tmp_path):
    settings = {field.name: getattr(sums[0], field.name) for field in dataclasses.fields(sums[0])}
    code = (
        "import json, sys, pathlib; from align_lab.data.reasoning import Reasoning;"
        "Reasoning(**json.loads(sys.argv[1])).build(pathlib.Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", code, json.dumps(settings), str(tmp_path)], check=True)
    assert sums[0].load(tmp_path) == sums[1]
    _, other = built(tmp_path / "other", seed=1)
    drawn = [{one.prompt for one in data.examples("train")} for data in (sums[1], other)]
    assert len(drawn[0] & drawn[1]) < 5


def test_two_tasks_take_turns(two_tasks):
    component, data = two_tasks
    assert [one.columns["task"] for one in data.examples("train")] == ["chain_sum", "countdown"] * 4
    assert [one.columns["task"] for one in data.examples("harder")] == ["chain_sum", "countdown"] * 2
    assert len(data.demonstrations("train")) == 6


def test_a_countdown_solution_computes_its_target(two_tasks):
    for one in two_tasks[1].demonstrations("train")[1::2]:
        expression = re.search("<answer>(.*)</answer>", one.completion)[1]
        numbers = sorted(map(int, re.findall(r"\d+", expression)))
        stated = sorted(map(int, re.findall(r"\d+", one.prompt.partition("\n")[0])))
        target = next(number for number in stated if sorted([*numbers, number]) == stated)
        if steps := re.findall(r"= (-?\d+)(?=[; ])", one.completion):
            assert int(steps[-1]) == target


def test_too_few_different_problems_are_refused_with_what_to_set(tmp_path):
    two = {"chain_sum": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}}  # 200 different ones
    with pytest.raises(DataError, match=r"too few different problems: 300 are needed .* data\.training=\d+ or less"):
        built(tmp_path, settings=two, other=[], training=300)


def test_a_damaged_folder_says_how_to_build_it_again(tmp_path):
    (tmp_path / "problems.jsonl").write_text('{"split"')
    with pytest.raises(DataError, match=r"rm -r"):
        Reasoning().load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": []}, "data.tasks is empty"),
        ({"tasks": ["chain_sun"]}, "no task chain_sun: did you mean 'chain_sum'"),
        ({"other": ["n_queens"]}, "scores n_queens by evaluating text as Python code"),
        ({"settings": {"chain_sum": {"max_term": 3}}}, "has no setting max_term: did you mean 'max_terms'"),
        ({"settings": {"chain_sum": {"min_terms": 9}}}, "max_terms must be >= min_terms"),
        ({"harder": {"chain_sum": SETTINGS["chain_sum"]}}, "are the same"),
        (
            {"settings": {"countdown": {"max_value": "x"}}},
            "data.settings: the task countdown does not accept max_value='x'",
        ),
        ({"settings": {"countdown": 3}}, "the settings of the task countdown are 3, and must be a mapping: "),
        (
            {"harder": {"countdown": {"max_value": 2.5}}},
            "data.harder: the task countdown does not accept max_value=2.5",
        ),
        ({"harder": {"no_task": {}}}, "data.harder: reasoning-gym has no task no_task"),
        (
            {"settings": {"chain_sum": {"max_digits": 10**400}}},
            "data.settings: the task chain_sum does not accept max_digits=1000",
        ),
        (
            {"settings": {"chain_sum": {"allow_negation": 1}}},
            "does not accept allow_negation=1: by default it is False",
        ),
        ({"tasks": ["gcd"]}, "the steps of gcd cannot be written out"),
    ],
)
def test_wrong_settings_are_found_before_anything_is_drawn(settings, message):
    problems = Reasoning(**{**SMALL, **settings}).problems()
    assert len(problems) >= 1 and any(message in problem for problem in problems)


def test_a_task_without_written_steps_can_be_shown_by_its_answer_or_not_at_all(tmp_path):
    component, data = built(tmp_path, tasks=["gcd"], steps=0, other=[])
    assert component.problems() == [] and component.splits() == ("train", "same")
    assert all(re.fullmatch(r" <answer>\d+</answer>", one.completion) for one in data.demonstrations("train"))
    assert Reasoning(tasks=["gcd"], demonstrations=0).problems() == []
    assert not Reasoning(tasks=["gcd"], demonstrations=0).has_demonstrations()


def test_every_scorer_of_the_package_that_evaluates_code_is_known():
    """A new version may add one; its name belongs into EVALUATED or, with checked answers, into ARITHMETIC."""
    import inspect

    from reasoning_gym.factory import DATASETS

    code = re.compile(r"\b(eval|exec|parse_expr|sympify|S)\(")
    evaluating = {name for name, (cls, _) in DATASETS.items() if code.search(inspect.getsource(cls.score_answer))}
    assert evaluating
    assert evaluating <= gym.EVALUATED | gym.ARITHMETIC


@pytest.mark.parametrize("answer", ["9**9**9**9", "__import__('os').getpid()", "1" * 201, "9//2", "exit()"])
def test_an_answer_that_is_no_plain_arithmetic_is_wrong_and_is_not_evaluated(two_tasks, answer):
    entry = next(one.columns["entry"] for one in two_tasks[1].examples("same") if one.columns["task"] == "countdown")
    assert gym.score(entry, answer) == 0


def test_a_task_whose_scorer_evaluates_code_is_never_scored():
    with pytest.raises(ValueError, match="not safe"):
        gym.score(json.dumps({"answer": "1", "metadata": {"source_dataset": "n_queens"}}), "1")
