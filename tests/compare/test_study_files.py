"""Sweep files, pooled studies and repeated seeds in a comparison."""

import json

import pytest

from align_lab.base.errors import DataError
from align_lab.compare import lock
from align_lab.compare.analysis import analyze
from tests.compare.folders import name_of, write_run
from tests.compare.test_analysis import DPO, RLOO, by, said, study

__all__ = ["study"]  # fixture


def declare(folder, runs, left=(), question=""):
    (folder / ".dispatch").mkdir()
    wanted = {name: {"arm": arm, "seed": seed, "steps": 40} for name, (arm, seed) in runs.items()}
    content = {"sweep": "st", "question": question, "runs": wanted, "left": {name: {} for name in left}}
    (folder / ".dispatch" / "expected_runs.json").write_text(json.dumps(content))


def test_the_sweep_file_names_the_question_the_arms_and_what_is_missing(study):
    runs = {name_of("rloo", seed): ("mine", seed) for seed in range(4)} | {"ppo-tiny-s0-1": ("theirs", 0)}
    declare(study, runs, left=[name_of("dpo", 2)], question="Which?")
    write_run(study, "rloo", 3, status={"state": "failed"})
    document = analyze([study])
    assert document["question"] == "Which?"
    assert [arm["name"] for arm in document["arms"]] == ["mine", "dpo"]
    assert document["missing"] == [{"arm": "mine", "seeds": [3]}, {"arm": "theirs", "seeds": [0]}]
    assert [(run["arm"], run["seed"]) for run in document["unfinished"]] == [("mine", 3)]
    assert said(document, f"no longer in the study's sweep file, but counted: {name_of('dpo', 2)}")


@pytest.mark.parametrize("text", ["{", "[]", '{"runs": 3}', '{"runs": {"x": 1}, "left": null}'])
def test_a_damaged_record_of_what_the_study_asks_is_named_with_what_writes_it_again(study, text):
    """Its question, contrasts and claims would otherwise be left out in silence."""
    (study / ".dispatch").mkdir()
    record = study / ".dispatch" / "expected_runs.json"
    record.write_text(text)
    with pytest.raises(DataError, match=f"{record} is damaged: .*the study's command writes it again: rm {record}"):
        analyze([study])


def test_studies_are_pooled_and_a_run_that_both_hold_counts_once(study, tmp_path):
    other = tmp_path / "other"
    write_run(other, "ppo", 0, (0.0, 0.7))
    (other / name_of("rloo", 0)).symlink_to(study / name_of("rloo", 0))
    document = analyze([study, other])
    assert document["study"] == "st + other"
    assert {arm["name"]: arm["n"] for arm in document["arms"]} == {"rloo": 3, "dpo": 3, "ppo": 1}
    assert document["unfinished"] == []
    assert document["links"][name_of("ppo", 0)] == f"../other/{name_of('ppo', 0)}"
    assert document["links"][name_of("dpo", 0)] == name_of("dpo", 0)


def test_a_seed_that_was_run_twice_counts_once_and_the_other_is_named(study, tmp_path):
    other = tmp_path / "other"
    write_run(other, "rloo", 0, (0.0, 9.0))
    document = analyze([study, other])
    (twice,) = document["unfinished"]
    assert (twice["name"], twice["state"]) == (f"other/{name_of('rloo', 0)}", "duplicate")
    assert twice["why"] == f"seed 0 of rloo was run more than once: {name_of('rloo', 0)} is used"
    assert twice["used"] == name_of("rloo", 0)
    assert by(document["arms"])["rloo"]["metrics"]["eval/gold_score"]["values"] == RLOO


def test_a_run_that_repeats_a_seed_is_part_of_the_proof(tmp_path):
    first = write_run(tmp_path, "rloo", 0, (0.0, 1.0), config={"reward.name": "vader"}).name
    second = write_run(tmp_path, "rloo", 0, (0.0, 2.0), config={"reward.name": "human_ratings"}).name
    document = analyze([tmp_path])
    assert not document["comparability"]["fair"]
    (differs,) = document["comparability"]["differing"]
    assert (differs["field"], differs["values"]) == ("reward.name", {"vader": [first], "human_ratings": [second]})
    assert document["verdict"]["sentence"] == "Not comparable: the runs differ in reward.name."
    allowed = analyze([tmp_path], allow=["reward"])
    assert allowed["comparability"]["fair"] and len(allowed["arms"]) == 2 and not allowed["unfinished"]


def test_a_lock_holds_the_runs_that_are_used_also_where_studies_use_one_name(study, tmp_path):
    other = tmp_path / "other"
    write_run(other, "rloo", 0, (0.0, 9.0))
    write_run(other, "dpo", 0, (0.0, 7.0), config={"arm": "mine"})
    document = analyze([study, other])
    locked = lock.read(lock.write(document, [study, other]))["runs"]
    names = [name for arm in document["arms"] for name in arm["runs"]]
    assert f"other/{name_of('dpo', 0)}" in names and len(locked) == len(names) == 7
    assert sorted(run["scores"]["eval/gold_score"] for run in locked) == sorted([*RLOO, *DPO, 7.0])
