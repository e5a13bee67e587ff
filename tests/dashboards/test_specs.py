"""What is told to W&B: the whole specs against golden files, and what they must hold whatever they look like.

After a change that is meant: python -m tests.dashboards.test_specs writes the golden files anew.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from wandb_workspaces.reports.v2 import interface as wr
from wandb_workspaces.reports.v2 import internal as reports
from wandb_workspaces.workspaces import Workspace
from wandb_workspaces.workspaces import internal as workspaces

from align_lab.base.metrics import METRICS
from align_lab.dashboards import filters, panels, sections, wandb_report, workspace
from align_lab.dashboards.saved_view import Project, View
from align_lab.dashboards.study_document import StudyDocument, read
from tests.compare.folders import LABELS, edit, name_of, renamed, write_run
from tests.dashboards.conftest import write_study

GOLDEN = Path(__file__).parent / "golden"
PLACE = Project(entity="me", project="align_lab", id="p1")
MAKERS = {"workspace": workspace.view, "report": wandb_report.view}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("runs") / "three")


@pytest.fixture(scope="module")
def study(folder) -> StudyDocument:
    return read(folder)


@pytest.fixture(scope="module", params=MAKERS)
def view(request, study) -> View:
    return MAKERS[request.param](study, PLACE, description="about")


@pytest.mark.parametrize("kind", MAKERS)
def test_specs_are_the_golden_ones(kind, study):
    made = MAKERS[kind](study, PLACE, description="about").as_file(PLACE)
    assert made == json.loads((GOLDEN / f"{kind}.json").read_text(encoding="utf-8"))


def test_the_library_reads_what_was_made_and_writes_the_same(study):
    """Apart from the place of a table's panel, which the library does not read."""
    spec = workspace.view(study, PLACE, description="").spec
    model = workspaces.View(
        entity="me", project="align_lab", display_name="x", name="nw-x-v", id="",
        spec=workspaces.WorkspaceViewspec.model_validate(spec),
    )  # fmt: skip
    again = _sent(Workspace._from_model(model)._to_model().spec)
    assert again["section"]["runSets"] == spec["section"]["runSets"]
    assert _placeless(_panels(again)) == _placeless(_panels(spec))

    spec = wandb_report.view(study, PLACE, description="").spec
    read_back = [wr._lookup(block) for block in reports.Spec.model_validate(spec).blocks]
    grids = [block for block in read_back if isinstance(block, wr.PanelGrid)]
    shown = [panel for grid in grids for panel in grid.panels]
    assert not [one for one in [*read_back, *shown] if isinstance(one, wr.UnknownBlock | wr.UnknownPanel)]
    assert _placeless([_sent(panel._to_model()) for panel in shown]) == _placeless(_panels(spec))


def test_every_metric_that_is_shown_is_declared(view):
    shown = set(_metrics(view.spec))
    assert shown - METRICS.keys() - set(LABELS) == set(panels.MEMORY) | {"_absolute_runtime"}
    assert {
        "eval/gold_score",
        "eval/score",
        "eval/kl",
        "eval/win_rate",
        "time/step",
        "budget/flops",
        "episode",
    } <= shown


def test_a_chart_is_there_for_what_some_arm_logs_and_no_empty_one(study, tmp_path):
    shown = set(_metrics(wandb_report.view(study, PLACE, description="").spec))
    assert {"loss/value_avg", "rewards/margins"} <= shown  # of one arm each
    assert not {"policy/clipfrac_avg", "optim/policy_grad_norm"} & shown  # of none
    write_run(tmp_path / "new", "ppo", status={"state": "running", "step": 3})
    assert set(_metrics(wandb_report.view(read(tmp_path / "new"), PLACE, description="").spec)) >= set(panels.TRAINING)


def test_curves_are_of_arms_over_episodes_with_a_band_over_seeds_and_every_seed(view, study):
    plots = [panel["config"] for panel in _panels(view.spec) if panel["viewType"] == "Run History Line Plot"]
    assert len(plots) > 20
    for plot in plots:
        assert plot["groupBy"] == "arm.value"
        assert plot["aggregate"] is True
        assert plot["limit"] == study.panel_runs == 10  # 9 finished, 1 failed
    assert {plot["groupArea"] for plot in plots if plot["xAxis"] == "episode"} == {"stddev"}
    assert {plot["xAxis"] for plot in plots} == {"episode", "eval/kl", "_absolute_runtime"}


def test_the_last_values_are_bars_of_arms_with_their_standard_error(view):
    bars = [panel["config"] for panel in _panels(view.spec) if panel["viewType"] == "Bar Chart"]
    scores = {"eval/gold_score", "eval/score", "eval/vader"}
    assert {bar["metrics"][0] for bar in bars} == {*scores, *panels.FINAL}
    assert {(bar["groupBy"], bar["groupAgg"], bar["groupArea"]) for bar in bars} == {("arm.value", "mean", "stderr")}


