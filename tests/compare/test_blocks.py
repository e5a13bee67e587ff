"""Seeds as blocks: where a seed also moves the stages, arms are compared seed by seed, everywhere."""

import json

import numpy as np
import pytest
from scipy import stats

from align_lab.__main__ import main
from align_lab.base.errors import ConfigError
from align_lab.compare import analysis, blocks
from align_lab.compare.analysis import analyze
from align_lab.compare.asked import Asked
from align_lab.compare.summary import ArmRuns
from align_lab.config import study as studies
from align_lab.dispatch import expected_runs
from tests.compare.folders import edit, read_run, write_run

VARIED = {"vary": ["rl", "pairs", "reward", "policy"]}
FIRST = [1.626, 1.751, 1.152, 1.316, 1.761, 1.551]  # two arms of docs/studies/five_algorithms.md, seeds 0 to 5
SECOND = [1.369, 1.211, 0.918, 1.140, 1.366, 1.384]
ARMS = ("-m", "algo=rloo,dpo", "study=s")
EACH = "vary=[rl,pairs,reward,policy]"


def write(folder, *, config=VARIED, paired=None, **declared):
    for algo, values in (("rloo", FIRST), ("ppo", SECOND)):
        for seed, value in enumerate(values):
            write_run(folder, algo, seed, (0.0, value / 2, value), config=config)
    runs = {path.name: {"arm": path.name.partition("-")[0]} for path in folder.iterdir()}
    (folder / ".dispatch").mkdir()
    about = {"runs": runs, "paired": paired, "smallest": 0.01, **declared}
    (folder / ".dispatch" / "expected_runs.json").write_text(json.dumps(about))
    return folder


def only(document):
    (pair,) = document["verdict"]["pairs"]
    return pair


def test_where_a_seed_moves_the_stages_the_verdict_is_of_the_differences(tmp_path):
    document = analyze([write(tmp_path / "s")])
    oracle = stats.ttest_rel(FIRST, SECOND)
    pair, interval = only(document), oracle.confidence_interval(0.95)
    assert document["verdict"]["paired"] and document["verdict"]["method"].startswith("paired t intervals by seed")
    assert (pair["p"], pair["low"], pair["high"]) == pytest.approx((oracle.pvalue, interval.low, interval.high))
    assert pair["correlation"] == pytest.approx(np.corrcoef(FIRST, SECOND)[0, 1])
    notes = " ".join(document["notes"])
    assert "seed by seed, because the runs of a seed share its preference pairs, reward model and start policy" in notes
    assert "Over seeds the scores of two arms have a correlation of 0.81" in notes


def test_where_a_seed_moves_rl_alone_it_is_of_the_means(tmp_path):
    document = analyze([write(tmp_path / "s", config={"vary": ["rl"]})])
    assert not document["verdict"]["paired"]
    assert only(document)["p"] == pytest.approx(stats.ttest_ind(FIRST, SECOND, equal_var=False).pvalue)
    assert "seed by seed" not in " ".join(document["notes"])


def test_what_a_study_declares_decides(tmp_path):
    document = analyze([write(tmp_path / "s", paired=False)])
    assert only(document)["p"] == pytest.approx(stats.ttest_ind(FIRST, SECOND, equal_var=False).pvalue)
    assert any("but verdicts are not paired by seed" in note for note in document["notes"])
    declared = analyze([write(tmp_path / "other", config={"vary": ["rl"]}, paired=True)])
    assert only(declared)["p"] == pytest.approx(stats.ttest_rel(FIRST, SECOND).pvalue)


def test_what_a_command_asks_for_instead_is_marked(tmp_path):
    folder = write(tmp_path / "s")
    asked = analyze([folder], asked=Asked(paired=False))
    assert only(asked)["p"] == pytest.approx(stats.ttest_ind(FIRST, SECOND, equal_var=False).pvalue)
    assert any("not declared before the runs: --no-paired" in note for note in asked["notes"])
    assert not any("not declared" in note for note in analyze([folder], asked=Asked(paired=True))["notes"])


@pytest.mark.parametrize("declared", [{"control": "ppo"}, {"contrasts": [["rloo", "ppo"]]}, {}])
def test_controls_and_contrasts_follow(tmp_path, declared):
    document = analyze([write(tmp_path / "s", **declared)])
    assert abs(only(document)["p"]) == pytest.approx(stats.ttest_rel(FIRST, SECOND).pvalue)


def test_claims_and_places_at_equal_cost_follow(tmp_path):
    """Differences of 0.1 with hardly any spread, between arms that vary ten times as much."""
    folder = write(tmp_path / "s", claims=["rloo > ppo"])
    for path in folder.glob("ppo-*"):
        seed = int(path.name.split("-s")[1][0])
        steps = [{"step": 0, "episode": 0, "eval/gold_score": 0.0, "eval/score": 0.0, "time/elapsed": 0.0}]
        last = FIRST[seed] - 0.1 - 0.001 * seed
        steps += [{"step": 40, "episode": 320, "eval/gold_score": last, "eval/score": 0.1, "time/elapsed": 2.0}]
        (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in steps))
    document = analyze([folder])
    (claim,) = document["claims"]
    assert claim["outcome"] == "held"
    (seconds,) = [axis for axis in document["axes"] if axis["axis"] == "seconds"]
    assert seconds["ranking"]
    unpaired = analyze([folder], asked=Asked(paired=False))
    assert unpaired["claims"][0]["outcome"] != "held"


