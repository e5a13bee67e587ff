"""data=reasoning from the command line: what it selects, and a whole run with verified answers."""

import json

import pytest

pytest.importorskip("reasoning_gym")

from align_lab.base.errors import ConfigError
from align_lab.config.composition import compose
from tests import forked

SMALL = [
    *("data=reasoning", "algo=grpo", "study=small", "data.training=20", "data.demonstrations=40", "data.held_out=16"),
    *("model.width=32", "model.layers=1", "model.heads=4", "model.kv_heads=4", "model.sft.epochs=2", "train.steps=2"),
    *("train.prompts_per_step=2", "train.group_size=4", "evaluation.prompts=8", "evaluation.every=2"),
    "hardware.numerics.threads=1",
]


def test_the_task_selects_a_model_and_a_reward_and_the_command_line_may_select_others():
    alone = compose(["data=reasoning"])
    assert (alone.choices["model"], alone.choices["reward"]) == ("tiny_reasoner", "verifier")
    assert alone.values["evaluation"]["metric"] == "eval/accuracy"
    assert alone.values["sampling"]["temperature"] == 1.0
    other = compose(["model=tiny", "data=reasoning", "reward=length"])
    assert (other.choices["model"], other.choices["reward"]) == ("tiny", "length")
    assert other.values["model"]["width"] == compose([]).values["model"]["width"]
    assert compose([]).choices["reward"] == "human_ratings"


def test_the_command_line_sets_difficulty_and_several_tasks():
    cfg = compose(["data=reasoning", "data.tasks=[chain_sum,countdown]", "data.settings.chain_sum.max_terms=4"])
    assert cfg.values["data"]["settings"]["chain_sum"]["max_terms"] == 4
    with pytest.raises(ConfigError, match="did you mean 'countdown'"):
        compose(["data=reasoning", "data.tasks=[count_down]"])


def test_a_verifier_without_its_column_is_refused_with_what_to_type(tmp_path):
    (tmp_path / "my.jsonl").write_text("".join(json.dumps({"prompt": f"{i} + 1 ="}) + "\n" for i in range(20)))
    with pytest.raises(ConfigError, match="compares with the column 'answer'"):
        compose(
            [
                *("data=files", f"data.prompts={tmp_path}/my.jsonl", "model=smollm2_135m", "reward=verifier"),
                *("reward.kind=exact", "evaluation.prompts=2"),
            ]
        )


def test_a_run_logs_accuracy_and_format_of_training_and_of_three_evaluation_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    forked.run(SMALL).check_returncode()
    (folder,) = (tmp_path / "runs" / "small").glob("grpo-*")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    trained = [row for row in rows if "reward/accuracy" in row]
    assert [row["step"] for row in trained] == [1, 2]
    for row in trained:
        assert 0 <= row["reward/accuracy"] <= row["reward/readable"] <= 1 and 0 <= row["reward/format"] <= 1
    evaluated = [row for row in rows if "eval/accuracy" in row]
    assert all({"eval/harder/accuracy", "eval/other/accuracy"} <= row.keys() for row in evaluated)
    for sample in map(json.loads, (folder / "samples.jsonl").read_text().splitlines()):
        if sample["completion"].endswith(">"):  # the answer is in its format, so it is right if it is that of the sum
            problem = sample["prompt"].rpartition(":")[2].strip(" =.").removeprefix("Calculate ")
            right = f"<answer>{sum(map(int, problem.replace('- ', '-').replace('+ ', '+').split()))}</answer>"
            assert sample["accuracy"] == float(sample["completion"].endswith(right))
    pass_at_k_of_the_finished_study(folder)


def pass_at_k_of_the_finished_study(folder):
    """The command of docs/reasoning.md, which changes nothing of the study."""
    recorded = (folder / "metrics.jsonl").read_bytes()
    settings = ["name=pass_at_8", "evaluation.samples=8", "evaluation.pass_at=[1,4,8]", "evaluation.sets=[same]"]
    forked.run(["evaluate", "small", *settings]).check_returncode()
    measured = json.loads((folder / "evaluations" / "pass_at_8.json").read_text())["metrics"]
    correct = [measured[f"eval/pass@{k}"]["value"] for k in (1, 4, 8)]
    assert correct == sorted(correct) and measured["eval/maj@8"]["value"] is not None
    assert (folder / "metrics.jsonl").read_bytes() == recorded
