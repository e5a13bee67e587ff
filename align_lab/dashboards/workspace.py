"""The workspace: every run of the study as it progresses, arms against arms. The verdict is its first section."""

from __future__ import annotations

import wandb_workspaces.expr as expr
import wandb_workspaces.workspaces as ws
from wandb_workspaces.reports.v2 import interface as wr

from align_lab.compare.document import SCORE
from align_lab.compare.report import words
from align_lab.dashboards import filters, panels, sections
from align_lab.dashboards.panels import Panels, identified
from align_lab.dashboards.saved_view import Project, View, spec_of
from align_lab.dashboards.study_document import StudyDocument

# Columns of the table of runs
COLUMNS = ("eval/win_rate", "eval/kl", "eval/length", "eval/distinct_2")
RECIPES, SAMPLES = "Runs and recipes", "Samples"


def view(study: StudyDocument, place: Project, *, description: str) -> View:
    """The whole workspace."""
    made = ws.Workspace(
        entity=place.entity,
        project=place.project,
        name=study.title,
        sections=_sections(study),
        settings=ws.WorkspaceSettings(x_axis="episode", max_runs=study.panel_runs, smoothing_type="none"),
        runset_settings=_runs(study),
    )
    made._internal_runset_id = "align_lab"  # else it is random, and colors refer to it
    model = made._to_model()
    model.spec.section.run_sets[0].filters = filters.of_study(study)
    ungrouped = (_frontier(study), RECIPES, SAMPLES)  # sections of runs, though the table of runs is grouped by arm
    for section in model.spec.section.panel_bank_config.sections:
        section.local_panel_settings.use_runs_table_grouping_in_panels = section.name not in ungrouped
    return View(kind="workspace", title=study.title, description=description, spec=spec_of(model))


def _runs(study: StudyDocument) -> ws.RunsetSettings:
    metrics = dict.fromkeys((study.metric, SCORE, *COLUMNS))
    return ws.RunsetSettings(
        groupby=[expr.Config("arm")],
        group_colors={**study.colors},
        pinned_columns=["run:displayName", "config:arm.value", "config:seed.value", *map("summary:{}".format, metrics)],
    )


def _sections(study: StudyDocument) -> list[ws.Section]:
    made = Panels("workspace", study)
    made_of = [
        _verdict(study),
        ws.Section(name="At the end", panels=made.final(), is_open=True),
        ws.Section(name="Learning curves", panels=made.learning(), is_open=True),
        ws.Section(name=_frontier(study), panels=made.frontier(), is_open=True),
        ws.Section(name="Length, entropy and diversity", panels=made.curves(panels.TEXT)),
        ws.Section(name="Optimization", panels=made.curves(panels.TRAINING)),
        ws.Section(name="Time, memory, budget", panels=made.cost()),
        ws.Section(name=RECIPES, panels=made.recipes(), layout_settings=_columns(1)),
        ws.Section(name=SAMPLES, panels=made.samples(), layout_settings=_columns(1)),
    ]
    return [section for section in made_of if section.panels]


def _frontier(study: StudyDocument) -> str:
    if study.metric == SCORE:
        return "Reward against KL"
    optimized, decides = (words.short(study.document, name) for name in (SCORE, study.metric))
    return f"Reward against KL, {optimized} against {decides}"


def _verdict(study: StudyDocument) -> ws.Section:
    texts = {
        "verdict": sections.joined([sections.verdict(study), sections.factors(study)]),
        "arms": sections.arms(study),
        "pairs": sections.joined([sections.every_pair(study), sections.claims(study), sections.pairs(study)]),
        "trust": sections.joined([sections.proof(study), sections.notes(study)]),
    }
    parts = [identified(wr.MarkdownPanel(markdown=text), "workspace", name) for name, text in texts.items()]
    return ws.Section(name="Verdict", panels=parts, is_open=True, pinned=True, layout_settings=_columns(2, 2))


def _columns(n: int, rows: int = 1) -> ws.SectionLayoutSettings:
    return ws.SectionLayoutSettings(columns=n, rows=rows)
