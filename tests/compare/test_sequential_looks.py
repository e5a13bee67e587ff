"""Which seeds come next, and what each pair's end is called."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from align_lab.base.errors import ConfigError
from align_lab.base.seed_plan import SeedPlan, seed_plan
from align_lab.compare.sequential.bounds import levels
from align_lab.compare.sequential.looks import take

PLAN = SeedPlan(first=4, most=24, smallest=0.5)
PATIENT = SeedPlan(first=4, most=24, smallest=0.01, hopeless=0.0)  # only a difference ends a pair


def arms(seeds=24, **means):
    """Values with a spread of 0.1 around each mean."""
    rng = np.random.default_rng(0)
    return {name: dict(enumerate(mean + 0.1 * rng.normal(size=seeds))) for name, mean in means.items()}


def looks(values, plan=PLAN, control=""):
    return take(values, plan, levels(plan, len(values), control=bool(control)), control=control)


def outcomes(result):
    return {(pair.a, pair.b): pair.outcome for pair in result.pairs}


def test_the_first_look_wants_the_first_seeds_of_every_arm():
    nothing = looks({"a": {}, "b": {}, "c": {}})
    assert nothing.taken == 0 and nothing.wanted == {"a": 4, "b": 4, "c": 4}
    assert nothing.missing["a"] == (0, 1, 2, 3) and not nothing.ended


def test_a_beaten_arm_gets_no_further_seeds():
    values = arms(seeds=4, good=2.0, fair=1.95, bad=0.0)
    result = looks(values, PATIENT)
    assert outcomes(result)["good", "bad"] == "better"
    assert "bad" not in result.wanted and result.wanted == {"good": 6, "fair": 6}


def test_a_pair_with_a_beaten_arm_is_stopped_and_not_called_equal():
    values = arms(seeds=24, good=9.0)
    rng = np.random.default_rng(1)
    for name in ("x", "y"):
        values[name] = dict(enumerate(2 * rng.normal(size=24)))
    result = looks(values, PATIENT)
    assert outcomes(result) == {("good", "x"): "better", ("good", "y"): "better", ("x", "y"): "stopped"}
    assert result.ended and result.pairs[0].seeds < 24


def test_arms_within_the_smallest_gap_end_as_equal():
    result = looks(arms(a=1.0, b=1.02))
    assert outcomes(result) == {("a", "b"): "equal"} and result.pairs[0].seeds == 4


def test_what_cannot_be_seen_any_more_is_given_up():
    rng = np.random.default_rng(2)
    values = {name: dict(enumerate(5 * rng.normal(size=24))) for name in "ab"}
    (pair,) = looks(values).pairs
    assert pair.outcome == "hopeless" and pair.power_left < 0.1


def test_a_pair_whose_gap_may_still_be_shown_is_not_given_up_for_a_smaller_one():
    """Seeds 0 to 3 of two arms of docs/studies/five_algorithms.md: a gap of 0.30, three times the smallest that
    matters, which the first rules gave up with 6 % power for 0.1."""
    scores = {"first": (1.626, 1.751, 1.152, 1.316), "second": (1.369, 1.211, 0.918, 1.140)}
    values = {arm: dict(enumerate(row)) for arm, row in scores.items()}
    plan, its_levels = SeedPlan(first=4, step=2, most=12, smallest=0.1), (0.0005, 0.001, 0.001, 0.002, 0.0025)
    before, now = (take(values, plan, its_levels, rules=rules).pairs[0] for rules in (1, 2))
    assert (before.outcome, now.outcome) == ("hopeless", "open")
    assert before.power_left < 0.1 < now.power_left


def test_a_pair_that_was_given_up_is_decided_where_both_arms_got_further_seeds():
    """At four seeds a and b do not differ in the mean, and c goes on against both."""
    plan = SeedPlan(first=4, step=4, most=8, smallest=0.01, paired=True)
    gaps = {"a": (1, -1, 1, -1, 3, 3, 3, 3), "b": (0,) * 8, "c": (-2, -1, -2, -1, 0, 1, 2, 3)}
    values = {arm: dict(enumerate(map(float, row))) for arm, row in gaps.items()}
    four = {arm: {seed: row[seed] for seed in range(4)} for arm, row in values.items()}
    assert outcomes(take(four, plan, (0.001, 0.1))) == {("a", "b"): "hopeless", ("a", "c"): "open", ("b", "c"): "open"}
    assert take(values, plan, (0.001, 0.1), rules=1).pairs[0].outcome == "hopeless"
    (pair, *_) = take(values, plan, (0.001, 0.1)).pairs
    assert (pair.a, pair.b, pair.better, pair.seeds) == ("a", "b", "a", 8)


def test_a_run_that_diverged_counts_as_the_worst_or_is_waited_for():
    values = arms(seeds=4, a=1.0, b=3.0)
    del values["b"][2]
    worst = min(min(row.values()) for row in values.values())
    starts = {"b": {2: 1.5}}
    now = take(values, PATIENT, levels(PATIENT, 2, control=False), starts=starts)
    (pair,) = now.pairs
    assert now.counted == {"b": {2: worst}} and not now.diverged
    known = [values["b"].get(seed, worst) for seed in range(4)]
    assert pair.gap.mean == pytest.approx(np.mean([*values["a"].values()]) - np.mean(known))
    (pair,) = take(values, PATIENT, levels(PATIENT, 2, control=False), starts={"b": {2: -1.0}}).pairs
    assert pair.gap.mean == pytest.approx(np.mean([*values["a"].values()]) - np.mean([*values["b"].values(), -1.0]))
    waiting = take(values, replace(PATIENT, diverged="wait"), levels(PATIENT, 2, control=False), starts=starts)
    assert waiting.missing == waiting.diverged == {"b": (2,)} and not waiting.counted


def test_a_run_that_diverged_has_the_lowest_score_of_the_last_look_of_its_arm():
    """The look at five seeds sees a lower score than the one at four."""
    plan, rows = replace(PATIENT, step=1, most=5), {"a": (3.0, 3.1, 2.9, 3.0, 0.5), "b": (1.2, 9.0, 3.3, 2.0, 3.0)}
    values = {arm: dict(enumerate(row)) for arm, row in rows.items()}
    del values["b"][1]
    assert take(values, plan, (1e-6, 1e-6), starts={"b": {1: math.nan}}).counted == {"b": {1: 0.5}}


def test_a_look_whose_runs_all_diverged_has_nothing_to_compare_with():
    starts = {arm: dict.fromkeys(range(4), 0.0) for arm in "ab"}
    now = take({"a": {}, "b": {}}, PATIENT, levels(PATIENT, 2, control=False), starts=starts)
    assert now.taken == 0 and now.diverged == now.missing == {"a": (0, 1, 2, 3), "b": (0, 1, 2, 3)}


def test_the_last_seeds_end_a_pair_that_is_still_open():
    plan = SeedPlan(first=4, step=2, most=6, smallest=0.1, hopeless=0.0)
    rng = np.random.default_rng(3)
    (pair,) = looks({name: dict(enumerate(rng.normal(size=6))) for name in "ab"}, plan).pairs
    assert pair.outcome == "most" and pair.seeds == 6 and pair.better is None


def test_with_a_control_only_its_pairs_are_asked():
    result = looks(arms(a=1.0, b=1.2, control=1.1), control="control")
    assert set(outcomes(result)) == {("a", "control"), ("b", "control")}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_look_waits_for_every_seed_that_it_is_to_see(value):
    values = arms(seeds=24, a=1.0, b=1.1)
    values["a"][2] = value
    result = looks(values)
    assert result.taken == 0 and result.missing == {"a": (2,)} and result.wanted == {"a": 4, "b": 4}


def test_further_seeds_that_are_there_already_change_no_look():
    """A study that is read later gives the looks that it was decided by."""
    whole = arms(seeds=24, a=1.0, b=1.9)
    first = {name: {seed: row[seed] for seed in range(4)} for name, row in whole.items()}
    assert looks(whole).pairs == looks(first).pairs


def test_runs_that_always_give_the_same_number_are_decided_at_once():
    same = {"a": dict.fromkeys(range(4), 1.0), "b": dict.fromkeys(range(4), 2.0)}
    assert looks(same).pairs[0].better == "b"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"first": 2}, "seeds.first must be >= 3 (got 2)"),
        ({"most": 3}, "Type seeds.most=6"),
        ({"step": 20, "most": 12}, "goes beyond seeds.most=12. Type seeds.step=6 for two looks, at 6 and 12 seeds"),
        ({"paired": "no"}, "seeds.paired=no is not known"),
        ({"diverged": "leave"}, "seeds.diverged=leave is not known"),
        ({"step": 0}, "seeds.step must be >= 1"),
        ({"stop": "never"}, "seeds.stop=never is not known"),
        ({"confidence": 1.0}, "seeds.confidence must be"),
        ({"smallest": 0}, "seeds.smallest must be > 0"),
        ({"hopeless": 1.0}, "seeds.hopeless must be"),
        ({"frist": 4}, "seeds.frist is not known: did you mean 'first'"),
        ({"most": "many"}, "seeds.most=many: it must be a whole number"),
        ({"first": True}, "seeds.first=True: it must be a whole number"),
    ],
)
def test_a_plan_says_what_is_wrong_with_it(wrong, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        seed_plan(wrong)


def test_the_last_look_is_at_most_seeds_also_where_the_steps_do_not_meet_it():
    assert SeedPlan(first=4, step=5, most=12).looks == (4, 9, 12)