def test_all_that_was_asked_for_is_there(view):
    kinds = {panel["viewType"] for panel in _panels(view.spec)}
    assert {"Run Comparer", "Scatter Plot", "Parallel Coordinates Plot", "Parameter Importance", "Weave"} <= kinds
    scattered = {
        (panel["config"]["xAxis"], panel["config"]["yAxis"])
        for panel in _panels(view.spec)
        if panel["viewType"] == "Scatter Plot"
    }
    assert ("summary:eval/kl", "summary:eval/gold_score") in scattered
    assert ("summary:eval/score", "summary:eval/gold_score") in scattered


def test_no_seed_is_hidden_in_a_large_study(tmp_path):
    for seed in range(30):
        write_run(tmp_path / "many", "rloo", seed)
    large = read(tmp_path / "many")
    assert workspace.view(large, PLACE, description="").spec["section"]["settings"]["maxRuns"] == 30
    assert {
        p["config"]["limit"]
        for p in _panels(wandb_report.view(large, PLACE, description="").spec)
        if "limit" in p["config"]
    } == {30}


def test_ids_are_those_of_the_panels_and_no_two_are_equal(view, study):
    ids = [panel["__id__"] for panel in _panels(view.spec)]
    assert len(ids) == len(set(ids))
    assert MAKERS[view.kind](study, PLACE, description="about") == view


def test_arms_have_the_colors_of_the_page(study):
    colors = workspace.view(study, PLACE, description="").spec["section"]["customRunColors"]
    assert sorted(colors.values()) == sorted(["#1640ad", "#e66700", "#830871"])
    assert study.arms == {"DPO": "dpo", "PPO": "ppo", "large": "large"}
    assert list(study.arms) == [arm["name"] for arm in study.document["arms"]]


def test_the_report_shows_the_compared_runs_and_the_workspace_all(study):
    assert filters.of_study(study)["filters"] == [_leaf("config", "study", ["three"])]
    (compared,) = filters.compared(study)["filters"]
    assert compared["key"] == {"section": "run", "name": "displayName"}
    assert len(compared["value"]) == 9
    assert name_of("ppo", 3) not in compared["value"]  # it failed


def test_runs_of_another_study_are_shown_too(folder, tmp_path):
    mine = write_study(tmp_path / "mine")
    (mine / "borrowed").symlink_to(write_run(tmp_path / "other", "rloo", 7), target_is_directory=True)
    (own, borrowed) = filters.of_study(read(mine))["filters"]
    assert own == _leaf("config", "study", ["mine"])
    assert (borrowed["value"], borrowed["connector"]) == (["borrowed"], "OR")


def test_a_quote_in_a_name_is_a_quote(tmp_path):
    odd = read(write_study(tmp_path / 'it\'s $3 + "more" 😀'))
    assert filters.of_study(odd)["filters"][0]["value"] == [odd.name]
    assert odd.title.startswith('align_lab: it\'s 3  "more" ')
    assert odd.title != read(write_study(tmp_path / 'it\'s 3  "more" ')).title
    for make in MAKERS.values():
        assert make(odd, PLACE, description="").title == odd.title


def test_words_are_those_of_compare(study):
    told = sections.verdict(study)
    assert study.document["verdict"]["sentence"] in MarkdownIt().render(told)
    numbers = sections.joined([sections.arms(study), sections.pairs(study)])
    table = MarkdownIt("gfm-like", {"linkify": False}).render(numbers)
    assert table.count("<table>") == 3
    for arm in study.document["arms"]:
        assert f">{arm['name']}</td>" in table
    assert "settings and hashes are equal in every run" in sections.proof(study)
    assert name_of("ppo", 3) in MarkdownIt().render(sections.left_out(study))
    assert "by large" in sections.completions(study) or "by rloo" in sections.completions(study)


def test_the_report_answers_in_the_order_of_the_page(study):
    blocks = wandb_report.view(study, PLACE, description="").spec["blocks"]
    headings = [block["children"][0]["text"] for block in blocks if block["type"] == "heading"]
    assert headings[:4] == ["Every arm", "Every pair", "Why it can be trusted", "Worth knowing"]
    kinds = [block["type"] for block in blocks]
    texts = [block["content"] for block in blocks if block["type"] == "markdown-block"]
    answer, every_seed, pairs = texts[:3]
    question, sentence = study.document["question"], study.document["verdict"]["sentence"][:20]
    assert (
        answer.index(question) < answer.index(sentence) and "```" not in answer + every_seed and "| arm " in every_seed
    )
    assert pairs.startswith("```text") and "●" in pairs
    assert kinds.index("markdown-block") < kinds.index("panel-grid") < kinds.index("table-of-contents")
    first = workspace.view(study, PLACE, description="").spec["section"]["panelBankConfig"]["sections"][0]
    panels = [panel["config"]["value"] for panel in first["panels"]]
    assert panels[0] == answer and panels[1] == every_seed and panels[2].startswith(pairs) and "Settings" in panels[3]


