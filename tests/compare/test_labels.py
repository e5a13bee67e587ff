"""What metrics are called, on the record of a real run: words, never their keys."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from align_lab.base.metrics import of_task
from align_lab.compare.analysis import analyze
from align_lab.compare.labels import usual
from align_lab.compare.report import words
from align_lab.config import study as studies
from tests.compare.folders import edit, write_run


def recorded(*command: str) -> dict[str, dict[str, str]]:
    """What a run's manifest holds of its metrics, in which most have no label of their own."""
    (cfg,) = studies.read(list(command), multirun=False).runs
    return {name: {**asdict(metric), "judge": ""} for name, metric in of_task(cfg.values).items()}


@pytest.fixture
def document(tmp_path):
    metrics = recorded("algo=rloo")
    for algo, end in (("rloo", 1.0), ("dpo", 0.5)):
        for seed in range(3):
            run = write_run(tmp_path, algo, seed, (0.0, end + seed / 10), eval_gold_score_failed=(0.0, 0.1))
            edit(run / "manifest.json", metrics=metrics)
    return analyze([tmp_path])


def test_no_metric_of_a_real_run_is_called_by_its_key(document):
    labels = {name: one["label"] for name, one in document["metrics"].items()}
    assert labels["eval/gold_score"] == "gold score" and labels["eval/win_rate"] == "win rate"
    assert labels["eval/gold_score_se"] == "gold score, standard error" and labels["objective/scores"] == "scores"
    assert [label for label in labels.values() if not label or "eval/" in label] == []


def test_two_metrics_of_an_evaluation_with_one_label_are_told_apart_by_their_keys(tmp_path):
    run = write_run(tmp_path, "rloo", 0)
    edit(run / "manifest.json", metrics={name: {"label": "score"} for name in ("eval/score", "eval/gold_score")})
    labels = {name: one["label"] for name, one in analyze([tmp_path])["metrics"].items()}
    assert labels["eval/gold_score"] == "score (eval/gold_score)" and labels["eval/score"] == "score (eval/score)"


def test_a_unit_is_said_once(document):
    assert words.meaning(document, "eval/gold_score").count("sd of human reviews") == 1
    assert words.meaning(document, "eval/vader").count("-1 to 1") == 1
    assert words.meaning(document, "eval/score").endswith("(sd of human reviews)")
    assert usual("eval/kl")["unit"] in words.meaning(document, "eval/kl")
