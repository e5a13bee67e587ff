"""A study of factors from its run folders to the terminal and the files of its report."""

from __future__ import annotations

import csv
import io
import re

import pytest
from rich.console import Console

from align_lab.base.errors import ConfigError
from align_lab.compare import terminal
from align_lab.compare.analysis import analyze
from align_lab.compare.asked import Asked
from align_lab.compare.report import write
from tests.browser import synthetic
from tests.compare.folders import write_run, write_study

MIXED = "what stands for one factor may in part be what any two others do together."


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return synthetic.factorial(tmp_path_factory.mktemp("runs") / "st")


@pytest.fixture(scope="module")
def document(study):
    return analyze([study])


def shown(document, width):
    out = io.StringIO()
    terminal.show(document, Console(file=out, width=width, highlight=False))
    return out.getvalue()


def test_the_verdict_is_about_the_factors_and_no_pair_of_cells_is_decided(document):
    assert document["verdict"]["sentence"].startswith("Of four choices kl alone is shown to matter (0.8")
    assert document["verdict"]["pairs"] == [] and document["verdict"]["smallest"] == 0.1
    assert document["factors"]["cells"] == 16 and len(document["arms"]) == 16
    none = next(one for one in document["factors"]["levels"] if (one["factor"], one["level"]) == ("kl", "none"))
    assert none["effect_low"] < 0.3 < none["effect_high"] and none["words"] == "none > sequence_reward"


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_which_choice_matters_before_the_cells(document, width):
    text = shown(document, width)
    assert max(map(len, text.splitlines())) <= width
    parts = (
        r"^ *source of variance ",
        r"^ *interactions \(mixed\) ",
        r"^ *choice  ",
        r"^ *kl +sequence_reward ",
        r"^ *arm  ",
    )
    starts = [[match.start() for match in re.finditer(part, text, re.MULTILINE)] for part in parts]
    assert all(len(each) == 1 for each in starts), "each of them begins one row alone"
    assert starts == sorted(starts)
    assert MIXED.replace(" ", "") in "".join(text.split())


def test_every_file_of_the_report_has_the_factors(document, study):
    written = write(document, study, figures=False)
    text = (study / "report.md").read_text(encoding="utf-8").replace("\\", "")
    assert text.index("## What each choice does") < text.index("## Results") and MIXED in text
    assert "No pair of arms is asked for: the choices are." in text
    names = {path.name for path in written}
    assert {"factor_sources.csv", "factor_levels.csv"} <= names and "factor_combinations.csv" not in names
    with (study / "report" / "factor_levels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["factor"], row["level"]) for row in rows][:2] == [("kl", "sequence_reward"), ("kl", "none")]
    assert float(rows[1]["mean"]) - float(rows[0]["mean"]) == pytest.approx(float(rows[1]["effect"]))


def test_a_full_study_has_interactions_and_means_by_two_choices(tmp_path):
    study = synthetic.factorial(tmp_path / "st", full=True)
    document = analyze([study])
    assert [one["kind"] for one in document["factors"]["sources"]] == ["factor", "factor", "interaction", "seeds"]
    assert len(document["factors"]["combinations"]) == 12
    write(document, study, figures=False)
    assert (study / "report" / "factor_combinations.csv").exists()


def test_cells_without_runs_and_arms_that_are_no_cells_are_named(tmp_path):
    study = synthetic.factorial(tmp_path / "st", seeds=2)
    lost = sorted(path for path in study.iterdir() if path.name.startswith("policy"))[0]
    (lost / "metrics.jsonl").unlink()
    write_run(study, "rloo", 0)
    document = analyze([study])
    assert document["factors"]["cells"] == 15
    assert any("1 of 16 cells have fewer than two finished runs" in note for note in document["notes"])
    assert any("because they are no cells of the design: rloo." in note for note in document["notes"])


def test_a_control_of_the_command_asks_about_pairs_as_well(study):
    document = analyze([study], asked=Asked(control="none + none + sequence_reward + token_mean"))
    assert len(document["verdict"]["pairs"]) == 15 and document["factors"] is not None
    assert document["verdict"]["method"].endswith("over all pairs with none + none + sequence_reward + token_mean")
    assert any("not declared before the runs" in note for note in document["notes"])


def test_factors_are_not_paired_by_seed(study):
    with pytest.raises(ConfigError, match="--paired is for pairs of arms, and this study asks about factors: leave it"):
        analyze([study], asked=Asked(paired=True))


def test_where_runs_of_a_seed_share_builds_choices_stay_unpaired_and_that_is_said(tmp_path):
    """Pairs of arms are paired by seed there, unless somebody says otherwise."""
    study = synthetic.factorial(tmp_path / "st", full=True, vary=["rl", "pairs", "reward", "policy"])
    document, alone = analyze([study]), analyze([synthetic.factorial(tmp_path / "other" / "st", full=True)])
    note = "Choices are not paired by seed, although pairs of these arms would be: "
    assert sum(one.startswith(note) for one in document["notes"]) == 1 and document["verdict"]["paired"] is False
    assert document["factors"] == alone["factors"] and not any(one.startswith(note) for one in alone["notes"])
    with pytest.raises(ConfigError, match="--paired is for pairs of arms"):
        analyze([study], asked=Asked(paired=True))


def test_with_another_study_the_question_is_about_arms(study, tmp_path):
    write_study(tmp_path / "other", {"rloo": [0.5, 0.6], "ppo": [0.1, 0.2]})
    document = analyze([study, tmp_path / "other"])
    assert document["factors"] is None and document["verdict"]["pairs"]
    assert "What factors do is shown where their study is compared by itself." in document["notes"]


def test_runs_that_may_not_be_compared_say_nothing_of_factors(tmp_path):
    study = synthetic.factorial(tmp_path / "st", seeds=2)
    write_run(study, "rloo", 0, config={"sampling.temperature": 1.0})
    document = analyze([study])
    assert document["factors"] is None and document["verdict"]["sentence"].startswith("Not comparable")
