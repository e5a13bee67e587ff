"""The study beside TRL: what is reported of the results, and that a finished seed is not trained again."""

from __future__ import annotations

import json
import re

import pytest

from benchmarks.trl_study import ours
from benchmarks.trl_study.arms import ARMS
from benchmarks.trl_study.report import METRICS, compared, markdown
from benchmarks.trl_study.running import result
from tests.docs.snippets import CHECKOUT


def seed(gold_ours: float, gold_trl: float) -> dict:
    other = dict.fromkeys(METRICS, 0.5)
    return {
        "ours": other | {"eval/gold_score": gold_ours},
        "trl": other | {"eval/gold_score": gold_trl},
        "seconds": {"ours": 60.0, "trl": 120.0},
        "settings": {"train": {"steps": 60, "prompts_per_step": 16, "group_size": 4}},
        "versions": {"trl": "1.16.0"},
    }


def test_differences_are_trl_minus_ours_and_paired_by_seed():
    gold = compared({"dpo": [seed(0.1, 0.2), seed(0.5, 0.7), seed(0.3, 0.3)]})["dpo"]["eval/gold_score"]
    assert gold["ours"] == pytest.approx(0.3) and gold["trl"] == pytest.approx(0.4)
    assert gold["welch"]["mean"] == pytest.approx(0.1) and gold["paired"]["mean"] == pytest.approx(0.1)
    half = 4.302652729911275 * 0.1 / 3**0.5  # Student's t of 2 degrees of freedom; the differences are 0.1, 0.2, 0
    assert gold["paired"]["low"] == pytest.approx(0.1 - half)
    assert gold["welch"]["high"] - gold["welch"]["low"] > 2 * half


def test_the_table_has_a_row_a_metric_and_no_interval_of_one_seed():
    one = markdown({"dpo": [seed(0.1, 0.2)]})
    assert "| dpo | gold score (decides) | 0.100 | 0.200 | +0.100 | +0.100 |" in one
    assert "nan" not in one and "60 steps of 16 x 4" in one and "ours 60 s, trl 120 s" in one
    assert "[" in markdown({"dpo": [seed(0.1, 0.2), seed(0.3, 0.3)]})


def test_a_finished_seed_is_read_and_another_setting_is_not(tmp_path, monkeypatch):
    def train(*_):
        raise RuntimeError("trained")

    monkeypatch.setattr(ours, "train", train)
    arm = ARMS["dpo"]
    asked = {"arm": "dpo", "ours": list(arm.ours), "theirs": dict(arm.theirs), "seed": 0, "steps": None}
    (tmp_path / "dpo-s0.json").write_text(json.dumps({"asked": asked, "ours": {"eval/score": 1.0}}))
    assert result(arm, 0, None, tmp_path)["ours"] == {"eval/score": 1.0}
    with pytest.raises(RuntimeError, match="trained"):
        result(arm, 0, 4, tmp_path)


def test_the_table_of_the_page_agrees_with_itself_and_with_its_sentences():
    """Ours + the difference = TRL; both intervals lie evenly around the difference; as many exclude 0 as are said."""
    text = (CHECKOUT / "docs" / "conformance.md").read_text(encoding="utf-8").partition("## Training with both")[2]
    number = r"([+-]?\d+\.\d+)"
    row = rf"^\| (dpo|rloo) \| ([^|]+) \| {number} \| {number} \|" + 2 * rf" {number} \[{number}, {number}\] \|" + "$"
    rows = [(name, metric, *map(float, rest)) for name, metric, *rest in re.findall(row, text, re.MULTILINE)]
    assert len(rows) == 2 * len(METRICS)
    for name, metric, here, there, *intervals in rows:
        for gap, low, high in (intervals[:3], intervals[3:]):
            assert here + gap == pytest.approx(there, abs=0.0016), (name, metric)
            assert low + high == pytest.approx(2 * gap, abs=0.0021) and low < gap < high, (name, metric)
    without_zero = [metric for name, metric, *_, low, high in rows if name == "rloo" and (low > 0 or high < 0)]
    assert without_zero == ["VADER"] and "its six intervals one excludes 0" in " ".join(text.split())
    (gold,) = [one for one in rows if one[:2] == ("rloo", "gold score (decides)")]
    assert f"of up to {gold[6]:.2f} for RLOO's gold score" in text
