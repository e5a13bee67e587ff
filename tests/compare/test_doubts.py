"""A judge near chance that decides a study is said beside its verdict, wherever that is shown."""

from __future__ import annotations

import pytest

from align_lab.compare.analysis import analyze
from align_lab.compare.report.markdown import markdown
from align_lab.compare.report.page import html
from align_lab.stages.judge_quality import quality
from tests.compare.folders import LABELS, edit, write_run

SAID = (
    "The gold score, which decides here, is hardly better than chance: 51.0 % of held-out pairs, 95 % interval 48.8 to "
    "53.2 %. What it says of a policy means little. Train it on more pairs or for more epochs, or choose another."
)  # Wilson's interval of 1,020 of 2,000


def compared(folder, metric, accuracy):
    """The comparison of a study whose judge of that metric has this accuracy on 2,000 pairs."""
    judge = quality({"accuracy": accuracy, "pairs": 2000})
    for arm, gold in (("ppo", 0.9), ("rloo", 0.1)):
        for seed in range(3):
            run = write_run(folder, arm, seed, gold=[0.0, gold + 0.01 * seed])
            said = {"judge": judge.words, "doubt": judge.doubt}
            edit(run / "manifest.json", metrics=LABELS | {metric: LABELS[metric] | said})
    return analyze([folder])


def test_a_judge_near_chance_that_decides_is_said_beside_the_verdict_on_the_page_too(tmp_path):
    document = compared(tmp_path, "eval/gold_score", 0.51)
    assert document["verdict"]["warnings"] == [SAID]
    assert SAID in html(document) and SAID in markdown(document, [])


@pytest.mark.parametrize(("metric", "accuracy"), [("eval/gold_score", 0.72), ("eval/vader", 0.51)])
def test_a_better_judge_and_one_that_decides_nothing_are_not(tmp_path, metric, accuracy):
    assert compared(tmp_path, metric, accuracy)["verdict"]["warnings"] == []
