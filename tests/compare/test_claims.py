"""What a study file claims of two arms, and whether compare says that it held."""

from __future__ import annotations

import json

import pytest

from align_lab.base import claim
from align_lab.base.errors import ConfigError
from align_lab.compare import evaluations
from align_lab.compare.analysis import analyze
from align_lab.compare.report.markdown import markdown
from align_lab.compare.statistics import welch_interval
from align_lab.config import study as studies
from align_lab.record.layout import StudyLayout
from tests.compare.folders import write_run

ARMS = {"high": [1.0, 1.1, 1.2], "low": [0.0, 0.1, 0.2], "like_high": [1.0, 1.1, 1.21], "unsure": [0.0, 1.0, 2.9]}
TIGHT = {"x": [1.0, 1.001, 0.999], "y": [1.01, 1.011, 1.009]}


def groups(tmp_path, arms):
    folder = tmp_path / "st"
    for arm, values in arms.items():
        for seed, value in enumerate(values):
            write_run(
                folder, arm, seed, (0.0, value / 2, value), eval_kl=[0.0, 1.0, 3.0 if arm == "high" else 1.0 + value]
            )
    return folder


def outcome(tmp_path, arms, *texts, smallest=0.1):
    folder = groups(tmp_path, arms)
    declared = StudyLayout(folder).expected_runs
    declared.parent.mkdir(parents=True)
    declared.write_text(json.dumps({"runs": {}, "claims": list(texts), "smallest": smallest}))
    document = analyze([folder])
    return document, {one["claim"]: (one["outcome"], one["why"]) for one in document["claims"]}


def test_a_claim_has_an_interval_that_is_corrected_for_the_number_of_claims(tmp_path):
    document, found = outcome(tmp_path, ARMS, "high > low", "low > high", "high > unsure")
    first = document["claims"][0]
    expected = welch_interval(ARMS["high"], ARMS["low"], confidence=1 - 0.05 / 3)
    assert (first["low"], first["high"]) == pytest.approx((expected.low, expected.high))
    assert found["high > low"] == ("held", "") and found["low > high"] == ("did not hold", "high is higher")
    assert found["high > unsure"][0] == "inconclusive" and "would be needed" in found["high > unsure"][1]


def test_what_lies_within_the_gap_worth_seeing(tmp_path):
    _, found = outcome(tmp_path, TIGHT, "x = y", "x > y", "x >= y", "y > x")
    assert found["x = y"] == ("held", "within ±0.1") and found["x >= y"] == ("held", "not lower by 0.1")
    assert found["x > y"] == ("did not hold", "y is higher") and found["y > x"] == ("held", "")


def test_without_a_gap_that_matters_nothing_can_be_told_to_be_equal(tmp_path):
    _, found = outcome(tmp_path, TIGHT, "x = y", "y > x", smallest=None)
    assert found["x = y"] == ("did not hold", "y is higher") and found["y > x"] == ("held", "")
    same = {"x": [1.0, 1.001, 0.999], "y": [1.0, 1.002, 0.998]}
    _, found = outcome(tmp_path / "same", same, "x = y", "x >= y", "x > y", smallest=None)
    assert found["x = y"] == found["x >= y"] == ("inconclusive", "the study declares no smallest gap that matters")
    assert found["x > y"] == ("inconclusive", "")
    with pytest.raises(ConfigError, match="does not say which gap would: declare it"):
        studies.read(["sweeps=back_to_basics", "smallest=null", "claims=['rloo_4 >= ppo']"])


def test_no_difference_speaks_against_a_claim_of_one(tmp_path):
    _, found = outcome(tmp_path, {"x": [1.0, 1.001, 0.999], "y": [1.0, 1.002, 0.998]}, "x > y", "x = y")
    assert found["x > y"] == ("did not hold", "no difference beyond ±0.1") and found["x = y"][0] == "held"


def test_a_difference_speaks_against_a_claim_of_none(tmp_path):
    _, found = outcome(tmp_path, ARMS, "high = low", "low >= high")
    assert found == {
        "high = low": ("did not hold", "high is higher"),
        "low >= high": ("did not hold", "high is higher"),
    }


