"""What a verdict says of its parts where they cannot be known, and what a study in steps is advised to buy."""

from dataclasses import replace

import numpy as np
import pytest

from align_lab.base import registry
from align_lab.base.metrics import of_run
from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.advice import hours
from align_lab.compare.analysis import analyze
from align_lab.compare.asked import Asked
from align_lab.compare.report import markdown, page, precision_table
from align_lab.compare.sequential import plan_file
from align_lab.config.composition import compose
from tests.compare.folders import LABELS, edit, write_run

PROMPTS = 48
PLAN = SeedPlan(first=3, step=1, most=5, smallest=0.1)


def runs(folder, *, arms=("rloo", "ppo"), n=5, seeds=0.5, prompts=0.0, answers=0.05, again=None):
    """Arms without a difference; sds of seeds, of what a prompt does for one arm more, and of an answer."""
    rng = np.random.default_rng(0)
    names = {}
    for arm in arms:
        of_prompts = prompts * rng.normal(size=PROMPTS)
        for seed in range(n):
            scores = seeds * rng.normal() + of_prompts + answers * rng.normal(size=PROMPTS)
            path = write_run(
                folder, arm, seed, (0.0, float(scores.mean())), samples=scores.tolist(),
                config={"evaluation.prompts": PROMPTS},
            )  # fmt: skip
            names.setdefault(arm, []).append(path.name)
            if again is not None:
                label = {**LABELS["eval/gold_score"], "again": again}
                edit(path / "manifest.json", metrics={**LABELS, "eval/gold_score": label})
    return {arm: tuple(each) for arm, each in names.items()}


def in_steps(folder, *, plan=PLAN, **parts):
    names = runs(folder, **parts)
    plan_file.declare(folder, plan, control="", metric="eval/gold_score", runs=names)
    return analyze([folder])


@pytest.mark.parametrize(
    ("again", "share", "reason"),
    [
        ("same", 0.0, None),
        ("varies", None, "it judged each completion once, and may judge it otherwise another time"),
        (None, None, "nothing recorded says whether it judges a completion the same way another time"),
    ],
)
def test_the_judges_part_is_0_or_unknown_with_the_reason(tmp_path, again, share, reason):
    runs(tmp_path, again=again)
    whole = analyze([tmp_path], asked=Asked(smallest=0.1))
    (one,) = whole["precision"]
    assert one["shares"]["judge"] == share and one["unknown"].get("judge") == reason
    assert one["unknown"]["samples"] == "each prompt was answered once; evaluation.samples=2 would tell"
    for text in (markdown.markdown(whole, []), page.html(whole)):
        assert "The part of samples a prompt is unknown: each prompt was answered once" in text
        assert (f"The part of the judge is unknown: {reason}" in text) == (reason is not None)


def test_runs_record_whether_their_scores_would_come_out_again():
    registry.scan()
    metrics = of_run(compose(["algo=rloo"]).values)
    assert {name: metrics[f"eval/{name}"].again for name in ("score", "gold_score", "vader")} == dict.fromkeys(
        ("score", "gold_score", "vader"), "same"
    )
    service = "{name: judge, url: 'http://localhost:1', model: m, key_env: null}"
    judge = f"evaluation.judges.llm={service}"
    assert of_run(compose(["algo=rloo", judge]).values)["eval/llm"].again == "varies"
    inside = f"evaluation.judges.both={{name: weighted, of: {{a: {{name: length}}, b: {service}}}}}"
    assert of_run(compose(["algo=rloo", inside]).values)["eval/both"].again == "varies"


def test_a_pair_that_is_given_up_gets_the_price_of_a_study_of_its_own(tmp_path):
    whole = in_steps(tmp_path)
    (pair,), (one,) = whole["verdict"]["pairs"], whole["precision"]
    bought = one["cheapest"]
    assert pair["words"].startswith("not enough seeds: given up at 3, ") and one["anew"]
    assert bought["prompts"] == PROMPTS and bought["seeds"] > 5  # all of its seeds, not those that are added
    assert bought["seconds"] == pytest.approx(bought["seeds"] * one["seed_seconds"])
    price = f"about {bought['seeds']} seeds for each arm (about {hours(bought['seconds'])})."
    between = f"between {pair['a']} and {pair['b']}"
    said = f"To see a gap of 0.1 sd of human reviews {between} takes a study of its own: {price}"
    assert said in whole["notes"]
    (line,) = precision_table.studies(whole).rows
    assert [cell.text for cell in line.cells][1:3] == [str(bought["seeds"]), str(PROMPTS)]
    assert all(
        "What a study of its own would take" in text for text in (markdown.markdown(whole, []), page.html(whole))
    )


def test_more_prompts_are_advised_where_prompts_are_the_cause(tmp_path):
    whole = in_steps(tmp_path, seeds=0.12, prompts=0.5, answers=0.5)
    (one,) = whole["precision"]
    assert one["cheapest"]["prompts"] > PROMPTS
    changed = f"seeds for each arm with {one['cheapest']['prompts']} prompts in place of 48 (about"
    assert any(changed in note for note in whole["notes"])


@pytest.mark.parametrize(
    ("plan", "parts", "words"),
    [
        (replace(PLAN, hopeless=0.0), {"n": 3}, "not enough seeds: the study goes on"),
        (PLAN, {"seeds": 0.01, "answers": 0.01}, "equal to within ±0.1"),
    ],
)
def test_pairs_that_go_on_or_are_decided_get_no_advice(tmp_path, plan, parts, words):
    whole = in_steps(tmp_path, plan=plan, **parts)
    assert whole["verdict"]["pairs"][0]["words"] == words
    assert all(one["cheapest"] is None for one in whole["precision"])
    assert not any("a study of its own" in note for note in whole["notes"])
    assert not precision_table.studies(whole).rows and "study of its own" not in markdown.markdown(whole, [])
