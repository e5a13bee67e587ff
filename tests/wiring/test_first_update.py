"""At the first update with an experience, the policy that is trained is the one that sampled: its ratio is 1."""

from __future__ import annotations

import pytest

from tests.wiring.conftest import choice, names, needs_of

ONE_UPDATE = ("train.epochs=1", "train.minibatches=1")


@pytest.mark.parametrize("name", names())
def test_the_ratio_of_the_first_update_is_one_and_nothing_is_clipped(run, name):
    overrides, fields = choice(name)
    it = run(*overrides, *ONE_UPDATE, **fields)
    it.loop.run()
    assert it.algo.calls
    newest = needs_of(name).rounds is None and not needs_of(name).pairs  # every step is sampled by the newest policy
    for number, (now, x) in enumerate(it.algo.calls):
        if newest or number == 0:
            assert ((now.logp - x.logp_old) * x.mask).abs().max().item() < 1e-9, number
    row = it.rows[1]
    expected = {"val/ratio": 1.0, "policy/clipfrac_avg": 0.0, "policy/approxkl_avg": 0.0}
    shown = {key: value for key, value in expected.items() if key in row}
    assert {key: row[key] for key in shown} == pytest.approx(shown, abs=1e-6)


def test_the_algorithms_with_a_ratio_log_it(run):
    it = run("algo=ppo", *ONE_UPDATE)
    it.loop.run()
    assert {"val/ratio", "policy/clipfrac_avg", "policy/approxkl_avg"} <= it.rows[1].keys()
    assert it.rows[2]["val/ratio"] == pytest.approx(1, abs=1e-6)  # every step samples from the newest weights


def test_a_second_update_with_the_same_experience_has_another_ratio(run):
    it = run("algo=ppo", "train.epochs=2", "train.minibatches=1")
    it.loop.run()
    assert abs(it.rows[1]["val/ratio"] - 1) > 1e-4
