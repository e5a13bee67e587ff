"""What may differ between two runs and what may not."""

import json
from itertools import combinations

import numpy as np
import pytest

from align_lab.base.errors import ConfigError
from align_lab.compare.comparability import arms, proof, settings
from align_lab.compare.evaluations import Table, columns
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
        labels={},
        rows=Table(columns(), np.empty((0, len(columns().names)))),
    )


def unequal(*runs):
    return {field: values for field, values in settings(runs).items() if len(values) > 1}


def names(differing):
    return {label: [member.name for member in members] for label, members in differing.items()}


def test_recipes_budgets_seeds_and_names_may_differ():
    other = {"algo.beta": 0.1, "train.lr": 1e-4, "train.steps": 30, "record.samples": 5}
    assert unequal(run("a"), run("b", algo="dpo", seed=1, **other)) == {}


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
    differ = unequal(run("a"), other)
    assert list(differ) == [field]
    assert sorted(differ[field].values()) == [["a"], ["b"]]


def test_runs_of_older_completions_are_not_those_of_the_current_policy_s():
    differ = unequal(*(run(name, **{"sampling.staleness": steps}) for name, steps in (("a", 0), ("b", 1))))
    assert differ == {"sampling.staleness": {"0": ["a"], "1": ["b"]}}


def test_nothing_is_proven_of_what_a_run_does_not_record():
    assert unequal(run("a"), run("b", hashes={"policy": ...})) == {"policy": {"a": ["a"], "not recorded": ["b"]}}


ALIKE = [1, 1.0, "1", True, None, ..., "not recorded", "None", [1], {"a": 1}]


@pytest.mark.parametrize(("one", "other"), list(combinations(ALIKE, 2)))
def test_values_that_look_alike_are_not_equal(one, other):
    (values,) = unequal(run("a", **{"data.size": one}), run("b", **{"data.size": other})).values()
    assert sorted(values.values()) == [["a"], ["b"]]
    assert unequal(run("a", hashes={"data": one}), run("b", hashes={"data": other}))


@pytest.mark.parametrize("value", [*(value for value in ALIKE if value is not ...), float("nan"), float("inf")])
def test_equal_values_are_equal_whatever_they_are(value):
    again = json.loads(json.dumps(value))
    assert unequal(run("a", **{"data.size": value}), run("b", **{"data.size": again})) == {}


def test_a_hash_that_is_called_like_a_setting_hides_nothing():
    one, other = run("a", device="cpu"), run("b", device="cuda")
    for each in (one, other):
        each.hashes["device"] = "the same"
    assert unequal(one, other) == {"device": {"cpu": ["a"], "cuda": ["b"]}}
    other.hashes["device"] = "other"
    assert list(unequal(one, other)) == ["device", "hashes.device"]


def test_no_arm_is_lost_where_two_would_have_one_name():
    same = [
        run("a", arm="x (train.lr=1)"),
        run("b", arm="x", **{"train.lr": 1}),
        run("c", arm="x", **{"train.lr": "1"}),
    ]
    same += [run("d", arm="x", **{"train.lr": 1.0}), run("e", arm="x", **{"train.lr": ...})]
    groups = arms(same)
    assert sorted(member.name for members in groups.values() for member in members) == ["a", "b", "c", "d", "e"]
    assert len(groups) == 5


def test_runs_of_one_recipe_are_an_arm_and_equal_names_are_told_apart():
    differing = arms([run("a"), run("b", seed=1), run("c", **{"train.lr": 5e-4}), run("d", algo="dpo")])
    assert names(differing) == {
        "rloo (train.lr=0.001)": ["a", "b"],
        "rloo (train.lr=0.0005)": ["c"],
        "dpo": ["d"],
    }


def test_the_study_s_name_for_an_arm_comes_first():
    differing = arms([run("a", arm="small step"), run("b", arm="small step", seed=1), run("c", arm="large step")])
    assert names(differing) == {"small step": ["a", "b"], "large step": ["c"]}


