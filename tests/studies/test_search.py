"""Spaces and points of a tuning: what the fields declare, what a sweep file writes, Sobol points and Optuna's."""

import pytest
import yaml

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.base.search_space import among, around, log, parse, uniform
from align_lab.base.tuning_plan import tuning_plan
from align_lab.config.composition import compose
from align_lab.studies import search


@pytest.mark.parametrize(
    ("tried", "u", "value"),
    [
        (log(0.01, 1), 0.5, 0.1),
        (uniform(0.9, 1), 0.25, 0.925),
        (uniform(0, 20).about(5), 0.99, 20),
        (log(1, 20).about(3), 0.0, 1),
        (around(4).about(2e-4), 0.0, 5e-5),
        (around(4).about(2e-4), 0.5, 2e-4),
        (among(1, 2, 4), 0.34, 2),
        (log(0.01, 1), 0.123456789, 0.0177),
    ],
)
def test_a_place_in_the_unit_interval_becomes_a_value(tried, u, value):
    assert tried.at(u) == pytest.approx(value)
    assert abs(tried.place(tried.at(u)) - u) < (0.35 if tried in (among(1, 2, 4),) else 0.05)


@pytest.mark.parametrize(
    ("text", "tried"),
    [
        ("log(1e-4, 1)", log(1e-4, 1)),
        ("uniform(0, 2)", uniform(0, 2)),
        (" around( 3 ) ", around(3)),
        ([0.1, 0.2], among(0.1, 0.2)),
    ],
)
def test_ranges_are_written_as_they_are_declared(text, tried):
    assert parse(text, "tune.space.a.train.lr") == tried


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("log(0, 1)", "both above 0"),
        ("log(1, 0.1)", "the lower one first"),
        ("uniform(1)", "takes two ends"),
        ("around(0.5)", "one factor above 1"),
        ("around(2, 3)", "one factor above 1"),
        ("around(2, 0)", "one factor above 1"),
        ("normal(0, 1)", r"is not understood\. Write log\(LOW, HIGH\)"),
        ("log(a, b)", "is not understood"),
        ([], "is not understood"),
        (7, "is not understood"),
    ],
)
def test_a_range_that_is_none_says_what_to_write(text, words):
    with pytest.raises(ConfigError, match=words):
        parse(text, "tune.space.a.train.lr")


SIZES = {name: ["train.group_size=2"] for name in ("sail_pp", "sail_pr", "sail_dp", "online_dpo", "sail_released")}


@pytest.mark.parametrize("tried", [log(0.01, 0.3), uniform(-1, 0), around(4), among(1, 2, 4), among("linear", "none")])
def test_a_range_is_typed_as_it_is_read(tried):
    typed = yaml.safe_load(tried.typed)
    assert parse(typed, "tune.space.a.train.lr") == tried


def test_the_default_of_every_declared_range_is_inside_it():
    """A search that could not find the recipe as the paper has it would be unfair to it."""
    registry.scan()
    for name in registry.names("algo"):
        cfg = compose([f"algo={name}", *SIZES.get(name, ())])
        for field, tried in search.space_of(name, cfg, written=None, fixed=()).items():
            group, _, key = field.partition(".")
            value = cfg[group][key]
            low, *_, high = sorted(tried.ends())
            assert low <= value <= high, (name, field, value)


def test_only_what_a_run_reads_is_tuned():
    rloo, ppo = (search.declared(compose([f"algo={name}"])) for name in ("rloo", "ppo"))
    assert set(rloo) == {"algo.kl_coef", "train.lr"}  # no critic, and its loss is right for one update alone
    assert {"train.critic_lr", "train.epochs", "algo.lam", "train.lr"} <= set(ppo)
    assert "train.lr" not in search.space_of("a", compose(["algo=rloo"]), written=None, fixed={"train.lr"})


@pytest.mark.parametrize(
    ("written", "fixed", "words"),
    [
        ({"train.learning_rate": "around(2)"}, (), r"tune\.space\.a\.train\.learning_rate: there is no such field"),
        (
            {"algo.kl_coef": "uniform(-1, 1)"},
            (),
            r"algo\.kl_coef must be >= 0 \(got -1\.0\)\. Write .* log\(0\.01, 0\.3\), which the field declares",
        ),
        ({"train.lr": "around(2)"}, ("train.lr",), "the arm or the command line sets this field"),
        ({}, (), "a has nothing to tune"),
        (None, ("algo.kl_coef", "train.lr"), r"nothing to tune.*tune\.space\.a=\{train\.lr: around\(3\)\}"),
    ],
)
def test_a_space_that_cannot_be_searched_says_why(written, fixed, words):
    with pytest.raises(ConfigError, match=words):
        search.space_of("a", compose(["algo=rloo"]), written=written, fixed=fixed)


