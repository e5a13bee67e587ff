"""The gate: non-inferiority and equivalence with their error rates, stored baselines, statuses, files for CI."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.special import stdtrit

from align_lab.__main__ import main
from align_lab.base.errors import ConfigError
from align_lab.cli.gate import gate
from align_lab.compare.gate.decision import decide
from align_lab.compare.gate.question import height
from align_lab.record.layout import StudyLayout
from tests.compare.folders import write_run
from tests.compare.test_coverage import bimodal, collapsing, lognormal, normal, welch

BASE = (1.0, 1.1, 0.9, 1.05, 0.95)


@pytest.mark.parametrize(
    ("shift", "equivalence", "outcome", "status"),
    [
        (0.0, False, "holds", 0),
        (-1.0, False, "worse", 1),
        (+1.0, False, "holds", 0),
        (+1.0, True, "differs", 1),
        (0.0, True, "holds", 0),
        (-1.0, True, "worse", 1),
        (-0.2, False, "unknown", 4),
        (-0.2, True, "unknown", 4),
    ],
)
def test_what_is_decided_and_its_status(shift, equivalence, outcome, status):
    decision = decide([value + shift for value in BASE], BASE, margin=0.2, equivalence=equivalence)
    assert (decision.outcome, decision.status) == (outcome, status)
    assert (decision.needed is not None) == (outcome == "unknown")


def test_the_bounds_are_those_of_two_one_sided_tests():
    """Two arms of five seeds with equal spread: Welch's ν is 8, and t₈(0.95) = 1.8595."""
    decision = decide([value - 0.1 for value in BASE], BASE, margin=0.2)
    error = np.std(BASE, ddof=1) * np.sqrt(2 / 5)
    assert decision.gap.low == pytest.approx(-0.1 - 1.8595 * error, abs=1e-4)
    assert decision.gap.high == pytest.approx(-0.1 + 1.8595 * error, abs=1e-4)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_a_candidate_that_is_a_margin_worse_passes_as_rarely_as_promised(seeds):
    """And one that is equal is called worse far less often. 4,000 gates; two standard errors of 5 % are 0.7 %."""
    generator, gates = np.random.default_rng(seeds), 4000
    base = generator.normal(size=(gates, seeds))
    worse, equal = (generator.normal(-shift, 2.0, size=(gates, seeds)) for shift in (1.0, 0.0))
    passed = sum(decide(a, b, margin=1.0).outcome == "holds" for a, b in zip(worse, base, strict=True))
    alarms = sum(decide(a, b, margin=1.0).outcome == "worse" for a, b in zip(equal, base, strict=True))
    assert 0.03 < passed / gates < 0.06
    assert alarms / gates < 0.03


OTHER = {  # laws of a candidate, all of mean 0
    "one run of five collapses": collapsing,
    "a run works or fails, half and half": bimodal,
    "lognormal, its long tail above": lognormal,
    "lognormal, its long tail below": lambda rng, shape: -lognormal(rng, shape),
}


def passing(law, seeds, gates=20_000):
    """Share of gates in which a candidate that is a margin of 1 worse in its mean passes beside a steady baseline."""
    rng = np.random.default_rng(seeds)
    gap, error, freedom = welch(law(rng, (gates, seeds)), 1 + 0.1 * normal(rng, (gates, seeds)))
    return float((gap - stdtrit(freedom, 0.95) * error > -1).mean())