def test_claims_stand_behind_the_pairs_as_on_the_page(study):
    claim = {"claim": "ppo > rloo", "metric": study.metric, "gap": 0.1, "low": 0.0, "high": 0.2, "outcome": "held"}
    claim |= {"why": "its interval is above 0", "a": "ppo", "b": "rloo"}
    asked = dataclasses.replace(study, document={**study.document, "claims": [claim]})
    blocks = wandb_report.view(asked, PLACE, description="").spec["blocks"]
    headings = [block["children"][0]["text"] for block in blocks if block["type"] == "heading"]
    assert headings[:4] == ["Every arm", "Every pair", "Claims", "Why it can be trusted"]


def test_no_title_is_the_key_of_a_metric(view):
    titles = [panel["config"].get("chartTitle") or panel["config"].get("title", "") for panel in _panels(view.spec)]
    columns = [one for panel in _panels(view.spec) for one in panel["config"].get("columns", [])]
    assert "Policy loss" in titles and "Learning rate" in titles and len(titles) > 30
    assert [title for title in titles if "/" in title or "_" in title] == []
    assert [one["displayName"] for one in columns] == ["arm", "seed", "KL", "Proxy score", "Gold score"]


def test_what_may_not_be_compared_says_so_first(tmp_path):
    folder = write_study(tmp_path / "unfair")
    manifest = folder / name_of("ppo", 0) / "manifest.json"
    edit(manifest, config={**json.loads(manifest.read_text())["config"], "sampling.temperature": 1.3})
    renamed(manifest.parent)
    unfair = read(folder)
    assert unfair.refused
    section = workspace.view(unfair, PLACE, description="").spec["section"]["panelBankConfig"]["sections"][0]
    assert section["pinned"]
    assert section["panels"][0]["config"]["value"].startswith(f"**{sections.NOT_COMPARABLE}**")
    assert "sampling.temperature" in section["panels"][0]["config"]["value"]
    first = wandb_report.view(unfair, PLACE, description="").spec["blocks"][1]
    assert first["type"] == "callout-block"
    assert sections.NOT_COMPARABLE in json.dumps(first)
    assert not read(folder, allow=["sampling.temperature"]).refused


def test_arms_have_the_names_of_the_page_and_those_of_the_charts_are_told(tmp_path):
    for algo, end in (("dr_grpo", 0.9), ("rloo", 0.5)):
        write_run(tmp_path / "named", algo, 0, (0.0, end))
    named = read(tmp_path / "named")
    assert named.arms == {"Dr.\u00a0GRPO": "dr_grpo", "RLOO": "rloo"}
    told = MarkdownIt().render(sections.notes(named))
    assert "Charts here call Dr.\u00a0GRPO dr_grpo." in told and "RLOO rloo" not in told


def test_arms_that_share_a_name_are_told_about(tmp_path):
    folder = tmp_path / "same"
    for seed in range(2):
        write_run(folder, "rloo", seed, (0.0, 0.1 * seed))
        write_run(folder, "rloo", seed, (0.0, 0.5), config={"algo.kl_coef": 0.5})
    same = read(folder)
    assert list(same.merged) == ["rloo"]
    assert "one curve in the charts here" in sections.notes(same)
    assert len(same.colors) == 1


def test_a_study_without_a_finished_run_has_a_dashboard_too(tmp_path):
    write_run(tmp_path / "new", "ppo", status={"state": "running", "step": 3})
    new = read(tmp_path / "new")
    assert not new.refused
    for make in MAKERS.values():
        text = json.dumps(make(new, PLACE, description="").spec)
        assert "No run has finished yet" in text
        assert sections.NOT_COMPARABLE not in text


def _leaf(section: str, name: str, value: list[str]) -> dict[str, Any]:
    return {"key": {"section": section, "name": name}, "op": "IN", "value": value, "disabled": False}


def _sent(model: Any) -> Any:
    return json.loads(model.model_dump_json(by_alias=True, exclude_none=True))


def _placeless(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in panel.items() if key != "layout"} for panel in shown]


def _panels(value: Any) -> list[dict[str, Any]]:
    """Every panel, wherever it lies."""
    if isinstance(value, list):
        return [panel for item in value for panel in _panels(item)]
    if not isinstance(value, dict):
        return []
    own = [value] if "viewType" in value else []
    return own + [panel for item in value.values() for panel in _panels(item)]


def _metrics(spec: dict[str, Any]) -> Iterator[str]:
    """Names of the metrics that panels, and the table of runs, show."""
    for panel in _panels(spec):
        config = panel["config"]
        yield from config.get("metrics", [])
        axes = [config.get(key, "") for key in ("xAxis", "yAxis", "targetKey")]
        axes += [column["accessor"] for column in config.get("columns", [])]
        yield from (name.removeprefix("summary:") for name in axes if name and not name.startswith("config:"))
    for runs in spec.get("section", {}).get("runSets", []):
        yield from (
            name.removeprefix("summary:") for name in runs["runFeed"]["columnOrder"] if name.startswith("summary:")
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        whole = read(write_study(Path(place) / "three"))
    GOLDEN.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        text = json.dumps(make(whole, PLACE, description="about").as_file(PLACE), indent=1) + "\n"
        (GOLDEN / f"{name}.json").write_text(text, encoding="utf-8")
    sys.exit()
