"""Scores that fall into two groups: which are seen, how often normal ones are taken for such, and where it is said."""

import numpy as np
import pytest

from align_lab.compare.analysis import analyze
from align_lab.compare.mixture import APART, of_arms, smaller_group, unseen
from tests.compare.folders import write_study
from tests.compare.test_coverage import bimodal, collapsing, normal

STEADY = [1.0, 1.05, 0.95, 1.1, 0.98, 1.02]


def widest(x):
    """The largest distance between neighbours in shares of the range, over the last axis."""
    x = np.sort(x, axis=-1)
    return np.diff(x, axis=-1).max(-1) / (x[..., -1] - x[..., 0])


@pytest.mark.parametrize("n", [4, 6, 12, 30])
def test_of_a_hundred_normal_arms_one_is_taken_for_two_groups(n):
    share = (widest(normal(np.random.default_rng(n), (40_000, n))) > APART[n]).mean()
    assert share == pytest.approx(0.01, abs=0.002)  # four standard errors


def test_the_table_has_every_number_of_seeds():
    assert sorted(APART) == list(range(4, 31))


def test_arms_in_which_both_kinds_of_run_are_seen_are_recognised():
    rng = np.random.default_rng(0)
    for law, n, least in ((collapsing, 6, 1.0), (collapsing, 12, 1.0), (bimodal, 6, 0.9), (bimodal, 12, 1.0)):
        x = law(rng, (400, n))
        both = x[(x.max(1) > 0) & (x.min(1) < 0)]
        found = [bool(smaller_group(dict(enumerate(row)))) for row in both.tolist()]
        assert np.mean(found) >= least, (law.__name__, n)


def test_the_group_is_named_by_its_seeds():
    assert smaller_group(dict(enumerate([*STEADY, -4.0, -4.1]))) == (6, 7)
    assert smaller_group({3: 0.0, 5: 1.0, 7: 1.01, 9: 1.02}) == (3,)
    assert smaller_group(dict(enumerate(STEADY))) == smaller_group({0: 1.0, 1: 5.0, 2: 1.0}) == ()
    assert smaller_group(dict.fromkeys(range(8), 1.0)) == ()


def test_a_build_with_which_all_arms_fail_is_no_group_where_seeds_are_paired():
    builds = [0.0, 0.1, -0.1, 0.05, 0.0, -9.0]
    values = {arm: dict(enumerate(np.add(builds, own))) for arm, own in zip("abc", _own(), strict=True)}
    assert set(of_arms(values, paired=False)) == {"a", "b", "c"}
    assert of_arms(values, paired=True) == {}
    values["b"][2] -= 5
    assert of_arms(values, paired=True) == {"b": (2,)}


def _own():
    return np.array([[0.1, -0.1, 0.0, 0.05, -0.05, 0.02], [0.0, 0.1, -0.1, -0.02, 0.04, 0.06], np.linspace(1, 1.3, 6)])


def test_the_verdict_is_beside_its_warning(tmp_path):
    write_study(tmp_path / "s", {"rloo": STEADY, "ppo": [0.5, 0.55, 0.52, 0.48, 0.51, -4.0]})
    document = analyze([tmp_path / "s"])
    (warning,) = document["verdict"]["warnings"]
    assert warning.startswith("The scores of ppo (seed 5 far from its other 5) fall into two groups")
    assert "seeds.first=12" in warning
    write_study(tmp_path / "steady", {"rloo": STEADY, "ppo": [value - 1 for value in STEADY]})
    assert analyze([tmp_path / "steady"])["verdict"]["warnings"] == []


@pytest.mark.parametrize("runs", [3, 5, 14])
def test_what_can_go_unseen_is_unseen_in_one_case_of_twenty(runs):
    assert (1 - unseen(runs)) ** runs == pytest.approx(0.05)
