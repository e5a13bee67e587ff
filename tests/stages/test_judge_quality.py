"""How good a judge is: from what its artefact measured, beside people, and a warning where it is near chance."""

import json

import pytest

from align_lab.base.metrics import METRICS
from align_lab.record.final_summary import FinalSummary
from align_lab.stages.judge_quality import of_stages, quality, quality_of
from align_lab.stages.store import Stage, Store


def test_the_words_name_the_accuracy_and_that_of_people():
    judge = quality({"accuracy": 0.7311900282220132, "accuracy_1_apart": 0.81, "human_ceiling": 0.9, "vader": 0.64})
    assert judge.words == "right on 73 % of held-out pairs (one person: 90 %)" and not judge.near_chance
    assert quality({"accuracy": 0.7186}).words == "right on 72 % of held-out pairs"


@pytest.mark.parametrize(
    ("accuracy", "pairs", "low", "high"),
    [(0.6, 100, 0.5020, 0.6906), (0.6, 50, 0.4618, 0.7239), (1.0, 10, 0.7225, 1.0), (0.0, 10, 0.0, 0.2775)],
)
def test_the_interval_is_wilsons(accuracy, pairs, low, high):
    """Values of the table of Brown, Cai and DasGupta's formula, computed by hand."""
    judge = quality({"accuracy": accuracy, "pairs": pairs})
    assert (judge.low, judge.high) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize(
    ("measured", "near"),
    [
        ({"accuracy": 0.6, "pairs": 100}, False),
        ({"accuracy": 0.6, "pairs": 50}, True),
        ({"accuracy": 0.4, "pairs": 5000}, True),
        ({"accuracy": 0.56}, False),
        ({"accuracy": 0.54}, True),
        ({"accuracy": 0.56, "pairs": 0}, False),  # no number of pairs: as if none were known
        ({"accuracy": 0.54, "pairs": 0}, True),
    ],
)
def test_near_chance_is_an_interval_that_includes_one_half(measured, near):
    assert quality(measured).near_chance is near


@pytest.mark.parametrize("measured", [{}, {"loss": 1.0}, {"accuracy": "high"}, {"accuracy": 2.0}])
def test_what_measured_no_accuracy_is_no_judge(measured):
    assert quality(measured) is None


class Notices:
    def __init__(self):
        self.lines = []

    def notice(self, text):
        self.lines.append(text)

    def stage(self, title):
        from align_lab.stages.store import Quiet

        return Quiet().stage(title)


@pytest.mark.parametrize(("accuracy", "warned"), [(0.52, True), (0.9, False)])
def test_a_judge_near_chance_is_warned_of_when_it_is_built(tmp_path, accuracy, warned):
    def build(folder, inputs):
        (folder / "metrics.json").write_text(json.dumps({"accuracy": accuracy, "pairs": 200}))

    screen = Notices()
    built = Store(tmp_path, screen).get(Stage(kind="judge", settings={}, build=build, title="my judge"))
    assert quality_of(built.path).accuracy == accuracy
    warnings = [line for line in screen.lines if line.startswith("WARNING: the my judge is hardly better than chance")]
    assert len(warnings) == warned
    if warned:
        assert "52.0 % of held-out pairs, 95 % interval 45.1 to 58.8 %" in warnings[0]


def test_the_judges_of_a_run_by_the_metrics_that_they_give(tmp_path):
    for name, measured in {"reward": {"accuracy": 0.7}, "gold": {"accuracy": 0.8}, "sft": {"accuracy": 0.9}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(measured))
    (tmp_path / "untrained").mkdir()
    stages = {"reward": "reward", "policy": "sft", "judges.gold_score": "gold", "judges.vader": "untrained"}
    known = of_stages({stage: tmp_path / name for stage, name in stages.items()})
    assert {key: judge.accuracy for key, judge in known.items()} == {"eval/score": 0.7, "eval/gold_score": 0.8}


def test_the_table_of_results_says_how_good_a_judge_is():
    summary = FinalSummary(METRICS, "eval/score", quality={"eval/score": "right on 73 % of held-out pairs"})
    rows = {row.key: row.meaning for row in summary.rows()}
    assert rows["eval/score"].endswith("; right on 73 % of held-out pairs")
    assert "held-out" not in rows["eval/win_rate"]
