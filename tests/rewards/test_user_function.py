"""What the child process makes of a user's function, asked in this process: its arguments and its results."""

import sys
import textwrap

import pytest
import torch

from align_lab.rewards import user_function
from align_lab.rewards.user_function import WIDTH, load, outcomes

BATCH = {"prompts": ["p", "q"], "completions": ["a", "bcd"], "columns": {"word": ["x", "y"], "level": [1, 2]}}


@pytest.fixture
def called(tmp_path, monkeypatch):
    """Load a function from a file as the child does, and call it with BATCH."""

    def call(source, function="reward"):
        (tmp_path / "my_reward.py").write_text(textwrap.dedent(source))
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.setitem(sys.modules, user_function.MODULE, None)
        return load(str(tmp_path / "my_reward.py"), function)(BATCH)

    return call


def test_a_function_with_any_columns_gets_all_of_them_and_one_without_gets_those_that_it_names(called):
    assert called("def reward(**given): return [len(given), sorted(given)[0] == 'completions']") == [4.0, 1.0]
    assert called("def reward(completions, level): return [len(t) + n for t, n in zip(completions, level)]") == [2, 5]


def test_a_module_beside_the_file_is_found_before_others_of_its_name(called, tmp_path):
    (tmp_path / "calendar.py").write_text("WEIGHT = 7\n")  # the standard library has one
    sys.modules.pop("calendar", None)
    try:
        assert called("import calendar\ndef reward(completions): return [calendar.WEIGHT] * 2") == [7.0, 7.0]
    finally:
        sys.modules.pop("calendar", None)


def test_what_an_async_function_gives_is_waited_for(called):
    assert called("async def reward(completions): return [float(len(t)) for t in completions]") == [1.0, 3.0]


def test_numbers_of_any_kind_and_abstentions_are_outcomes():
    assert outcomes([True, 2, 0.5, None], 4) == [1.0, 2.0, 0.5, None]
    assert outcomes(torch.tensor([1.5, 2.5]), 2) == [1.5, 2.5]
    assert outcomes([torch.tensor(3.0), torch.tensor([4.0])], 2) == [3.0, 4.0]
    assert outcomes((each for each in (1, 2)), 2) == [1.0, 2.0] and outcomes([], 0) == []


def test_a_value_that_is_no_number_is_wrong_and_is_shown_up_to_its_width():
    (wrong,) = outcomes(["x" * 200], 1)
    shown = "'" + "x" * (WIDTH - 1) + "... (str)"
    assert wrong == {"wrong": f"the function returned {shown} for it: a score is a number, or None to abstain"}
    (several,) = outcomes([torch.tensor([1.0, 2.0])], 1)
    assert "tensor([1., 2.]) (Tensor) for it" in several["wrong"]


@pytest.mark.parametrize("result", [1.0, "ab", b"ab", {"a": 1.0, "b": 2.0}, None])
def test_what_is_no_list_is_refused(result):
    with pytest.raises(TypeError, match="it must return a list with a number or None for each completion"):
        outcomes(result, 2)


@pytest.mark.parametrize(("count", "words"), [(1, "2 scores for 1 completion: "), (3, "2 scores for 3 completions: ")])
def test_too_few_and_too_many_scores_are_refused(count, words):
    with pytest.raises(ValueError, match=words):
        outcomes([1.0, 2.0], count)