def test_an_arm_whose_recipe_changed_is_two():
    differing = arms([run("a", arm="mine"), run("b", arm="mine", **{"train.steps": 90})])
    assert names(differing) == {"mine (train.steps=60)": ["a"], "mine (train.steps=90)": ["b"]}


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
    ],
)
def test_a_difference_is_allowed_by_its_name_or_its_group_s(allow, fair, allowed):
    differing = proof([run("a"), WARM, NEWER], {"x": [run("a"), WARM], "y": [NEWER]}, allow)
    assert differing["fair"] is fair
    assert {one["field"] for one in differing["differing"] if one["allowed"]} == allowed
    assert {one["field"]: one["values"] for one in differing["differing"]} == {
        "sampling.temperature": {"1.0": ["a", "n"], "2.0": ["w"]},
        "source": {"b": ["a", "w"], "new": ["n"]},
    }
    assert differing["equal"] == [{"field": "policy", "value": "a"}]


@pytest.mark.parametrize("name", ["sampling.temp", "sour", "foo"])
def test_a_name_that_no_setting_has_is_not_allowed_in_silence(name):
    with pytest.raises(ConfigError, match=f"--allow={name}: the runs have no setting"):
        proof([run("a"), WARM], {"x": [run("a"), WARM]}, [name])


def test_the_proof_lists_each_arm_s_recipe_budget_and_cost():
    dear = [run("a", spent={"tokens": 100, "flops": 2.0}), run("b", seed=1, spent={"tokens": 200})]
    cheap = [run("c", algo="dpo", spent={"tokens": 30}, **{"train.steps": 5, "algo.clip": float("inf")})]
    differing = proof([*dear, *cheap], {"dear": dear, "cheap": cheap}, [])
    assert differing["fair"] and differing["differing"] == []
    assert differing["recipes"] == [{"field": "algo.clip", "values": {"dear": "not applicable", "cheap": "inf"}}]
    assert differing["budgets"] == [{"field": "train.steps", "values": {"dear": 60, "cheap": 5}}]
    one, other = differing["charged"]
    assert (one["arm"], one["tokens"], one["flops"], one["labels"]) == ("dear", 150.0, 2.0, None)
    assert (other["arm"], other["tokens"]) == ("cheap", 30.0)


def test_nothing_is_fair_where_there_is_nothing():
    assert proof([], {}, [])["fair"] is False


def test_the_code_of_a_plug_ins_algorithm_is_part_of_the_recipe():
    """It may differ between arms, is listed, and makes two arms of one name unless it is said not to matter."""
    own = [run(name, algo="own", seed=i, hashes={"algo.plugins": code}) for i, (name, code) in enumerate(["px", "qy"])]
    assert settings([run("a"), *own]).keys() == settings([run("a")]).keys()
    assert names(arms([run("a"), *own])) == {
        "own (algo.plugins=x)": ["p"],
        "own (algo.plugins=y)": ["q"],
        "rloo": ["a"],
    }
    assert names(arms([run("a"), *own], ["algo.plugins"])) == {"own": ["p", "q"], "rloo": ["a"]}
    document = proof([run("a"), own[0]], {"rloo": [run("a")], "own": own[:1]}, [])
    assert (
        document["fair"]
        and {"field": "algo.plugins", "values": {"rloo": "not applicable", "own": "x"}} in document["recipes"]
    )


def test_the_code_of_any_other_plug_in_is_a_setting():
    values = settings([run("a"), run("b", hashes={"plugins": "x"})])
    assert values["plugins"] == {"not recorded": ["a"], "x": ["b"]}
    mixed = [run("a", hashes={"plugins": "x"}), run("b", seed=1, hashes={"plugins": "y"})]
    assert names(arms(mixed, ["plugins"])) == {"rloo": ["a", "b"]}
