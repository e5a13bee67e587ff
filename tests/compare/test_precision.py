"""What a comparison says of its precision: the interval over prompts, its parts, and the advice, where it is shown."""

import io

import numpy as np
import pytest
from rich.console import Console

from align_lab.compare import terminal
from align_lab.compare.advice import hours, short_time
from align_lab.compare.analysis import analyze
from align_lab.compare.asked import Asked
from align_lab.compare.report import markdown, page, precision_table
from tests.compare.folders import edit, write_run

PROMPTS = 48


def study(folder, *, seeds=0.0, prompts=0.0, answers=0.3, gap=0.0, config=None, n=4):
    """Two arms; sds of seeds, of what a prompt does for one arm more, and of an answer."""
    rng = np.random.default_rng(0)
    for algo, level in (("rloo", gap), ("ppo", 0.0)):
        of_prompts = prompts * rng.normal(size=PROMPTS)
        for seed in range(n):
            scores = level + seeds * rng.normal() + of_prompts + answers * rng.normal(size=PROMPTS)
            fields = {"evaluation.prompts": PROMPTS, **(config or {})}
            write_run(folder, algo, seed, (0.0, float(scores.mean())), samples=scores.tolist(), config=fields)
    return analyze([folder], asked=Asked(smallest=0.1))


def test_few_prompts_are_said_to_be_the_cause_and_more_of_them_the_cheapest_way(tmp_path):
    whole = study(tmp_path, prompts=0.6)
    (one,) = whole["precision"]
    assert one["prompts"] == PROMPTS and one["shares"]["prompts"] > 0.6
    shares = (one["shares"][name] for name in ("seeds", "prompts", "answers"))
    assert sum(shares) == pytest.approx(1) and one["shares"]["samples"] is None and one["shares"]["judge"] is None
    assert one["cheapest"]["prompts"] > PROMPTS and one["seeds_alone"] is None
    assert one["low"] < whole["verdict"]["pairs"][0]["low"] and one["high"] > whole["verdict"]["pairs"][0]["high"]
    assert any("hold for others of their kind as well" in note for note in whole["notes"])


def advice(whole):
    """The one sentence on what to buy."""
    (note,) = [note for note in whole["notes"] if note.startswith(("To see a gap of", "To distinguish "))]
    return note


def test_seeds_are_advised_where_seeds_vary_and_every_number_has_its_unit(tmp_path):
    whole = study(tmp_path, seeds=0.5, answers=0.05)
    (one,), (pair,) = whole["precision"], whole["verdict"]["pairs"]
    assert one["shares"]["seeds"] > 0.9 and one["cheapest"]["prompts"] == PROMPTS
    assert "device" not in pair["words"] and whole["verdict"]["sentence"].startswith("Not enough seeds to distinguish ")
    assert advice(whole) == (
        f"To see a gap of 0.1 sd of human reviews between {pair['a']} and {pair['b']}: for these 48 prompts about "
        f"{pair['needed']} more seeds for each arm; for others of their kind about {one['cheapest']['seeds']} more "
        f"seeds for each arm (about {hours(one['cheapest']['seconds'])})."
    )


def test_the_advice_is_a_sentence_and_numbers_in_the_table_of_pairs(tmp_path):
    whole = study(tmp_path, seeds=0.15, prompts=0.3, answers=1.0)
    (one,), (pair,) = whole["precision"], whole["verdict"]["pairs"]
    best = one["cheapest"]
    assert f"for others of their kind {best['prompts']} prompts in place of 48" in advice(whole)
    (line,) = precision_table.purchases(whole).rows
    texts = [cell.text for cell in line.cells]
    assert texts[1:6] == [
        f"{pair['needed']}", f"{best['seeds']}", f"{best['prompts']}", f"{best['samples']}", short_time(best["seconds"])
    ]  # fmt: skip
    out = io.StringIO()
    terminal.show(whole, Console(file=out, width=200))
    shown = [" ".join(out.getvalue().split()), markdown.markdown(whole, []), page.html(whole)]
    assert all(text.count(f"{best['prompts']} prompts in place of 48") == 1 for text in shown)
    assert "over seeds and prompts" in shown[1] and "over seeds and prompts" in shown[2]


def test_seeds_that_would_not_do_for_other_prompts_are_no_advice_against_seeds_for_these(tmp_path):
    whole = study(tmp_path, seeds=0.3, prompts=3.0, answers=0.3, config={"data.evaluation": PROMPTS})
    (one,), (pair,) = whole["precision"], whole["verdict"]["pairs"]
    assert one["cheapest"] is None and one["seeds_alone"] is None and pair["needed"] < 1000
    assert (
        f"for these 48 prompts about {pair['needed']} more seeds for each arm; for others of their kind no"
        in advice(whole)
    )
    (line,) = precision_table.purchases(whole).rows
    assert [cell.text for cell in line.cells][1:] == [f"{pair['needed']}", "–", "–", "–", "–", "> 1,000", "–"]


def test_one_seed_is_advised_to_have_company(tmp_path):
    assert advice(study(tmp_path, n=1)).endswith(
        "at least 2 more seeds for each arm are needed: one seed gives no interval."
    )


def test_a_pair_that_is_decided_on_these_prompts_alone_is_named(tmp_path):
    whole = study(tmp_path, prompts=1.2, answers=0.1, gap=0.25)
    (pair,) = whole["verdict"]["pairs"]
    assert pair["needed"] is None
    assert any(f"{pair['words']} holds for these 48 prompts; for others it is not shown" in x for x in whole["notes"])


def test_the_noise_of_a_judge_is_a_part_where_it_is_known(tmp_path):
    noisy = {"evaluation.judges.gold_score.name": "noise", "evaluation.judges.gold_score.sd": 0.3}
    (one,) = study(tmp_path, seeds=0.1, config=noisy)["precision"]
    assert 0 < one["shares"]["judge"] < 1


def test_what_is_no_mean_over_prompts_has_no_parts(tmp_path):
    for algo in ("rloo", "ppo"):
        for seed in (0, 1, 2):
            write_run(tmp_path, algo, seed, (0.0, 5.0 + seed), samples=[0.1, 0.2, 0.3])
    whole = analyze([tmp_path], asked=Asked(smallest=0.1))
    assert whole["precision"] == [] and "more an arm would be needed to see" in whole["verdict"]["pairs"][0]["words"]


def test_without_costs_there_is_no_advice(tmp_path):
    study(tmp_path, seeds=0.5)
    for path in tmp_path.glob("*/manifest.json"):
        edit(path, spent={})
    whole = analyze([tmp_path], asked=Asked(smallest=0.1))
    assert whole["precision"][0]["seed_seconds"] is None and whole["precision"][0]["cheapest"] is None
    assert "for others" not in advice(whole) and "more seeds for each arm" in advice(whole)


def test_without_a_gap_that_matters_there_is_nothing_to_buy(tmp_path):
    study(tmp_path, seeds=0.5)
    whole = analyze([tmp_path])
    assert whole["precision"][0]["seed_seconds"] and whole["precision"][0]["cheapest"] is None
    assert whole["verdict"]["pairs"][0]["words"] == "no difference shown"


@pytest.mark.parametrize(("seconds", "text"), [(40, "40 device-seconds"), (600, "10 device-minutes"), (5400, "1.5 ")])
def test_costs_are_rounded_for_people(seconds, text):
    assert hours(seconds).startswith(text)
    assert [short_time(40), short_time(600), short_time(5400)] == ["40\u00a0s", "10\u00a0min", "1.5\u00a0h"]