def test_advice_is_for_the_test_that_decides(tmp_path):
    """Differences vary by 0.01, the arms by 0.23: far fewer seeds show a gap of 0.01."""
    close = tmp_path / "close"
    for algo, values in (("rloo", FIRST), ("ppo", [value + 0.01 * (-1) ** at for at, value in enumerate(FIRST)])):
        for seed, value in enumerate(values):
            write_run(close, algo, seed, (0.0, value / 2, value), config=VARIED)
    paired, means = (only(analyze([close], asked=Asked(smallest=0.01, paired=one))) for one in (True, False))
    assert paired["needed"] < 20 and means["needed"] > 500


def test_the_part_that_arms_share_is_their_mean_covariance(tmp_path):
    """By hand: builds of variance 1, and of each arm 0.25 of its own, over many seeds: 80 %."""
    rng = np.random.default_rng(0)
    builds, values = rng.normal(size=200), rng.normal(size=(3, 200)) / 2
    arms = []
    for algo, own in zip(("rloo", "ppo", "dpo"), values, strict=True):
        run = read_run(write_run(tmp_path / algo, algo, 0, config=VARIED))
        arms.append(Many(run, builds + own))
    assert blocks.shared(arms) == pytest.approx(0.8, abs=0.03)


class Many(ArmRuns):
    """An arm with given scores, without a folder for each."""

    def __init__(self, run, scores):
        object.__setattr__(self, "given", list(scores))
        super().__init__(name=run.algo, runs=[run], metric=run.metric)

    @property
    def scores(self):
        return self.given

    @property
    def seeds(self):
        return list(range(len(self.given)))


def test_a_plan_is_paired_where_the_seeds_move_stages_and_it_can_be_said_otherwise():
    steps = "seeds={first: 3, most: 5, smallest: 0.1}"
    assert [studies.read([*ARMS[1:], steps, vary]).seed_plan.paired for vary in (EACH, "vary=[rl]")] == [True, False]
    assert studies.read([*ARMS[1:], steps, EACH, "paired=false"]).seed_plan.paired is False
    assert studies.read([*ARMS[1:], "seeds=[0,1]", EACH]).settings.paired is True
    inside = "seeds={first: 3, most: 5, smallest: 0.1, paired: true}"
    assert studies.read([*ARMS[1:], inside]).settings.paired is True
    with pytest.raises(ConfigError, match="paired=False, and seeds.paired=True: leave one of the two out"):
        studies.read([*ARMS[1:], inside, "paired=false"])
    with pytest.raises(ConfigError, match="seeds.paired"):
        studies.read([*ARMS[1:], inside.replace("true", "sometimes")])


def test_a_study_is_not_continued_with_another_pairing(tmp_path):
    begun = studies.read([*ARMS[1:], "seeds=[0,1]", EACH])
    assert expected_runs.update(tmp_path, begun)["paired"] is True
    other = studies.read([*ARMS[1:], "seeds=[0,1,2]", EACH, "paired=false"])
    with pytest.raises(ConfigError, match="begun with paired: true, and now it is false"):
        expected_runs.refuse_other_seeds(tmp_path, other)


def test_a_dry_run_shows_how_seeds_are_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*ARMS, "seed=0,1", EACH, "dry_run=true"]) == 0
    assert "paired: verdicts compare the arms seed by seed (the runs of a seed share its builds of" in " ".join(
        capsys.readouterr().out.split()
    )
    assert main([*ARMS, "seed=0,1", "dry_run=true"]) == 0
    assert "unpaired: verdicts compare the arms' means" in " ".join(capsys.readouterr().out.split())


def test_no_seed_in_common_gives_no_interval(tmp_path):
    folder = tmp_path / "s"
    for algo, seeds in (("rloo", (0, 1, 2)), ("ppo", (3, 4, 5))):
        for seed in seeds:
            write_run(folder, algo, seed, (0.0, 0.5, 1.0 + 0.1 * seed), config=VARIED)
    pair = only(analyze([folder]))
    assert (pair["low"], pair["correlation"]) == (None, None) and "no seed in common" in pair["words"]
    assert analysis.analyze([folder])["precision"] == []


def test_an_old_study_is_paired_by_what_its_seeds_moved(tmp_path):
    """Nothing was declared before there was anything to declare."""
    folder = write(tmp_path / "s")
    edit(folder / ".dispatch" / "expected_runs.json", paired=...)
    assert analyze([folder])["verdict"]["paired"]
