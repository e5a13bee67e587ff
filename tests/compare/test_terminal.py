"""The comparison as a terminal shows it: the verdict first, 80 columns, and the same through a pipe."""

import io
import json

import pytest
from rich.console import Console

from align_lab.cli.compare import compare
from align_lab.compare import terminal
from align_lab.compare.analysis import analyze
from align_lab.compare.terminal import SEEDS_SHOWN
from align_lab.record.layout import StudyLayout
from tests import forked
from tests.compare.folders import name_of, renamed, write_run, write_study


@pytest.fixture
def study(tmp_path):
    for arm, ends in (
        ("rloo", (1.0, 1.1, 1.3)),
        ("dpo", (0.2, 0.3, 0.4)),
        ("a_rather_long_name_of_an_arm", (0.1, 0.2, 0.2)),
    ):
        for seed, end in enumerate(ends):
            write_run(tmp_path / "st", arm, seed, (0.0, end / 2, end))
    return tmp_path / "st"


def text(document, width=80):
    out = io.StringIO()
    terminal.show(document, Console(file=out, width=width, highlight=False))
    return out.getvalue()


def test_the_verdict_stands_first_and_everything_fits_80_columns(study):
    lines = text(analyze([study])).splitlines()
    assert max(map(len, lines)) <= 80
    assert "RLOO is better than every other arm" in " ".join(lines[:3])
    shown = "\n".join(lines)
    for part in (
        "1.00",
        "1.10",
        "1.30",
        "settings and hashes are equal",
        "Welch t intervals, Bonferroni-corrected",
        "RLOO − DPO",
    ):
        assert part in shown
    assert shown.index("RLOO is better") < shown.index("gold")


def test_what_is_missing_or_left_out_is_named(study):
    write_run(study, "dpo", 3, (0.0, 0.1, 0.3), status={"state": "failed", "error": "it hung"})
    shown = text(analyze([study]))
    assert "left out: dpo-tiny-s3-" in shown and "it hung" in shown


def test_a_run_that_repeats_a_seed_is_named_with_the_run_that_is_used(study):
    twice = write_run(study, "dpo", 0, (0.0, 9.0), name="twice").name
    shown = " ".join(text(analyze([study])).split())
    assert f"left out: {twice}: seed 0 of DPO was run more than once: {name_of('dpo', 0)} is used" in shown


def test_intervals_and_numbers_that_do_not_exist_are_blank_not_nan(study):
    one = analyze([study])
    one["arms"][0]["metrics"]["eval/gold_score"] |= {"mean": None, "low": None, "high": None, "values": [None]}
    assert "nan" not in text(one).lower() and "None" not in text(one)


@pytest.mark.parametrize("flags", [["--no-page"], ["--json"], ["--watch", "--no-page"]])
def test_the_command_can_be_piped_watched_and_read_by_scripts(study, flags):
    done = forked.run(["compare", study, *flags])
    assert done.returncode == 0, done.stderr
    if "--json" in flags:
        assert json.loads(done.stdout)["verdict"]["pairs"]
    else:
        assert "RLOO is better than every other arm" in " ".join(done.stdout.split()) and "\x1b" not in done.stdout
    assert not (study / "report.html").exists()


