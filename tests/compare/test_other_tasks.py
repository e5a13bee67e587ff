"""A comparison of another task speaks its words: its metric, its labels, its units."""

import json

import pytest

from align_lab.base.errors import ConfigError
from align_lab.compare.analysis import analyze
from align_lab.compare.report import trust
from tests.compare.folders import edit, write_run
from tests.compare.test_analysis import said


def accuracy(path, gold, **more):
    """A run of another task: what decides is a judge of its own, with its own label and unit."""
    label = {"label": "accuracy", "meaning": "share of right answers", "unit": "share", "better": "higher"}
    judges = {"evaluation.metric": "eval/right", "evaluation.judges.right.name": "exact_match"}
    run = write_run(
        path, "rloo", 0, gold, config={"evaluation.judges.gold_score.name": "none", **judges}, eval_right=gold, **more
    )
    edit(run / "manifest.json", metrics={"eval/right": label, "eval/score": {**label, "label": "reward", "unit": ""}})
    return run


def test_another_task_is_shown_in_its_own_words(tmp_path):
    accuracy(tmp_path, (0.0, 0.8, 0.2), eval_score=(0.0, 1.0, 2.0), eval_kl=(0.0, 4.0, 9.0))
    document = analyze([tmp_path])
    assert (document["metric"], document["metrics"]["eval/right"]["unit"]) == ("eval/right", "share")
    assert said(document, "rloo: 1 of 1 runs was over-optimized: accuracy peaked while the reward rose")
    assert "gold" not in json.dumps({**document, "comparability": {}, "curves": [], "metrics": {}, "arms": []})


def test_how_good_the_judge_that_decides_is_stands_among_the_reasons_to_trust_it(tmp_path):
    for seed in range(2):
        run = write_run(tmp_path, "rloo", seed)
        labels = json.loads((run / "manifest.json").read_text())["metrics"]
        edit(
            run / "manifest.json", metrics={"eval/gold_score": {**labels["eval/gold_score"], "judge": "right on 72 %"}}
        )
    (measured,) = [text for about, text, _ in trust.reasons(analyze([tmp_path])) if about == "Measured by"]
    assert measured.startswith("Gold score: ") and measured.endswith("; right on 72 %.")


def test_where_the_reward_decides_there_is_no_over_optimization_and_it_is_said(tmp_path):
    for seed in range(2):
        write_run(tmp_path, "rloo", seed, config={"evaluation.metric": "eval/score"})
    document = analyze([tmp_path])
    assert document["metric"] == "eval/score" and document["overoptimization"] == []
    assert len(said(document, "no over-optimization can be seen")) == 1 and document["frontier"]


def test_runs_that_decide_by_different_metrics_are_refused(tmp_path):
    write_run(tmp_path, "rloo", 0)
    write_run(tmp_path, "dpo", 0, config={"evaluation.metric": "eval/score"})
    document = analyze([tmp_path])
    assert document["verdict"]["sentence"] == "Not comparable: the runs differ in evaluation.metric."


def test_a_metric_that_is_better_where_it_is_lower_does_not_decide(tmp_path):
    run = accuracy(tmp_path, (0.0, 0.5))
    edit(run / "manifest.json", metrics={"eval/right": {"label": "errors", "better": "lower"}})
    with pytest.raises(ConfigError, match="better where it is lower"):
        analyze([tmp_path])
