"""A study with a control: every other arm is compared with it, and only with it."""

from __future__ import annotations

import json

import pytest

from align_lab.base.errors import ConfigError
from align_lab.compare.analysis import analyze
from align_lab.compare.asked import Asked
from align_lab.compare.headline import headline_against
from align_lab.compare.statistics import welch_interval
from align_lab.compare.verdict import verdicts
from align_lab.config import study as studies
from align_lab.record.layout import StudyLayout
from tests.compare.folders import write_study

ARMS = {"full": [1.0, 1.1, 1.2], "without_kl": [0.0, 0.1, 0.2], "more": [2.0, 2.1, 2.2], "same": [1.0, 1.1, 1.21]}


def test_only_pairs_with_the_control_are_made_and_corrected_for():
    comparisons = verdicts(ARMS, control="full")
    assert [(one.a, one.b) for one in comparisons] == [("more", "full"), ("same", "full"), ("full", "without_kl")]
    expected = welch_interval([2.0, 2.1, 2.2], [1.0, 1.1, 1.2], confidence=1 - 0.05 / 3)
    assert comparisons[0].gap.low == pytest.approx(expected.low)


def test_the_sentence_names_the_arms_by_what_is_shown_of_them():
    comparisons = verdicts(ARMS, control="full", smallest=0.5)  # ±3.961 · 0.1 · √(2/3); same: sd 0.105
    assert headline_against("full", comparisons) == (
        "Better than full: more (by 1.00 [0.68, 1.32]); worse: without_kl (by 1.00 [0.68, 1.32]); equal to within "
        "±0.5: same (gap 0.00 [−0.33, 0.34]) (corrected for 3 comparisons)."
    )
    worse = verdicts({name: ARMS[name] for name in ("full", "without_kl")}, control="full")
    assert headline_against("full", worse) == "Worse than full: without_kl (by 1.00 [0.77, 1.23])."
    unsure = verdicts({"full": [0.0, 1.0], "other": [0.1, 1.2]}, control="full", smallest=0.1)
    assert headline_against("full", unsure) == "Against full: not enough seeds: other (gap 0.1 [−3.1, 3.4])."
    similar = verdicts({"grpo": [0.0, 1.0], "dr_grpo": [0.1, 1.2]}, control="grpo")
    assert headline_against("grpo", similar) == ("Against grpo: no difference shown: dr_grpo (gap 0.1 [−3.1, 3.4]).")


@pytest.fixture
def study(tmp_path):
    write_study(tmp_path / "st", ARMS)
    return tmp_path / "st"


def test_the_control_of_the_command_and_that_of_the_study_file(study):
    assert len(analyze([study])["verdict"]["pairs"]) == 6
    asked = analyze([study], asked=Asked(control="full"))["verdict"]
    assert len(asked["pairs"]) == 3 and "Better than full: more (by 1.00 " in asked["sentence"]
    assert asked["method"].endswith("over all pairs with full")
    declared = StudyLayout(study).expected_runs
    declared.parent.mkdir(parents=True)
    declared.write_text(json.dumps({"runs": {}, "control": "same"}))
    assert {"same"} < {name for pair in analyze([study])["verdict"]["pairs"] for name in (pair["a"], pair["b"])}
    assert analyze([study])["verdict"]["method"].endswith("over all pairs with same")
    with pytest.raises(ConfigError, match="there is no such arm. did you mean 'full'"):
        analyze([study], asked=Asked(control="fulll"))


def test_a_sweep_file_whose_control_is_no_arm_is_refused():
    overrides = ["sweeps=five_algorithms", "control=rlo"]
    with pytest.raises(ConfigError, match=r"control=rlo is none of the arms. did you mean 'rloo'"):
        studies.read(overrides)
    assert studies.read(["sweeps=five_algorithms", "control=rloo"]).settings.control == "rloo"