@pytest.mark.parametrize("law", OTHER)
def test_what_the_page_says_of_other_laws_is_measured(law):
    page = (Path(__file__).parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
    (written,) = [line for line in page.splitlines() if line.startswith(f"| {law} |")]
    cells = [float(cell.strip(" %")) for cell in written.split("|")[2:-1]]
    assert cells == pytest.approx([100 * passing(OTHER[law], seeds) for seeds in (3, 5, 10, 20)], abs=0.6)


def test_the_height_of_a_curve_is_its_area_over_episodes():
    """By hand: 0 to 1 over 100 episodes is 50, then 1 for 300 is 300; 350 / 400. Missing evaluations are left out."""
    assert height([0, 100, 400], [0, 1, 1]) == pytest.approx(0.875)
    assert height([0, 100, 250, 400], [0, 1, np.nan, 1]) == pytest.approx(0.875)
    assert height([7], [3.0]) == 3.0


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_gates_of_whole_curves_keep_their_rates(shift):
    """Random walks of ten evaluations, five seeds a side, with unequal spreads: 2,000 gates whose true gap is -shift.

    A candidate that is a margin worse passes in 5 %; an equal one is called worse far less often.
    """
    generator, gates, episodes = np.random.default_rng(11), 2000, np.cumsum(np.arange(1, 11))
    walks = generator.normal(size=(2, gates, 5, 10)).cumsum(-1)
    walks[0] = 1.5 * walks[0] - shift
    heights = np.array([[[height(episodes, run) for run in side] for side in gate] for gate in walks.swapaxes(0, 1)])
    outcomes = [decide(*sides, margin=1.0).outcome for sides in heights]
    if shift:
        assert 0.03 < outcomes.count("holds") / gates < 0.065  # two standard errors are 1 %
    else:
        assert outcomes.count("worse") / gates < 0.05


def test_as_many_seeds_as_it_asks_for_decide_most_gates():
    generator, decided = np.random.default_rng(7), 0
    for _ in range(300):
        few = generator.normal(size=(2, 8))
        if (first := decide(*few, margin=0.5)).outcome != "unknown":
            continue
        more = min(first.needed + 8, 200)
        decided += decide(*generator.normal(size=(2, more)), margin=0.5).outcome == "holds"
    assert decided > 150


def test_one_seed_has_no_bound():
    decision = decide([1.0], BASE, margin=0.2)
    assert decision.status == 4 and decision.needed == 2


def declare(folder, smallest):
    """The study's smallest gap that matters."""
    file = StudyLayout(folder).expected_runs
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"runs": {}, "smallest": smallest}))


@pytest.fixture
def study(tmp_path, monkeypatch):
    """`rloo` and `ppo` differ by 0.02 at the end, `raft` is far worse; a gap of 0.1 is declared to matter."""
    monkeypatch.chdir(tmp_path)
    declare(tmp_path / "runs" / "s", 0.1)
    for algo, last in (("rloo", 1.0), ("ppo", 0.98), ("raft", 0.2)):
        for seed, value in enumerate(BASE):
            write_run(tmp_path / "runs" / "s", algo, seed, (0.0, 0.5, last * value))
    return tmp_path


def test_two_arms_of_a_study(study, capsys):
    assert gate(["s", "--arm", "ppo", "--against", "rloo", "--margin", "0.2"]) == 0
    out = capsys.readouterr().out
    assert "ppo is at most 0.2 worse than rloo" in " ".join(out.split()) and "0.98" in out
    assert gate(["s", "--arm", "raft", "--against", "rloo", "--margin", "0.2"]) == 1
    assert "raft is more than 0.2 worse than rloo" in " ".join(capsys.readouterr().out.split())
    assert gate(["s", "--arm", "ppo", "--against", "rloo", "--margin", "0.05"]) == 4
    assert "if they are equal, about" in " ".join(capsys.readouterr().out.split())
    assert gate(["s", "--arm", "raft", "--against", "rloo", "--margin", "0.5", "--curve"]) == 0


def lose(study, arm, *seeds):
    """Further runs, which diverged."""
    for seed in seeds:
        run = write_run(study / "runs" / "s", arm, seed, (0.0, 0.5, 0.5))
        (run / "status.json").write_text(json.dumps({"state": "failed", "step": 9, "error": "DivergedError: nan"}))


