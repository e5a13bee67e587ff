"""A task of a user: generated sums, an answer column, two evaluation sets, judges and a deciding metric of its own."""

import json
import math
import re
import statistics

import pytest

from tests.outside.conftest import SUMS

OTHER_TASK = re.compile(r"gold score|vader|movie|review|proxy", re.IGNORECASE)
STUDY = ["-m", *SUMS, "algo=rloo,reinforce", "seed=0,1", "study=four", "parallel=2", "evaluation.samples=2"]


@pytest.fixture(scope="module")
def whole(lab):
    """A whole run, and what it printed."""
    return lab(*SUMS, "algo=rloo", "study=whole")[0]


@pytest.fixture(scope="module")
def four(lab, whole):
    """A study of two arms and two seeds, two runs at a time."""
    return lab(*STUDY)[0]


def correctness(row):
    """The reward of a row of samples.jsonl, from its text alone."""
    first, second = map(int, re.findall(r"\d+", row["prompt"]))
    digits = re.search(r"\d+", row["completion"])
    score = -1.0 if digits is None else max(-1.0, 1 - abs(int(digits[0][:6]) - first - second) / 10)
    return score - (0 if row["ended"] else 1)  # sampling.missing_eos_penalty


def of_step(samples, step, name):
    return [row for row in samples if row["step"] == step and row["set"] == name]


def test_a_policy_learns_to_write_from_the_demonstrations_and_is_scored_by_reward_and_judges(lab, whole):
    samples = lab.samples("whole")
    assert len(samples) == 3 * (16 + 16)
    for row in samples:
        assert row["score"] == pytest.approx(correctness(row))
        assert row["number"] == row["completion"].strip().isdecimal()
        assert row["short"] == -max(0, len(row["completion"]) - 2)
    assert any(row["number"] for row in samples)  # the model can write


def test_the_metrics_of_both_sets_are_means_over_their_samples(lab, whole):
    samples = lab.samples("whole")
    evaluated = [row for row in lab.rows("whole") if "eval/score" in row]
    assert [row["step"] for row in evaluated] == [0, 2, 4]
    for row in evaluated:
        for prefix, name in (("eval/", "same"), ("eval/harder/", "harder")):
            members = of_step(samples, row["step"], name)
            assert row[f"{prefix}score"] == pytest.approx(statistics.fmean(map(correctness, members)))
            numbers = [float(one["completion"].strip().isdecimal()) for one in members]
            assert row[f"{prefix}number"] == pytest.approx(statistics.fmean(numbers))
            assert row[f"{prefix}number_se"] == pytest.approx(statistics.stdev(numbers) / math.sqrt(16))
            assert "score_se" not in str(row.keys())


def test_the_record_and_the_terminal_use_the_names_and_units_of_this_task(lab, whole):
    metrics = lab.manifest("whole")["metrics"]
    assert metrics["eval/score"]["label"] == "correctness" and metrics["eval/score"]["unit"] == "-1 to 1"
    assert metrics["eval/number"]["label"] == "numbers"
    assert metrics["eval/short"]["label"] == "short"  # it brings no label: its name in evaluation.judges
    assert metrics["eval/harder/number"] == metrics["eval/number"]
    for part in ("numbers", "correctness", "short", "before numbers", "against the start policy, by numbers"):
        assert part in whole
    assert not OTHER_TASK.search(whole) and not OTHER_TASK.search(json.dumps(metrics))


def test_a_signal_saves_and_the_same_command_continues_bit_for_bit(lab):
    fields = [*SUMS, "algo=rloo", "train.steps=24"]  # so many that the signal arrives before the last
    lab.interrupt(*fields, study="interrupted", after=2)
    out, _ = lab(*fields, "study=interrupted")
    assert "continuing after step" in out
    lab(*fields, "study=uninterrupted")
    assert lab.rows("interrupted") == lab.rows("uninterrupted")
    assert lab.samples("interrupted") == lab.samples("uninterrupted")


def test_two_arms_and_two_seeds_run_at_the_same_time_and_status_shows_them(lab, four):
    assert "4 of 4 runs are finished" in four
    shown, _ = lab("status", "four")
    assert "numbers" in shown and "4 done" in shown
    tasks = json.loads(lab("status", "four", "--json")[0])["tasks"]
    runs = [task for task in tasks if task["kind"] == "run"]
    assert {(run["arm"], run["seed"], run["state"], run["metric"]) for run in runs} == {
        (arm, seed, "done", "numbers") for arm in ("rloo", "reinforce") for seed in (0, 1)
    }


def test_several_samples_of_a_prompt_have_rows_of_their_own_and_the_first_is_that_of_a_single_one(lab, four):
    single = [row for row in lab.samples("whole") if row["step"] == 0]
    path = next((lab.folder / "runs" / "four").glob("rloo-tiny-s0-*"))
    double = [json.loads(line) for line in (path / "samples.jsonl").read_text().splitlines()]
    double = [row for row in double if row["step"] == 0]
    assert [(row["index"], row["sample"]) for row in double[:32]] == [(i, s) for i in range(16) for s in (0, 1)]
    first = [row["completion"] for row in double if row["sample"] == 0]
    assert first == [row["completion"] for row in single]


def test_compare_answers_in_the_names_of_this_task(lab, four):
    out, _ = lab("compare", "four")
    assert "share of completions" in out and "numbers" in out and "settings and hashes are equal" in out
    assert "No completions" not in out and not OTHER_TASK.search(out)
    document = json.loads(lab("compare", "four", "--json")[0])
    assert {arm["name"]: arm["n"] for arm in document["arms"]} == {"rloo": 2, "reinforce": 2}
    assert document["samples"][0]["prompt"].endswith("=") and len(document["samples"][0]["completions"]) == 2
    for name in ("report.html", "report.md"):
        text = (lab.folder / "runs" / "four" / name).read_text()
        assert "correctness" in text and "numbers" in text
        assert not OTHER_TASK.search(re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)), name


def test_preference_pairs_are_labeled_by_the_reward_of_the_task(lab, whole):
    out, _ = lab(*SUMS, "algo=dpo", "study=pairs")
    assert "building preference pairs" in out
    assert lab.manifest("pairs")["artefacts"]["pairs"].startswith("preferences-")
    assert "rewards/margins" in lab.rows("pairs")[-1]


def test_a_trained_policy_is_exported_and_completes_a_prompt(lab, whole, tmp_path):
    transformers = pytest.importorskip("transformers")
    lab("export", str(lab.run("whole")), str(tmp_path / "model"))
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "model")("3 + 4 =")["input_ids"]
    start, trained = lab("chat", str(lab.run("whole")), typed="3 + 4 =\n")[0].splitlines()
    assert start.split()[0] == "start" and trained.split()[0] == "trained" and "3 + 4 =" in trained


def test_a_reward_that_changes_between_two_seeds_is_not_compared(own_lab):
    module = own_lab.folder / "small_tasks" / "sums.py"
    for seed in (0, 1):
        own_lab(*SUMS, "algo=rloo", "study=changed", "train.steps=2", f"seed={seed}")
        module.write_text(module.read_text().replace("max(-1.0, 1 - abs", "max(-0.5, 1 - abs"))
    _, err = own_lab("compare", "changed", expected=3)
    assert "plugins" in err


def test_a_component_without_its_module_says_what_to_type(lab):
    _, err = lab("data=sums", expected=2)
    assert "data=sums asks for the component data=sums" in err and "plugins=[my_module]" in err