def test_it_ends_with_the_command_that_computes_all_again(study, capsys):
    assert compare([str(study)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"To compute it all again from nothing: align_lab replay {study / 'comparison.lock'} --fresh"


def test_settings_that_differ_are_refused_field_by_field_unless_they_are_allowed(study):
    manifest = next(study.glob("dpo-tiny-s0-*")) / "manifest.json"
    known = json.loads(manifest.read_text())
    known["config"]["sampling.temperature"] = 0.9
    manifest.write_text(json.dumps(known))
    renamed(manifest.parent)
    compare = ["compare", study, "--no-page"]
    refused = forked.run(compare)
    assert (
        refused.returncode == 3
        and "sampling.temperature: " in refused.stderr
        and "0.9 in dpo-tiny-s0-" in refused.stderr
    )
    assert "--allow=sampling.temperature" in refused.stderr
    allowed = forked.run([*compare, "--allow=sampling.temperature"])
    assert allowed.returncode == 0 and "allowed to differ: sampling.temperature" in " ".join(allowed.stdout.split())


def test_a_p_value_is_never_printed_as_0(study):
    """Five seeds of two arms whose values hardly vary: p is about 1e-9."""
    for seed in range(3, 8):
        write_run(study, "rloo", seed, (0.0, 0.5, 1.1))
        write_run(study, "dpo", seed, (0.0, 0.2, 0.3))
    document = analyze([study])
    assert document["verdict"]["pairs"][0]["p"] < 0.0005
    shown = text(document)
    assert "< 0.001" in shown and " 0.000 " not in shown


def test_many_seeds_are_a_range_and_a_metric_that_no_run_has_is_no_column(tmp_path):
    values = [round(0.5 + 0.01 * seed, 2) for seed in range(SEEDS_SHOWN + 1)]
    write_study(tmp_path / "many", {"rloo": values, "dpo": values[:-1]})
    table = text(analyze([tmp_path / "many"])).split("first − second")[0]
    lines = {line.split()[0]: line for line in table.splitlines() if line.split()}
    assert "0.500 to 0.600" in lines["RLOO"] and " ".join(f"{value:.3f}" for value in values[:3]) in lines["DPO"]
    assert "by seed" in lines["arm"] and "dist-2" not in lines["arm"]


LONG = ("reinforce_pp_baseline", "reinforce_pp", "my_own_algorithm_of_a_name_without_end")


@pytest.fixture
def undecided(tmp_path):
    """Pairs that nothing decides, of arms with long names; prompts decide more than seeds."""
    for place, arm in enumerate(LONG):
        for seed, noise in enumerate((0.0, 0.5, -0.4)):
            end = 1.0 - place / 10 + noise
            write_run(tmp_path / "st", arm, seed, (0.0, end), samples=[end - 1 - place, end + 1 + place])
    declared = StudyLayout(tmp_path / "st").expected_runs
    declared.parent.mkdir()
    declared.write_text(json.dumps({"runs": {}, "smallest": 0.1}))
    return analyze([tmp_path / "st"])


@pytest.mark.parametrize("width", [60, 80])
def test_no_name_and_no_number_is_broken_and_the_verdict_of_a_pair_is_a_few_words(undecided, width):
    lines = text(undecided, width).splitlines()
    assert max(map(len, lines)) <= width
    words = {word for line in lines for word in line.split()}
    assert {"REINFORCE++", "baseline", LONG[2], "seeds"} <= words
    start = next(i for i, line in enumerate(lines) if line.startswith("first"))
    table = lines[start : next(i for i, line in enumerate(lines) if line.startswith("Welch"))]
    assert len(table) <= 1 + 3 * 4 and not any(word in line for line in table for word in ("device", "prompts in"))
    assert "more seeds for each arm; for others of their kind" in " ".join(" ".join(lines).split())


def test_decided_pairs_stand_first_and_declared_ones_each_have_their_row(tmp_path):
    ends = {"dr_grpo": (1.0, 1.1, 0.9), "grpo": (0.9, 1.0, 1.1), "rloo": (0.5, 0.52, 0.54), "ppo_max": (0.1, 0.12, 0.1)}
    write_study(tmp_path / "st", ends)
    declared = StudyLayout(tmp_path / "st").expected_runs
    declared.parent.mkdir()
    declared.write_text(
        json.dumps({"runs": {}, "smallest": 0.1, "contrasts": [["dr_grpo", "grpo"], ["rloo", "ppo_max"]]})
    )
    shown = text(analyze([tmp_path / "st"]), 100)
    rows = [line.strip() for line in shown.split("first − second")[1].splitlines()[1:3]]
    assert rows[0].startswith("RLOO − PPO-max") and rows[0].endswith("better")
    assert rows[1].replace("\u00a0", " ").startswith("Dr. GRPO − GRPO") and rows[1].endswith("not enough seeds")
    assert "−" in rows[1].split("GRPO")[-1] and "-0." not in shown  # a minus is one