def test_a_candidate_that_diverges_more_often_than_the_baseline_does_not_hold(study, capsys):
    arguments = ["gate", "s", "--arm", "ppo", "--against", "rloo", "--margin", "0.5", "--json"]
    assert main(arguments) == 0
    capsys.readouterr()
    lose(study, "ppo", 7, 8)
    assert main(arguments) == 1
    decided = json.loads(capsys.readouterr().out)
    assert decided["outcome"] == "diverges" and decided["candidate"]["diverged"] == [7, 8]
    assert "ppo diverges more often than rloo" in decided["sentence"]
    assert decided["warnings"][0].startswith("2 of 7 runs of ppo (seeds 7, 8) diverged")
    lose(study, "rloo", 5, 6)
    assert main(arguments) == 0  # as often: said, and decided by the others
    (lost, *_) = json.loads(capsys.readouterr().out)["warnings"]
    assert lost.startswith("2 of 7 runs of ppo (seeds 7, 8) and 2 of 7 runs of rloo (seeds 5, 6) diverged")


def test_the_margin_is_the_gap_that_the_study_declares(study, capsys):
    for declared, status, more in ((0.15, 0, []), (0.05, 4, []), (0.05, 0, ["--curve"])):
        declare(study / "runs" / "s", declared)
        assert main(["gate", "s", "--arm", "ppo", "--against", "rloo", *more, "--json"]) == status
        assert json.loads(capsys.readouterr().out)["margin"] == declared


def test_without_a_declared_gap_a_margin_is_asked_for(study, capsys):
    declare(study / "runs" / "s", None)
    assert main(["gate", "s", "--arm", "ppo", "--against", "rloo"]) == 2
    error = capsys.readouterr().err
    assert "no declared gap that matters (smallest) in eval/gold_score" in error and "--margin 0.1" in error


def test_a_stored_baseline_decides_like_the_arm_itself(study, capsys):
    assert gate(["s", "--arm", "rloo", "--store", "baselines/rloo.json"]) == 0
    capsys.readouterr()
    for arm, status in (("ppo", 0), ("raft", 1)):
        documents = []
        for other in (["--against", "rloo"], ["--baseline", "baselines/rloo.json"]):
            assert main(["gate", "s", "--arm", arm, *other, "--margin", "0.2", "--json"]) == status
            documents.append(json.loads(capsys.readouterr().out))
        here, stored = documents
        assert here["low"] == stored["low"] and here["baseline"]["values"] == stored["baseline"]["values"]
        assert stored["baseline"]["arm"] == "rloo (baseline)"


def test_a_baseline_of_another_setting_is_not_comparable(study, capsys):
    for seed in (0, 1):
        write_run(study / "runs" / "other", "rloo", seed, config={"sampling.temperature": 0.9})
    gate(["s", "--arm", "rloo", "--store", "base.json"])
    arguments = ["gate", "other", "--arm", "rloo", "--baseline", "base.json"]
    assert main(arguments) == 3
    error = capsys.readouterr().err
    assert "sampling.temperature" in error and "--allow sampling.temperature" in error
    assert main([*arguments, "--allow", "sampling.temperature", "--margin", "0.2"]) == 0


def test_a_setting_that_the_code_of_the_baseline_did_not_have_belongs_to_the_code(study, capsys):
    gate(["s", "--arm", "rloo", "--store", "base.json"])
    stored = json.loads((study / "base.json").read_text())
    del stored["fields"]["sampling.temperature"]
    (study / "base.json").write_text(json.dumps(stored))
    arguments = ["gate", "s", "--arm", "rloo", "--baseline", "base.json", "--margin", "0.2"]
    assert main(arguments) == 3 and "sampling.temperature" in capsys.readouterr().err
    assert main([*arguments, "--allow", "source"]) == 0


BUILDS = {"config": {"vary": ["rl", "policy"]}}


