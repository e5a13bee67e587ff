"""What may differ between two runs and what may not."""

import numpy as np
import pytest

from align_lab.compare.comparability import arms, differing, explain, proof, unfair
from align_lab.compare.runs import Run


def run(name, algo="rloo", seed=0, hashes=None, arm="", spent=None, **fields):
    values = {
        "algo.kl_coef": 0.05,
        "train.lr": 1e-3,
        "train.steps": 60,
        "sampling.temperature": 1.0,
        "seed": seed,
        "study": name,
        **fields,
    }
    return Run(
        name=name,
        algo=algo,
        seed=seed,
        arm=arm,
        fields={key: value for key, value in values.items() if value is not ...},
        hashes={
            key: value for key, value in {"policy": "a", "source": "b", **(hashes or {})}.items() if value is not ...
        },
        spent=spent or {},
        rows=np.empty((0, 0)),
    )


def names(found):
    return {label: [member.name for member in members] for label, members in found.items()}


def test_recipes_budgets_seeds_and_names_may_differ():
    found = unfair(
        [
            run("a"),
            run(
                "b", algo="dpo", seed=1, **{"algo.beta": 0.1, "train.lr": 1e-4, "train.steps": 30, "record.samples": 5}
            ),
        ]
    )
    assert found == {}


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (run("b", **{"sampling.temperature": 0.7}), "sampling.temperature"),
        (run("b", hashes={"policy": "other"}), "policy"),
        (run("b", hashes={"source": "other"}), "source"),
        (run("b", **{"data.split_seed": 1}), "data.split_seed"),
        (run("b", hashes={"policy": ...}), "policy"),
        (run("b", **{"sampling.temperature": ...}), "sampling.temperature"),
    ],
)
def test_a_setting_or_a_hash_that_differs_is_named_with_both_values(other, field):
    found = unfair([run("a"), other])
    assert list(found) == [field]
    assert field in explain(found) and " in a" in explain(found) and " in b" in explain(found)


def test_nothing_is_proven_of_what_a_run_does_not_record():
    assert unfair([run("a"), run("b", hashes={"policy": ...})]) == {"policy": {"a": "a", "b": "not recorded"}}


def test_a_field_that_an_arm_does_not_have_is_not_applicable():
    found = differing([run("a"), run("b", algo="dpo", **{"algo.beta": 0.1})], "recipe")
    assert found["algo.beta"] == {"a": "not applicable", "b": 0.1}


def test_runs_of_one_recipe_are_an_arm_and_equal_names_are_told_apart():
    found = arms([run("a"), run("b", seed=1), run("c", **{"train.lr": 5e-4}), run("d", algo="dpo")])
    assert names(found) == {
        "rloo (train.lr=0.001)": ["a", "b"],
        "rloo (train.lr=0.0005)": ["c"],
        "dpo": ["d"],
    }


def test_the_study_s_name_for_an_arm_comes_first():
    found = arms([run("a", arm="small step"), run("b", arm="small step", seed=1), run("c", arm="large step")])
    assert names(found) == {"small step": ["a", "b"], "large step": ["c"]}


def test_an_arm_whose_recipe_changed_is_two():
    found = arms([run("a", arm="mine"), run("b", arm="mine", **{"train.steps": 90})])
    assert names(found) == {"mine (train.steps=60)": ["a"], "mine (train.steps=90)": ["b"]}


def test_runs_of_an_arm_are_in_the_order_of_their_seeds_whatever_their_own():
    runs = [run("z", seed=1), run("b", seed=10), run("c", seed=2)]
    assert names(arms(runs)) == names(arms(runs[::-1])) == {"rloo": ["z", "c", "b"]}


WARM = run("w", seed=1, **{"sampling.temperature": 2.0})
NEWER = run("n", seed=2, hashes={"source": "new"})


def test_a_setting_that_is_allowed_to_differ_makes_arms_of_their_own():
    assert names(arms([run("a"), WARM], ["sampling"])) == {
        "rloo (sampling.temperature=1.0)": ["a"],
        "rloo (sampling.temperature=2.0)": ["w"],
    }
    assert names(arms([run("a"), WARM])) == {"rloo": ["a", "w"]}  # not allowed: refused anyway


def test_code_that_is_allowed_to_differ_does_not():
    assert names(arms([run("a"), NEWER], ["source"])) == {"rloo": ["a", "n"]}


@pytest.mark.parametrize(
    ("allow", "fair", "allowed"),
    [
        ([], False, set()),
        (["sampling.temperature"], False, {"sampling.temperature"}),
        (["sampling", "source"], True, {"sampling.temperature", "source"}),
        (["sampling.temp", "sour"], False, set()),
    ],
)
def test_a_difference_is_allowed_by_its_name_or_its_group_s(allow, fair, allowed):
    found = proof({"x": [run("a"), WARM], "y": [NEWER]}, allow)
    assert found["fair"] is fair
    assert {one["field"] for one in found["differing"] if one["allowed"]} == allowed
    assert {one["field"]: one["values"] for one in found["differing"]} == {
        "sampling.temperature": {"1.0": ["a", "n"], "2.0": ["w"]},
        "source": {"b": ["a", "w"], "new": ["n"]},
    }
    assert found["equal"] == [{"field": "policy", "value": "a"}]


def test_the_proof_lists_each_arm_s_recipe_budget_and_cost():
    dear = [run("a", spent={"tokens": 100, "flops": 2.0}), run("b", seed=1, spent={"tokens": 200})]
    cheap = [run("c", algo="dpo", spent={"tokens": 30}, **{"train.steps": 5, "algo.clip": float("inf")})]
    found = proof({"dear": dear, "cheap": cheap}, [])
    assert found["fair"] and found["differing"] == []
    assert found["recipes"] == [{"field": "algo.clip", "values": {"dear": "not applicable", "cheap": "inf"}}]
    assert found["budgets"] == [{"field": "train.steps", "values": {"dear": 60, "cheap": 5}}]
    one, other = found["charged"]
    assert (one["arm"], one["tokens"], one["flops"], one["labels"]) == ("dear", 150.0, 2.0, None)
    assert (other["arm"], other["tokens"]) == ("cheap", 30.0)


def test_nothing_is_fair_where_there_is_nothing():
    assert proof({}, [])["fair"] is False
