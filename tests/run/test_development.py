"""The development set decides the best checkpoint; the evaluation sets take no part in that."""

import json

import pytest

from tests.run.test_runs import place, rows, run

__all__ = ["place"]  # a fixture


@pytest.mark.parametrize(
    ("prompts", "column"), [("128", "development/score"), ("0", "eval/score")], ids=["development", "without"]
)
def test_the_best_checkpoint_is_that_of_the_highest_score(place, prompts, column):
    command = ("algo=rloo", f"study=best{prompts}", "evaluation.every=1", "train.steps=3", "train.lr=1e-2")
    done = run(place, *command, f"evaluation.development={prompts}")
    assert done.returncode == 0, done.stderr
    (folder,) = (place / "runs" / f"best{prompts}").glob("[!.]*")
    scores = {row["step"]: row[column] for row in rows(folder)}
    assert len(scores) == 4 and len(set(scores.values())) > 1
    best = json.loads((folder / "checkpoints" / "best.json").read_text())
    assert best == {"step": max(scores, key=scores.get), "score": max(scores.values())}
    assert ("development/score" in rows(folder)[0]) == (prompts != "0")