def test_a_claim_about_another_metric(tmp_path):
    document, found = outcome(tmp_path, ARMS, "low < high in eval/kl", "high < low in eval/kl")
    assert found["low < high in eval/kl"] == ("held", "") and found["high < low in eval/kl"][0] == "did not hold"
    assert document["claims"][0]["metric"] == "eval/kl" and document["claims"][0]["a"] == "high"
    assert "| low &lt; high in eval/kl | KL |" in markdown(document, []).replace("\\", "")


def test_a_claim_at_equal_kl_is_of_the_scores_where_every_run_of_both_arms_has_come(tmp_path):
    """KL is 0, 1, 1 + value at scores 0, value/2, value (high ends at 3): all of them reach 1, at value/2."""
    document, found = outcome(tmp_path, ARMS, "high > low at equal kl", "low > high in eval/score at equal tokens")
    halves = [[value / 2 for value in ARMS[arm]] for arm in ("high", "low")]
    expected = welch_interval(*halves, confidence=1 - 0.05 / 2)
    first, second = document["claims"]
    assert (first["gap"], first["low"], first["high"]) == pytest.approx((expected.mean, expected.low, expected.high))
    assert found["high > low at equal kl"] == ("held", "at 1 nats of KL a sequence")
    assert second["metric"] == "eval/score" and second["why"] == "at 4,000 generated tokens; high is higher"


def test_arms_that_were_never_at_one_kl_cannot_be_told(tmp_path):
    folder = tmp_path / "st"
    for seed in range(3):
        write_run(folder, "near", seed, (0.0, 0.5, 1.0), eval_kl=[0.0, 0.0, 0.0])
        write_run(folder, "far", seed, (0.0, 0.5, 1.0), eval_kl=[0.0, 1.0, 2.0])
    declared = StudyLayout(folder).expected_runs
    declared.parent.mkdir(parents=True)
    declared.write_text(json.dumps({"runs": {}, "claims": ["far > near at equal kl"], "smallest": 0.1}))
    (one,) = analyze([folder])["claims"]
    assert one["outcome"] == "inconclusive" and one["gap"] is None
    assert one["why"] == "not compared: a run did not record nats of KL a sequence, or never left its start"


def test_the_axes_of_claims_are_those_of_comparisons():
    assert {*claim.AXES, "episode"} == set(evaluations.AXES)


def test_an_arm_that_has_not_finished_cannot_be_told(tmp_path):
    _, found = outcome(tmp_path, TIGHT, "x > later")
    assert found["x > later"] == ("inconclusive", "no finished run of later")


def test_runs_that_may_not_be_compared_decide_no_claim(tmp_path):
    folder = groups(tmp_path, TIGHT)
    write_run(folder, "y", 7, config={"sampling.temperature": 1.0})
    assert analyze([folder])["claims"] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rloo beats ppo", "is not understood. Write 'A > B'"),
        ([1], r"claims: \[1\] is not understood. Write 'A > B'"),
        ("rloo > rloo", "compares an arm with itself"),
        ("rloo = ppo in eval/kl", "write A > B or A < B"),
        ("rloo > ppo at equal kll", "names the axis kll: did you mean 'kl'"),
        ("rloo > ppo at equal", "is not understood. Write 'A > B'.*' at equal AXIS'"),
    ],
)
def test_a_claim_that_cannot_be_decided_is_refused_with_what_to_write(text, words):
    with pytest.raises(ConfigError, match=words):
        claim.read(text)


def test_claims_of_a_sweep_file_are_checked_before_anything_runs():
    assert studies.read(["sweeps=back_to_basics"]).settings.claims
    with pytest.raises(ConfigError, match="names the arm 'rlo_4', which is not there: did you mean 'rloo_4'"):
        studies.read(["sweeps=back_to_basics", "claims=['rlo_4 > ppo']"])
    with pytest.raises(
        ConfigError, match="names the metric eval/kll, which no evaluation gives: did you mean 'eval/kl'"
    ):
        studies.read(["sweeps=back_to_basics", "claims=['rloo_4 < ppo in eval/kll']"])
    with pytest.raises(ConfigError, match="claims need a fixed number of seeds"):
        studies.read(["sweeps=back_to_basics", "seeds={first: 4, smallest: 0.1}"])
