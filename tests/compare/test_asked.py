"""What a study declares to ask: contrasts, the gap that matters, the metric; and what compare makes of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from align_lab.base import contrast
from align_lab.base.errors import ConfigError, DataError
from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.analysis import analyze
from align_lab.compare.asked import UNDECLARED, Asked
from align_lab.compare.sequential import bounds, plan_file
from align_lab.compare.statistics import welch_interval, welch_p
from align_lab.config import study as studies
from align_lab.dispatch import expected_runs
from align_lab.record.layout import StudyLayout
from align_lab.studies import look_study
from tests.compare.folders import name_of, write_run, write_study

ARMS = {"dr_grpo": [1.0, 1.1, 1.2], "grpo": [0.5, 0.6, 0.7], "rloo": [1.0, 1.1, 1.21], "ppo": [2.0, 2.1, 2.2]}
COMMAND = ["algo=rloo,grpo,ppo", "seeds=[0,1]"]


@pytest.fixture
def study(tmp_path):
    write_study(tmp_path / "st", ARMS)
    return tmp_path / "st"


def declare(folder, **what):
    path = StudyLayout(folder).expected_runs
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"runs": {}, **what}))
    return analyze([folder])


def said(document, text):
    return [note for note in document["notes"] if text in note]


def test_only_declared_contrasts_are_decided_and_corrected_for(study):
    verdict = declare(study, contrasts=[["dr_grpo", "grpo"], ["rloo", "ppo"]])["verdict"]
    assert [(pair["a"], pair["b"]) for pair in verdict["pairs"]] == [("ppo", "rloo"), ("dr_grpo", "grpo")]
    expected = welch_interval(ARMS["dr_grpo"], ARMS["grpo"], confidence=1 - 0.05 / 2)
    pair = verdict["pairs"][1]
    assert (pair["low"], pair["high"]) == pytest.approx((expected.low, expected.high))
    assert pair["p"] == pytest.approx(2 * welch_p(ARMS["dr_grpo"], ARMS["grpo"]))
    said = verdict["sentence"].replace("[", "(").split(" sd of human reviews (")[0]
    assert (
        said == "dr_grpo is better than grpo by 0.50" and "; ppo is better than rloo by 1.00 [" in verdict["sentence"]
    )
    assert verdict["method"].endswith("over the 2 declared contrasts")


def test_one_contrast_is_answered_alone_and_not_corrected(study):
    verdict = declare(study, contrasts=[["dr_grpo", "rloo"]], smallest=0.4)["verdict"]
    expected = welch_interval(ARMS["rloo"], ARMS["dr_grpo"])
    assert verdict["pairs"][0]["low"] == pytest.approx(expected.low)
    assert verdict["sentence"] == (
        "rloo and dr_grpo are equal to within ±0.4 sd of human reviews (gap 0.00 [−0.23, 0.24])."
    )
    assert verdict["smallest"] == 0.4 and verdict["contrasts"] == [["dr_grpo", "rloo"]]


def test_a_contrast_without_runs_is_named_and_still_counted(study):
    document = declare(study, contrasts=[["dr_grpo", "grpo"], ["rloo", "dpo"]])
    (pair,) = document["verdict"]["pairs"]
    expected = welch_interval(ARMS["dr_grpo"], ARMS["grpo"], confidence=1 - 0.05 / 2)
    assert pair["low"] == pytest.approx(expected.low)
    assert "rloo and dpo: not yet run (corrected for 2 comparisons)." in document["verdict"]["sentence"]
    assert said(document, "rloo against dpo is asked for, and has no finished run of both")


def test_a_contrast_of_arms_with_several_recipes_is_decided_for_those_that_are_alike(study, tmp_path):
    """Two studies of the same arms, one of them longer: each arm is two here, and the question is asked of both."""
    for arm, level in (("rloo", 3.0), ("dr_grpo", 2.0)):
        for seed in range(3):
            write_run(tmp_path / "longer", arm, seed, (0.0, 1.0, level + seed / 10), config={"train.steps": 60})
    declare(study, contrasts=[["rloo", "dr_grpo"]])
    document = analyze([study, tmp_path / "longer"])
    pairs = {(pair["a"], pair["b"]) for pair in document["verdict"]["pairs"]}
    assert pairs == {(f"rloo (train.steps={n})", f"dr_grpo (train.steps={n})") for n in (40, 60)}
    assert "rloo (train.steps=60) is better than dr_grpo (train.steps=60) by 1.00" in document["verdict"]["sentence"]
    assert "not yet run" not in document["verdict"]["sentence"]
    assert said(document, "several recipes of them here") and not said(document, "has no finished run of both")


def test_without_a_declared_gap_nothing_is_equal_and_the_first_page_says_so(study):
    document = analyze([study])
    assert document["verdict"]["smallest"] is None and UNDECLARED in document["notes"]
    pair = next(p for p in document["verdict"]["pairs"] if {p["a"], p["b"]} == {"dr_grpo", "rloo"})
    assert pair["words"] == "no difference shown" and pair["needed"] is None


def test_a_gap_that_the_command_chooses_is_marked_as_chosen_afterwards(study):
    declare(study, smallest=0.1, contrasts=[["dr_grpo", "grpo"]])
    document = analyze([study], asked=Asked(smallest=0.5, control="rloo"))
    assert document["verdict"]["smallest"] == 0.5 and document["verdict"]["contrasts"] == []
    assert said(document, "not declared before the runs: --control=rloo, --smallest=0.5")
    assert not said(analyze([study], asked=Asked(smallest=0.1)), "not declared before")


def test_arms_of_a_contrast_are_compared_however_far_down_they_stand(study):
    for place in range(30):
        write_run(study, f"arm{place}", 0, (0.0, 3.0, 5.0 + place))
    document = declare(study, contrasts=[["dr_grpo", "grpo"]])
    assert [(p["a"], p["b"]) for p in document["verdict"]["pairs"]] == [("dr_grpo", "grpo")]


def test_what_a_study_asks_is_recorded_with_it_and_stays_where_a_later_command_says_nothing(tmp_path):
    asked = ["contrasts=[[rloo,grpo]]", "smallest=0.2", "metric=eval/score"]
    study = studies.read([*COMMAND, *asked])
    assert {run["evaluation"]["metric"] for run in study.runs} == {"eval/score"}
    expected_runs.update(tmp_path, study)
    expected_runs.update(tmp_path, studies.read(COMMAND))
    recorded = expected_runs.read(tmp_path)
    assert (recorded["contrasts"], recorded["smallest"], recorded["metric"]) == ([["rloo", "grpo"]], 0.2, "eval/score")


@pytest.mark.parametrize("field", [{"smallest": "much"}, {"contrasts": True}, {"contrasts": [["a", "b", "c"]]}])
def test_what_a_study_asks_is_refused_with_its_file_where_it_is_damaged(tmp_path, field):
    write_study(tmp_path / "st", {"a": [0.1, 0.2], "b": [0.3, 0.4]})
    file = StudyLayout(tmp_path / "st").expected_runs
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"runs": {}, **field}))
    with pytest.raises(DataError, match=rf"expected_runs\.json is damaged: {next(iter(field))}.*rm "):
        analyze([tmp_path / "st"])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["contrasts=[[rloo,grp]]"], "names the arm 'grp', which is not there: did you mean 'grpo'"),
        (["contrasts=[[ppo,ppo]]"], "compares an arm with itself"),
        (["contrasts=[[rloo,grpo],[grpo,rloo]]"], "is there twice"),
        (["contrasts=[rloo,grpo]"], "rloo is not a pair of arms"),
        (["contrasts=rloo"], "it must be pairs of arms, for example"),
        (["contrasts=[[rloo,grpo]]", "control=ppo"], "leave one out"),
        (["contrasts=[[rloo,grpo]]", "seeds={first: 3, most: 5, smallest: 0.1}"], "ppo: in none of the contrasts"),
        (["metric=eval/gold_scor"], "evaluation.metric=eval/gold_scor is not known: did you mean 'eval/gold_score'"),
        (["smallest=0"], "smallest must be > 0"),
        (["smallest=0.2", "seeds={first: 3, most: 5, smallest: 0.3}"], "leave one of the two out"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_before_anything_runs(texts, message):
    given = {text.partition("=")[0]: text for text in [*COMMAND, *texts]}
    with pytest.raises(ConfigError) as refused:
        studies.read(list(given.values()))
    assert message in str(refused.value)


@pytest.mark.parametrize("text", ["smallest=0.2", "metric=eval/score", "contrasts=[[rloo,ppo]]"])
def test_a_single_run_asks_nothing_of_arms(text):
    with pytest.raises(ConfigError, match="and this is one run"):
        studies.read(["algo=rloo", text], multirun=False)


def test_the_gap_of_seeds_in_steps_is_the_studys():
    beside = studies.read([*COMMAND[:1], "smallest=0.2", "seeds={first: 3, most: 5}"])
    inside = studies.read([*COMMAND[:1], "seeds={first: 3, most: 5, smallest: 0.2}"])
    assert beside.seed_plan and beside.seed_plan == inside.seed_plan and beside.seed_plan.smallest == 0.2
    assert beside.settings.smallest == inside.settings.smallest == 0.2


PLAN = SeedPlan(first=4, step=1, most=6, smallest=0.3)
GOOD, BAD = [2.0, 2.1, 2.2, 2.15, 2.05, 2.1], [0.0, 0.1, 0.2, 0.1, 0.1, 0.1]
CLOSE = [2.0, 2.3, 1.8, 2.4, 1.9, 2.1]


def in_steps(tmp_path, **options):
    folder = tmp_path / "st"
    write_study(folder, {"good": GOOD, "bad": BAD, "close": CLOSE})
    names = {arm: tuple(name_of(arm, seed) for seed in range(6)) for arm in ("good", "bad", "close")}
    return folder, plan_file.declare(folder, PLAN, control="", metric="eval/gold_score", runs=names, **options)


def test_contrasts_decide_when_seeds_in_steps_end(tmp_path):
    """bad is beaten at the first look; close against bad is decided at its own."""
    folder, written = in_steps(tmp_path, contrasts=(("good", "bad"), ("good", "close")))
    document = analyze([folder])
    by_pair = {(pair["a"], pair["b"]): pair for pair in document["verdict"]["pairs"]}
    assert set(by_pair) == {("good", "bad"), ("good", "close")} or set(by_pair) == {("good", "bad"), ("close", "good")}
    assert document["verdict"]["sentence"].startswith("good is better than bad by ")
    assert written.levels == bounds.levels(PLAN, 3, control=True)
    assert document["verdict"]["method"].endswith("calibrated for the 2 declared contrasts")
    with pytest.raises(ConfigError, match=r"planned its looks for contrasts=\[\['good', 'bad'\]"):
        analyze([folder], asked=Asked(control="good"))
    with pytest.raises(ConfigError, match=r"contrasts: \(\('good', 'bad'\).*, now \(\)"):
        plan_file.declare(folder, PLAN, control="", metric="eval/gold_score", runs=written.runs)


def test_one_contrast_has_the_levels_of_two_arms():
    assert bounds.of_contrasts(PLAN, [("x", "y")]) == bounds.levels(PLAN, 2, control=False)


def test_contrasts_without_a_shared_arm_spend_the_error_together():
    """Two pairs of four arms are independent: at the first look each errs so often that both together spend it."""
    levels = bounds.simulated(PLAN, 4, control=False, pairs=[(0, 1), (2, 3)], draws=100_000)
    x = np.random.default_rng(5).standard_normal((100_000, 2, PLAN.most))
    one = float((bounds.smallest_p(x, PLAN.looks[:1], [(0, 1)])[0] <= levels[0]).mean())
    assert 0.8 * PLAN.spent(0) < 1 - (1 - one) ** 2 < 1.1 * PLAN.spent(0)


def test_a_plan_without_contrasts_keeps_the_hash_that_it_had(tmp_path):
    _, written = in_steps(tmp_path)
    assert "contrasts" not in plan_file._as_json(written)
    assert replace(written, contrasts=(("good", "bad"),)).digest != written.digest


def test_a_plan_of_the_first_rules_is_read_by_them_and_keeps_its_hash(tmp_path):
    """Written by hand as it was before there was anything else: unpaired, and a diverged run is waited for."""
    plan = {"first": 4, "step": 2, "most": 6, "stop": "verdict", "confidence": 0.95, "smallest": 0.3, "hopeless": 0.1}
    before = {"plan": plan, "levels": [0.001, 0.04], "control": "", "metric": "m", "runs": {"a": ["x"], "b": ["y"]}}
    digest = hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()[:16]
    (tmp_path / ".dispatch").mkdir()
    (tmp_path / ".dispatch" / "seed_plan.json").write_text(json.dumps({**before, "digest": digest}))
    read = plan_file.read(tmp_path)
    assert (read.rules, read.plan.paired, read.plan.diverged, read.digest) == (1, False, "wait", digest)


def test_the_job_that_takes_a_look_knows_what_is_asked():
    study = studies.read(
        ["algo=rloo,grpo", "seeds={first: 3, most: 4}", "contrasts=[[rloo,grpo]]", "smallest=0.2", "metric=eval/score"]
    )
    assert study.seed_plan
    arms = {"rloo": study.runs[:4], "grpo": study.runs[4:]}
    again = look_study.study_of(json.loads(json.dumps(look_study.described(study, arms, study.seed_plan))))
    assert contrast.read(again.settings.contrasts) == (("rloo", "grpo"),)
    assert (again.settings.smallest, again.settings.metric) == (0.2, "eval/score")