@pytest.mark.parametrize(
    ("field", "tried", "words"),
    [
        ("sampling.temperature", [0.5, 1.0], r"it is a setting.*set it for all arms: sampling\.temperature=0\.7"),
        ("reward.epochs", [1, 2], "it is a setting"),
        ("evaluation.prompts", [64, 128], "it is a setting"),
        ("model.sft.epochs", [-3, 1], "it is a setting"),
        ("data.development", "log(10, 200)", "it is a setting"),
        ("hardware.numerics.dtype", ["bfloat16"], "it is a setting"),
        ("train.budget.episodes", [1920, 19200], r"it is a budget.*all arms: train\.budget\.episodes="),
        ("train.steps", [30, 300], "it is a budget"),
        ("train.micro_batch", [4, 8], "it changes no result"),
        ("seed", [1, 8], r"a seed is chance.*tune\.seeds="),
        ("preferences.seed", [1, 8], "a seed is chance"),
        ("algo.name", ["ppo"], r"an arm of its own: arms: \{NAME: \[algo=\.\.\.\]\}"),
        ("train.group_size", [2, 8], r"how many completions.*budget\.episodes=1920"),
        (
            "preferences.temperature",
            "uniform(-1, 1)",
            r"preferences\.temperature must be > 0 \(got -1\.0\).*within its bounds: log",
        ),
        ("train.max_grad_norm", "uniform(0, 1)", r"train\.max_grad_norm must be > 0 \(got 0"),
        ("train.weight_decay", "around(3)", r"the recipe has 0\.0, and around needs a number above 0"),
        ("train.minibatches", "log(0.4, 2)", r"train\.minibatches must be >= 1 \(got 0\)"),
        ("train.decay", "log(1, 2)", r"train\.decay=1\.0 is not known"),
    ],
)
def test_only_fields_of_a_recipe_are_tuned_and_within_their_bounds(field, tried, words):
    with pytest.raises(ConfigError, match=rf"tune\.space\.a\.{field.replace('.', '[.]')}.*{words}"):
        search.space_of("a", compose(["algo=rloo"]), written={field: tried}, fixed=())


@pytest.mark.parametrize("field", ["train.group_size", "train.prompts_per_step", "preferences.pairs"])
def test_the_completions_of_a_step_are_tuned_where_a_budget_ends_all_runs_alike(field):
    cfg = compose(["algo=rloo", "train.budget.episodes=1920"])
    assert search.space_of("a", cfg, written={field: [2, 8]}, fixed=())[field] == among(2, 8)


def test_arms_have_equal_values_in_the_fields_that_they_share():
    spaces = {
        name: search.space_of(name, compose([f"algo={name}"]), written=None, fixed=())
        for name in ("rloo", "ppo", "dpo")
    }
    points = search.sobol(spaces, 12)
    assert all(len(each) == 12 for each in points.values())
    for number in range(12):
        assert len({points[name][number]["train.lr"] for name in spaces}) == 1
        assert points["rloo"][number]["algo.kl_coef"] == points["ppo"][number]["algo.kl_coef"]
    rates = sorted(point["train.lr"] for point in points["rloo"])
    assert rates[0] < 1e-4 < 2.5e-4 < rates[-1] and len(set(rates)) == 12
    assert search.sobol({"rloo": spaces["rloo"]}, 3)["rloo"] == search.sobol({"rloo": spaces["rloo"]}, 12)["rloo"][:3]


def place_of(rate):
    return log(1e-5, 1e-1).place(rate)


def test_tpe_goes_where_the_scores_are():
    """A point drawn at random is 0.31 away from the best place in the mean."""
    space, told = {"train.lr": log(1e-5, 1e-1)}, []
    for _ in range(10):
        told += [(point, -abs(place_of(point["train.lr"]) - 0.75)) for point in search.tpe(space, told, 4)]
    assert -sum(score for _, score in told[20:]) / 20 < 0.2
    assert search.tpe(space, told, 4) == search.tpe(space, told, 4)
    assert search.tpe(space, [({"train.lr": 1e-3}, None)], 2)  # a run that diverged


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"trial": 3}, r"tune\.trial is not known: did you mean 'trials'"),
        ({"trials": 0}, r"tune\.trials must be >= 1"),
        ({"trials": "many"}, r"tune\.trials=many: it must be a whole number"),
        ({"seeds": [1, 7]}, "1 is also a seed of the study"),
        ({"seeds": []}, "a list of different seeds"),
        ({"seeds": [5, 5]}, "a list of different seeds"),
        ({"seeds": [True]}, "a list of different seeds"),
        ({"sampler": "grid"}, r"tune\.sampler=grid is not known"),
        ({"prune": "median"}, r"tune\.prune=median is not known.*allowed: False, asha, halving"),
        ({"space": "mine"}, r"tune\.space=mine: it must be declared"),
    ],
)
def test_a_plan_that_is_wrong_says_what_is_allowed(values, words):
    with pytest.raises(ConfigError, match=words):
        tuning_plan(values, seeds={0, 1, 2})


@pytest.mark.parametrize(
    ("seeds", "study", "words"),
    [
        ([100, 101], {0, 100}, r": 100 is also a seed of the study.* tune\.seeds=\[101,102\]"),
        ([100, 101], set(range(120)), r": 100, 101 are also seeds of the study.* tune\.seeds=\[120,121\]"),
        ([1, 2, 3], {0, 1}, r": 1 is also a seed of the study.* tune\.seeds=\[100,101,102\]"),
    ],
)
def test_seeds_of_the_study_are_refused_with_others_that_are_not(seeds, study, words):
    with pytest.raises(ConfigError, match=words) as error:
        tuning_plan({"seeds": seeds}, seeds=study)
    others = yaml.safe_load(str(error.value).rpartition("tune.seeds=")[2])
    assert tuning_plan({"seeds": others}, seeds=study).seeds == others


def test_asha_is_a_word_for_successive_halving_and_the_same_plan():
    plans = [tuning_plan({"prune": word}, seeds={0}) for word in ("asha", "halving")]
    assert plans[0] == plans[1] and plans[0].prune == "halving"
