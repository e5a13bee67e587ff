"""What may differ between two runs and what may not."""

import pytest

from align_lab.compare.comparability import arms, differing, explain, unfair
from align_lab.compare.runs import Run


def run(name, algo="rloo", seed=0, hashes=None, **fields):
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
        fields=values,
        hashes={"policy": "a", "source": "b", **(hashes or {})},
        spent={},
        start={},
        final={},
    )


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
    ],
)
def test_a_setting_or_a_hash_that_differs_is_named_with_both_values(other, field):
    found = unfair([run("a"), other])
    assert list(found) == [field]
    assert field in explain(found) and " in a" in explain(found) and " in b" in explain(found)


def test_a_field_that_an_arm_does_not_have_is_not_applicable():
    found = differing([run("a"), run("b", algo="dpo", **{"algo.beta": 0.1})], "recipe")
    assert found["algo.beta"] == {"a": "not applicable", "b": 0.1}


def test_runs_of_one_recipe_are_an_arm_and_equal_names_are_told_apart():
    found = arms([run("a"), run("b", seed=1), run("c", **{"train.lr": 5e-4}), run("d", algo="dpo")])
    assert {name: [r.name for r in members] for name, members in found.items()} == {
        "rloo (train.lr=0.001)": ["a", "b"],
        "rloo (train.lr=0.0005)": ["c"],
        "dpo": ["d"],
    }
