"""`evaluate`: another evaluation of a checkpoint, from the command line, on a run of seconds."""

import json
import shutil

import pytest

from align_lab.config.composition import compose
from align_lab.run.evaluation import in_one_process
from tests.run.test_runs import folder_of, invoke, place, run

__all__ = ["place"]  # the fixture of a folder to run in


@pytest.fixture(scope="module")
def trained(place):
    done = run(place, "algo=rloo", "study=measured")
    assert done.returncode == 0, done.stderr
    return folder_of(place, "measured")


def evaluate(place, *args):
    return invoke(place, "evaluate", *args)


def stored(path, name):
    return json.loads((path / "evaluations" / f"{name}.json").read_text())


def recorded(path):
    return {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}


def test_the_same_settings_give_the_numbers_of_the_training_and_leave_its_record_alone(place, trained):
    before = recorded(trained)
    done = evaluate(place, f"measured/{trained.name}", "name=again")
    assert done.returncode == 0, done.stderr
    assert "again.json" in done.stdout and "gold score" in done.stdout
    assert recorded(trained) == before
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    metrics = stored(trained, "again")["metrics"]
    for key in ("eval/gold_score", "eval/score", "eval/vader", "eval/kl", "eval/win_rate", "eval/distinct_2"):
        assert metrics[key]["value"] == rows[-1][key], key
        assert metrics[key]["start"] == rows[0][key], key
    samples = [json.loads(line) for line in (trained / "evaluations" / "again.jsonl").read_text().splitlines()]
    assert samples == [row for row in map(json.loads, (trained / "samples.jsonl").read_text().splitlines())
                       if row["step"] in (0, 4)]  # fmt: skip


def test_the_same_evaluation_again_is_not_computed_again(place, trained):
    first = evaluate(place, str(trained), "step=2", "evaluation.prompts=8")
    assert first.returncode == 0, first.stderr
    (file,) = (trained / "evaluations").glob("step-000002-*.json")
    written = file.stat().st_mtime_ns
    again = evaluate(place, trained.name, "step=2", "evaluation.prompts=8", "name=other")
    assert again.returncode == 0 and "nothing was computed" in again.stdout and file.name in again.stdout
    assert file.stat().st_mtime_ns == written and not (trained / "evaluations" / "other.json").exists()


def test_another_decoding_and_a_judge_that_the_run_did_not_have(place, trained):
    added = ["evaluation.temperature=0", "evaluation.judges.lexicon=vader", "evaluation.metric=eval/lexicon"]
    done = evaluate(place, str(trained), "step=best", "name=greedy", *added)
    assert done.returncode == 0, done.stderr
    result = stored(trained, "greedy")
    assert result["about"]["sampling"] == {"temperature": 0.0, "top_p": 1.0, "max_new_tokens": 8}
    lexicon, vader = result["metrics"]["eval/lexicon"], result["metrics"]["eval/vader"]
    assert lexicon == vader and lexicon["low"] <= lexicon["value"] <= lexicon["high"]
    assert result["labels"]["eval/lexicon"]["unit"] == "-1 to 1"
    assert "lexicon_se" not in str(result["metrics"].keys())
    taken = evaluate(place, str(trained), "step=2", "name=greedy")
    assert taken.returncode == 2 and "holds an evaluation with other settings" in taken.stderr


def test_it_says_that_one_process_evaluates_a_run_of_several():
    assert in_one_process(compose(["hardware=cpu"])) == ""
    text = in_one_process(compose(["hardware=cpu_2proc"]))
    assert "in one process" in text and "where the training had 2" in text


def test_compare_lists_the_evaluations_in_its_json_and_table(place, trained):
    done = invoke(place, "compare", "measured", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)["evaluations"]
    greedy = next(one for one in listed if one["name"] == "greedy" and one["metric"] == "eval/lexicon")
    assert greedy["run"] == trained.name and greedy["arm"] == "rloo"
    assert greedy["value"] == stored(trained, "greedy")["metrics"]["eval/lexicon"]["value"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["step=7"], "has no checkpoint '7'; allowed: last, best, "),
        (["train.lr=1"], "only fields under evaluation can be changed"),
        (["evaluation.judges.x=vadr"], "did you mean 'vader'?"),
        (["evaluation.sets=[harder]"], "has no such evaluation set"),
        (["evaluation.pass_at=[4]"], "Set evaluation.samples=4"),
        (["evaluation.pass_at=[1]"], "must be 0 or 1, and eval/gold_score is"),
        (["evaluation.prompts=many"], "evaluation.prompts must be a whole number"),
        (["name=a/b"], "the name becomes a file's"),
        (["greedy"], "greedy: not understood. Write key=value"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_what_is_allowed(place, trained, args, words):
    done = evaluate(place, str(trained), *args)
    assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


def test_runs_of_a_study_without_a_checkpoint_are_named_and_the_others_evaluated(place, trained):
    empty = trained.with_name("rloo-tiny-s9-00000000")
    shutil.copytree(trained, empty, ignore=shutil.ignore_patterns("checkpoints", "evaluations"))
    try:
        done = evaluate(place, "measured", "step=2", "evaluation.prompts=4")
        alone = evaluate(place, str(empty))
    finally:
        shutil.rmtree(empty)
    assert done.returncode == 0 and f"left out: runs/measured/{empty.name} has no checkpoint" in done.stdout, (
        done.stdout
    )
    assert alone.returncode == 2 and "the run has saved no checkpoint" in alone.stderr
    assert "there is no run 'nothing'" in evaluate(place, "nothing").stderr
