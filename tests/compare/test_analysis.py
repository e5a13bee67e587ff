"""The comparison document of studies on disk, whatever state their runs are in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from align_lab.base.errors import ConfigError
from align_lab.compare import analysis, curves, described, evaluations, prepared, reading, samples
from align_lab.compare.analysis import analyze
from align_lab.compare.asked import Asked
from align_lab.compare.report import words
from align_lab.compare.statistics import paired_interval, t_interval, welch_interval
from tests.compare.folders import edit, name_of, renamed, rows, write_lines, write_run
from tests.compare.test_evaluations import compact

KEYS = {
    "version", "study", "question", "written", "metric", "verdict", "precision", "claims", "factors", "tuning",
    "comparability", "arms",
    "iqm_coverage",
    "improvement",
    "curves", "bands", "axes", "frontier", "overoptimization", "health", "wins", "samples", "evaluations", "audit",
    "unfinished", "missing",
    "foreign",
    "links", "notes", "metrics", "code",
}  # fmt: skip
RLOO, DPO = [1.0, 1.1, 1.3], [0.2, 0.35, 0.4]


@pytest.fixture
def study(tmp_path):
    """Two arms of three seeds; rloo is better."""
    for seed, (one, other) in enumerate(zip(RLOO, DPO, strict=True)):
        write_run(tmp_path / "st", "rloo", seed, (0.0, one / 2, one), samples=[one, one, 0.0, one])
        write_run(tmp_path / "st", "dpo", seed, (0.0, other / 2, other), samples=[other, other, 1.0, other])
    return tmp_path / "st"


def without_time(document):
    return {**document, "written": ""}


def by(entries, key="name"):
    return {entry[key]: entry for entry in entries}


def said(document, text):
    return [note for note in document["notes"] if text in note]


def test_the_document_has_every_part_of_its_contract_and_is_plain_json(study):
    document = analyze([study])
    assert set(document) == KEYS
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["study"], document["metric"], document["version"]) == ("st", "eval/gold_score", 3)
    assert (
        document["comparability"]["fair"]
        and document["unfinished"] == document["missing"] == []
        and not document["foreign"]
    )


@pytest.mark.parametrize(
    ("paired", "interval", "method"), [(False, welch_interval, "Welch"), (True, paired_interval, "paired")]
)
def test_the_verdict_is_decided_by_means_or_where_that_is_asked_seed_by_seed(study, paired, interval, method):
    verdict = analyze([study], asked=Asked(paired=paired))["verdict"]
    (pair,) = verdict["pairs"]
    expected = interval(RLOO, DPO)
    assert (pair["a"], pair["b"], pair["words"], pair["needed"]) == ("rloo", "dpo", "rloo > dpo", None)
    assert (pair["gap"], pair["low"], pair["high"]) == pytest.approx((expected.mean, expected.low, expected.high))
    assert verdict["sentence"].startswith("rloo is better than dpo by ") and verdict["method"].startswith(method)


def test_arms_with_other_seeds_are_compared_at_those_that_both_have_and_it_is_said(study):
    write_run(study, "dpo", 3, (0.0, 0.1, 0.3))
    document = analyze([study], asked=Asked(paired=True))
    (pair,) = document["verdict"]["pairs"]
    expected = paired_interval(RLOO, DPO)
    assert (pair["low"], pair["high"]) == pytest.approx((expected.low, expected.high))
    assert document["verdict"]["method"].startswith("paired")
    assert document["missing"] == [{"arm": "rloo", "seeds": [3]}]
    assert said(document, "different numbers of seeds: rloo 3 and dpo 4")
    assert document["iqm_coverage"] == {"3": 0.75, "4": 0.875}


def test_an_arm_is_described_by_every_metric_of_its_last_evaluation(study):
    best, other = analyze([study])["arms"]
    assert (best["name"], best["n"], best["seeds"], other["name"]) == ("rloo", 3, [0, 1, 2], "dpo")
    assert best["runs"] == [name_of("rloo", seed) for seed in range(3)]
    gold, expected = best["metrics"]["eval/gold_score"], t_interval(RLOO)
    assert (gold["start"], gold["values"]) == (0.0, RLOO)
    assert (gold["mean"], gold["low"], gold["high"]) == pytest.approx((expected.mean, expected.low, expected.high))
    assert gold["sd"] == pytest.approx((0.07 / 3) ** 0.5)  # deviations -2, -1, 3 of 0.1/1.5 around 1.1333
    assert (gold["iqm"], gold["iqm_low"], gold["iqm_high"]) == pytest.approx((expected.mean, 1.0, 1.3))
    assert best["metrics"]["eval/vader"]["values"] == [None] * 3 and best["metrics"]["eval/vader"]["mean"] is None
    assert list(best["metrics"])[:4] == ["eval/score", "eval/gold_score", "eval/vader", "eval/kl"]


def test_three_seeds_of_three_won_are_no_certainty(study):
    (one,) = analyze([study])["improvement"]
    assert (one["a"], one["b"], one["value"], one["high"]) == ("rloo", "dpo", 1.0, 1.0)
    assert one["low"] == pytest.approx(
        0.025 ** (1 / 3)
    )  # Clopper and Pearson: the chance at which three of three is still likely


def test_completions_are_compared_prompt_by_prompt(study):
    document = analyze([study])
    assert document["wins"]["prompts"] == 4 and document["wins"]["arms"] == ["rloo", "dpo"]
    assert document["wins"]["matrix"][0][1]["rate"] == 0.75  # three of four prompts, at every seed
    first = document["samples"][0]
    assert [(one["arm"], one["completion"], one["decides"]) for one in first["completions"]] == [
        ("rloo", "by rloo", 1.0),
        ("dpo", "by dpo", 0.2),
    ]


def test_the_same_record_gives_the_same_document_whatever_the_order_of_its_folders(study, tmp_path, monkeypatch):
    before = analyze([study])
    assert without_time(analyze([study])) == without_time(before)
    scan = os.scandir

    class Reversed:
        def __init__(self, folder):
            with scan(folder) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *error): ...

    monkeypatch.setattr(os, "scandir", Reversed)
    assert without_time(analyze([study])) == without_time(before)
    assert analyze([study], rng_seed=1)["verdict"] == before["verdict"]  # nothing is drawn for it


def test_runs_read_from_tables_and_from_the_index_give_the_same_document(study, monkeypatch):
    before = analyze([study])
    for name in before["links"]:
        compact(study / name)
    monkeypatch.setattr(evaluations, "MANY_BYTES", 1)
    monkeypatch.setattr(reading, "INDEX_FROM", 1)
    assert without_time(analyze([study])) == without_time(before)
    assert (study / ".compare").is_dir()
    assert without_time(analyze([study])) == without_time(before)


def test_an_unequal_setting_is_named_and_nothing_is_compared(study):
    path = write_run(study, "ppo", 0, config={"sampling.temperature": 1.0}, hashes={"source": "other"})
    document = analyze([study])
    assert not document["comparability"]["fair"]
    assert [one["field"] for one in document["comparability"]["differing"]] == ["sampling.temperature", "source"]
    assert document["comparability"]["differing"][0]["values"]["1.0"] == [path.name]
    assert document["verdict"]["sentence"] == "Not comparable: the runs differ in sampling.temperature and source."
    assert document["verdict"]["pairs"] == document["improvement"] == document["axes"] == []
    assert document["wins"]["matrix"] == []
    assert len(document["arms"]) == 3 and document["curves"]  # each arm by itself is still described


def test_what_is_allowed_is_compared_apart_and_said(study):
    write_run(study, "rloo", 0, name="warm", config={"sampling.temperature": 1.0})
    document = analyze([study], allow=["sampling.temperature"])
    assert document["comparability"]["fair"]
    assert set(by(document["arms"])) == {"rloo (sampling.temperature=0.7)", "rloo (sampling.temperature=1.0)", "dpo"}
    assert len(document["verdict"]["pairs"]) == 3
    (note,) = said(document, "was allowed to")
    assert note == "sampling.temperature differs and was allowed to: 0.7 in 6 runs; 1.0 in 1 run."


def test_mixed_code_is_refused_unless_allowed_and_then_said(study):
    write_run(study, "rloo", 3, hashes={"source": "new"})
    assert not analyze([study])["comparability"]["fair"]
    document = analyze([study], allow=["source"])
    assert by(document["arms"])["rloo"]["seeds"] == [0, 1, 2, 3]
    assert said(document, "computed by different code: cccc in 6 runs; new in 1 run")


def test_a_run_of_another_version_is_named_with_what_it_does_not_record(study):
    path = study / name_of("dpo", 2)
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["config"]["evaluation.prompts"], manifest["hashes"]["gold"], manifest["spent"], manifest["machine"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    path = renamed(path)
    document = analyze([study])
    assert not document["comparability"]["fair"]
    differing = by(document["comparability"]["differing"], "field")
    assert differing["gold"]["values"]["not recorded"] == [path.name]
    assert said(document, f"{path.name} does not record evaluation.prompts and gold, which others do: another version")
    assert analyze([study], allow=["evaluation.prompts", "gold"])["comparability"]["fair"]


def test_what_did_not_finish_is_listed_with_its_arm_and_seed(study):
    write_run(study, "rloo", 3, status={"state": "running", "step": 20})
    write_run(study, "ppo", 1, status={"state": "failed", "error": "DivergedError: loss is nan"})
    (write_run(study, "dpo", 4) / "manifest.json").unlink()
    nan = write_run(study, "dpo", 5, (0.0, 0.5, float("nan")))
    cut = write_run(study, "dpo", 6)
    write_lines(cut / "metrics.jsonl", rows([0.0, 0.5]), torn='{"step": 40, "eval/sc')
    document = analyze([study])
    result = {(run["arm"], run["seed"]): (run["state"], run["why"]) for run in document["unfinished"]}
    assert result == {
        ("rloo", 3): ("running", "running at step 20"),
        ("ppo", 1): ("diverged", "failed at step 40: DivergedError: loss is nan"),
        ("dpo", 4): ("unreadable", "manifest.json is missing"),
        ("dpo", 5): ("diverged", "the gold score of its last evaluation is nan"),
        ("dpo", 6): ("unreadable", "its last row holds no evaluation: metrics.jsonl was cut short"),
    }
    (warning,) = (one for one in document["verdict"]["warnings"] if "diverged" in one)
    assert warning.startswith("1 of 4 runs of dpo (seed 5) and 1 of ")
    assert "runs of ppo (seed 1) diverged and are left out" in warning
    assert [run["name"] for run in document["unfinished"]] == sorted(run["name"] for run in document["unfinished"])
    assert by(document["arms"])["dpo"]["seeds"] == [0, 1, 2] and nan.name not in document["links"]


def test_a_score_that_is_no_number_on_the_way_is_a_gap_and_is_said(study):
    path = study / name_of("dpo", 1)
    write_lines(path / "metrics.jsonl", rows([0.0, float("nan"), 0.35]))
    document = analyze([study])
    assert by(document["arms"])["dpo"]["metrics"]["eval/gold_score"]["values"] == DPO
    assert said(document, f"not a number in some evaluations of {path.name}")
    points = [p for p in document["curves"] if p["run"] == path.name and p["metric"] == "eval/gold_score"]
    assert [p["step"] for p in points] == [0, 40]
    assert [row["n"] for row in document["axes"][0]["ranking"]] == [3, 3]  # at its end the run is there


def test_one_seed_gives_no_interval_and_it_is_said(tmp_path):
    write_run(tmp_path, "rloo", 0, (0.0, 1.0))
    write_run(tmp_path, "dpo", 0, (0.0, 0.5))
    document = analyze([tmp_path])
    gold = document["arms"][0]["metrics"]["eval/gold_score"]
    assert (gold["mean"], gold["sd"], gold["low"], gold["high"], gold["iqm_low"]) == (1.0, None, None, None, None)
    assert "one seed gives no interval" in document["verdict"]["sentence"]
    assert document["verdict"]["pairs"][0]["p"] is None and document["iqm_coverage"] == {}
    assert said(document, "rloo and dpo have one seed only")


def test_a_single_arm_is_not_compared_with_anything(tmp_path):
    write_run(tmp_path, "rloo", 0)
    document = analyze([tmp_path])
    assert document["verdict"]["sentence"] == "One arm only: nothing to compare it with."
    assert document["axes"] == document["improvement"] == [] and document["wins"]["matrix"] == []


def test_a_study_in_which_nothing_has_finished_is_a_document_too(tmp_path):
    write_run(tmp_path, "rloo", 0, status={"state": "running"})
    document = analyze([tmp_path])
    assert set(document) == KEYS and document["arms"] == [] and len(document["unfinished"]) == 1
    assert document["verdict"]["sentence"] == "No run has finished yet: nothing to compare."
    assert not document["comparability"]["fair"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no runs"):
        analyze([tmp_path / "empty"])


def test_over_optimization_and_hacks_are_noted(study):
    path = write_run(
        study, "ppo", 0, (0.0, 0.8, 0.1), eval_score=(0.0, 1.0, 2.0), eval_kl=(0.0, 4.0, 9.0), eval_length=(20, 25, 30)
    )
    document = analyze([study])
    (marked,) = [run for run in document["overoptimization"] if run["marked"]]
    assert (marked["run"], marked["keep"], marked["peak_distance"], marked["last_distance"]) == (
        path.name,
        20,
        2.0,
        3.0,
    )
    assert said(document, "ppo: 1 of 1 runs was over-optimized")
    assert said(document, "ppo: length grew by 50 % with the score: look for a length hack.")


def test_a_flip_between_axes_is_noted(tmp_path):
    for seed in range(2):
        write_run(tmp_path, "slow", seed, (0.0, 0.5, 1.0 + seed / 100), time_elapsed=(0, 50, 100))
        write_run(tmp_path, "fast", seed, (0.0, 0.4, 0.8 + seed / 100), time_elapsed=(0, 5, 10))
    document = analyze([tmp_path])
    assert by(document["axes"], "axis")["seconds"]["flips"] == [{"ahead": "fast", "behind": "slow", "shown": True}]
    assert said(document, "At 10 device-seconds of training fast leads, not slow as at equal episodes")


def test_different_machines_are_noted(study):
    edit(study / name_of("dpo", 0) / "manifest.json", machine={"cpu": "two"})
    assert said(analyze([study]), "different machines (one and two): their seconds do not compare")


def test_runs_without_completions_are_noted(study):
    (study / name_of("dpo", 0) / "samples.jsonl").unlink()
    document = analyze([study])
    assert said(document, f"No completions of the last evaluation are kept of {name_of('dpo', 0)}")
    assert document["wins"]["matrix"][0][1]["rate"] == 0.75  # of the two other seeds


def test_a_large_study_shows_its_best_arms_and_corrects_for_all(tmp_path, monkeypatch):
    for module in (prepared, described):
        monkeypatch.setattr(module, "SHOWN", 3)
    for seed in range(3):
        for arm in range(4):
            end = arm / 10 + (arm + 2) * (seed + arm) % 3 / 100
            write_run(tmp_path, f"a{arm}", seed, (0.0, end), samples=[end, end])
    few = analyze([tmp_path])
    monkeypatch.undo()
    whole = analyze([tmp_path])
    assert [arm["name"] for arm in few["arms"]] == [arm["name"] for arm in whole["arms"]] == ["a3", "a2", "a1", "a0"]
    one, same = few["verdict"]["pairs"][0], whole["verdict"]["pairs"][0]
    assert (one["a"], one["b"], one["words"]) == (same["a"], same["b"], same["words"])
    assert 0 < one["p"] < 1
    assert (one["low"], one["high"], one["p"]) == pytest.approx((same["low"], same["high"], same["p"]))
    assert few["verdict"]["sentence"].endswith("(corrected for 6 comparisons).")
    assert few["wins"]["arms"] == ["a3", "a2", "a1"] and {band["arm"] for band in few["bands"]} == {"a3", "a2", "a1"}
    assert few["arms"][3]["metrics"]["eval/gold_score"]["iqm_low"] is None
    assert said(few, "of the best 3 of 4 arms, corrected for the pairs of all")


def test_many_seeds_show_the_first_and_count_all(tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "POINTS", 2 * 2 * len(curves.drawn("eval/gold_score")))  # two runs of two evaluations
    monkeypatch.setattr(samples, "RUNS", 3)
    for seed in range(5):
        write_run(tmp_path, "rloo", seed, (0.0, 1.0 + seed), samples=[1.0, 2.0])
    document = analyze([tmp_path])
    assert {point["seed"] for point in document["curves"]} == {0, 1}
    assert {band["n"] for band in document["bands"]} == {5}
    assert len(document["overoptimization"]) == 5
    assert said(document, "of the first 2 seeds")
    assert document["wins"] == {"arms": [], "matrix": [], "prompts": 2, "seeds": 0}  # one arm


def test_few_of_many_runs_that_lost_score_are_no_finding_on_their_arm(tmp_path):
    """One of five has lost score beyond its noise; of the other arm three have, and one of these was best untrained."""
    for seed in range(5):
        write_run(tmp_path, "rloo", seed, (0.0, 1.0, 0.5 if seed == 4 else 1.1), eval_score=(0.0, 1.0, 0.9))
        peak, start = (0.9, 1.0 if seed == 2 else 0.0) if seed < 3 else (0.1, 0.0)
        write_run(tmp_path, "dpo", seed, (start, peak, 0.2), eval_score=(1.0, 1.0, 0.9))
    document = analyze([tmp_path])
    assert sum(run["keep"] is not None for run in document["overoptimization"]) == 4
    (note,) = said(document, "lost gold score after its peak")
    kept = f"Keep step 20 of {name_of('dpo', 0)} and step 20 of {name_of('dpo', 1)}."
    assert note.startswith("dpo: 3 of 5 runs lost") and kept in note and "step 0 of" not in note
    assert note.endswith("In 1 of them no gold score was above that before training.")


def test_only_changes_of_order_beyond_the_spread_of_the_seeds_are_told(tmp_path):
    for seed, noise in enumerate((0.0, 0.5, -0.5)):
        write_run(tmp_path, "slow", seed, (0.0, 0.5, 1.0 + noise), time_elapsed=(0, 50, 100))
        write_run(tmp_path, "fast", seed, (0.0, 0.9, 0.9 - noise), time_elapsed=(0, 5, 10))
    document = analyze([tmp_path])
    assert by(document["axes"], "axis")["seconds"]["flips"][0]["shown"] is False
    assert not said(document, "leads, not")
    assert words.changes_of_order(document) == [
        "No two arms change places by more than the seeds vary, whatever is held equal."
    ]


def test_the_commits_that_computed_the_runs_are_kept(study):
    edit(study / name_of("dpo", 0) / "manifest.json", code={"commit": "e02a6227a7bc5935", "dirty_diff": None})
    edit(study / name_of("dpo", 1) / "manifest.json", code={"commit": "1abcba0000ffffff", "dirty_diff": "77aa"})
    assert analyze([study])["code"] == ["1abcba0000+", "e02a6227a7"]


def test_a_comparison_needs_neither_torch_nor_hydra_nor_for_a_small_study_polars(study):
    code = (
        "import sys; from pathlib import Path; from align_lab.compare.analysis import analyze; "
        "analyze([Path(sys.argv[1])]);"
        "print([name for name in ('torch', 'hydra', 'omegaconf', 'polars', 'wandb') if name in sys.modules])"
    )
    root = Path(analysis.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(study)], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "[]"


def test_arms_that_were_sampled_from_a_nucleus_are_named_with_what_that_biases(tmp_path):
    for algo, value in (("rloo", RLOO), ("dpo", DPO)):
        for seed, score in enumerate(value):
            write_run(tmp_path / "st", algo, seed, (0.0, score), config={"sampling.top_p": 0.9})
    (note,) = said(analyze([tmp_path / "st"]), "sampling.top_p")
    assert "is below 1 in" in note and "rloo (0.9)" in note and "dpo (0.9)" in note
    assert "the gradients of arms that sample and every KL are biased" in note


def test_nothing_is_said_of_the_nucleus_where_the_whole_distribution_was_sampled(study, tmp_path):
    write_run(tmp_path / "whole", "rloo", 0, (0.0, 1.0), config={"sampling.top_p": 1.0})
    assert not said(analyze([study]), "top_p") and not said(analyze([tmp_path / "whole"]), "top_p")


def test_how_far_the_deciding_judge_is_the_reward_itself_is_said(tmp_path):
    for algo, sign in (("rloo", 1), ("dpo", -0.5)):
        path = write_run(tmp_path / "st", algo, 0, (0.0, 1.0), samples=[0.1, 0.2, 0.4]) / "samples.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        write_lines(path, [row | {"score": sign * row["gold_score"]} for row in rows])
    (note,) = said(analyze([tmp_path / "st"]), "correlation of")
    assert "the gold score and the proxy score have a correlation of 0.00" in note, note