def test_sides_whose_runs_of_a_seed_share_builds_are_compared_by_seed(tmp_path, monkeypatch, capsys):
    """The builds vary ten times as much as the difference: unpaired, nothing could be told (status 4)."""
    monkeypatch.chdir(tmp_path)
    for algo, change in (("rloo", 0.0), ("ppo", -0.01)):
        for seed, value in enumerate(BASE):
            write_run(tmp_path / "runs" / "s", algo, seed, (0.0, 0.5, 3 * value + change * (1 + seed)), **BUILDS)
    arguments = ["--arm", "ppo", "--against", "rloo", "--margin", "0.1"]
    assert main(["gate", "s", *arguments, "--json"]) == 0
    decided = json.loads(capsys.readouterr().out)
    half = 2.1318 * 0.01 * np.sqrt(2.5 / 5)  # t₄(0.95); differences of -0.01, -0.02, ... -0.05
    assert (decided["paired"], decided["low"]) == (True, pytest.approx(-0.03 - half, abs=1e-4))
    assert "one-sided bounds by seed" in decided["sentence"]
    gate(["s", "--arm", "rloo", "--store", "base.json"])
    for seed in (7, 8):
        write_run(tmp_path / "runs" / "late", "ppo", seed, (0.0, 0.5, 3.0), **BUILDS)
    assert main(["gate", "late", "--arm", "ppo", "--baseline", "base.json"]) == 2
    assert "no seed in common with the baseline (seeds 0, 1, 2, 3, 4)" in capsys.readouterr().err
    write_run(tmp_path / "runs" / "late", "ppo", 1, (0.0, 0.5, 3.2), **BUILDS)
    write_run(tmp_path / "runs" / "late", "ppo", 0, (0.0, 0.5, 2.9), **BUILDS)
    main(["gate", "late", "--arm", "ppo", "--baseline", "base.json", "--margin", "0.1", "--json"])
    decided = json.loads(capsys.readouterr().out)
    assert decided["candidate"]["seeds"] == decided["baseline"]["seeds"] == [0, 1]


def test_what_ci_systems_and_pull_requests_read(study):
    arguments = ["s", "--against", "rloo", "--markdown", "gate.md", "--junit", "gate.xml"]
    gate([*arguments, "--arm", "raft"])
    case = ElementTree.parse(study / "gate.xml").getroot()[0]
    assert case.get("name") == "raft against rloo" and "more than 0.1 worse" in case.find("failure").get("message")
    markdown = (study / "gate.md").read_text()
    assert markdown.startswith("**The gate fails**") and "| raft | 5 | 0.200 |" in markdown
    gate([*arguments, "--arm", "ppo", "--margin", "0.01"])
    assert ElementTree.parse(study / "gate.xml").getroot()[0].find("error") is not None
    gate([*arguments, "--arm", "ppo", "--margin", "0.3"])
    assert len(ElementTree.parse(study / "gate.xml").getroot()[0]) == 1  # its words alone
    assert "**The gate passes**" in (study / "gate.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--arm", "rlo", "--against", "ppo"],
            "--arm=rlo: there is no such arm with finished runs. did you mean 'rloo'",
        ),
        (["--arm", "rloo", "--against", "dpo"], "--against=dpo"),
        (["--arm", "rloo", "--baseline", "none.json"], "there is no none.json. Write it once"),
        (["--arm", "rloo", "--baseline", "torn.json"], "torn.json is not a baseline"),
        (["--arm", "rloo", "--baseline", "old.json"], "of version 0"),
    ],
)
def test_a_wrong_command_says_what_to_type(study, arguments, words):
    (study / "torn.json").write_text('{"version": 1, "metr')
    (study / "old.json").write_text('{"version": 0}')
    with pytest.raises(ConfigError) as refused:
        gate(["s", *arguments])
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--arm", "rloo"],
        ["--against", "rloo"],
        ["--arm", "rloo", "--against", "ppo", "--margin", "0"],
        ["--arm", "rloo", "--against", "ppo", "--margin", "nan"],
        ["--arm", "rloo", "--against", "ppo", "--confidence", "95"],
    ],
)
def test_a_wrong_option_is_refused_with_status_2(study, arguments):
    assert main(["gate", "s", *arguments]) == 2
