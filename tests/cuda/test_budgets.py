"""No unit of work costs more launches or waits on a GPU than `budgets.json` says, and the table only goes down."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.cuda.budgets import UNITS, by_file, of_completion, problems, read


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_of_work_keeps_to_its_budget(unit):
    wrong = problems(unit, UNITS[unit](), read())
    assert not wrong, "\n".join(wrong)


def test_the_line_that_costs_too_much_is_named():
    table = {"token": {"launches": {"a.py": 2, "b.py": 1}, "syncs": {}}}
    costs = {"launches": Counter({"a.py:3": 1.0, "a.py:7": 2.0, "b.py:1": 0.5}), "syncs": Counter({"c.py:9": 1.0})}
    assert problems("token", costs, table) == [
        "token: 3 launches in a.py, its budget is 2: a.py:7 (2), a.py:3 (1)",
        "token: 0.5 launches in b.py are fewer than 1: lower the table",
        "token: 1 syncs in c.py, its budget is 0: c.py:9 (1)",
    ]


def test_a_wait_for_every_completion_is_found(monkeypatch):
    from align_lab.rollout.prompts import Prompts

    def careless(self, samples):
        return [bool(ended) for ended in samples.ended]

    assert not by_file(of_completion()["syncs"])
    monkeypatch.setattr(Prompts, "completions", careless)
    assert sum(of_completion()["syncs"].values()) == 1
