"""The workspace: every run of the study while it goes on, arms against arms. The verdict is its first section."""

from __future__ import annotations

import wandb_workspaces.expr as expr
import wandb_workspaces.workspaces as ws
from wandb_workspaces.reports.v2 import interface as wr

from align_lab.dashboards import filters, panels, sections
from align_lab.dashboards.panels import Panels, identified
from align_lab.dashboards.saved_view import Project, View, spec_of
from align_lab.dashboards.study_document import StudyDocument

# of the table of runs
COLUMNS = ("eval/gold_score", "eval/score", "eval/win_rate", "eval/kl", "eval/length", "eval/distinct_2")
FRONTIER, RECIPES, SAMPLES = "Reward against KL, proxy against gold", "Runs and recipes", "Samples"
UNGROUPED = (FRONTIER, RECIPES, SAMPLES)  # sections that show runs, though the table of runs is grouped by arm


def view(study: StudyDocument, place: Project, *, description: str) -> View:
    made = ws.Workspace(
        entity=place.entity,
        project=place.project,
        name=study.title,
        sections=_sections(study),
        settings=ws.WorkspaceSettings(x_axis="episode", max_runs=study.shown, smoothing_type="none"),
        runset_settings=_runs(study),
    )
    made._internal_runset_id = "align_lab"  # else drawn at random, and colours refer to it
    model = made._to_model()
    model.spec.section.run_sets[0].filters = filters.of_study(study)
    for section in model.spec.section.panel_bank_config.sections:
        section.local_panel_settings.use_runs_table_grouping_in_panels = section.name not in UNGROUPED
    return View(kind="workspace", title=study.title, description=description, spec=spec_of(model))


def _runs(study: StudyDocument) -> ws.RunsetSettings:
    return ws.RunsetSettings(
        groupby=[expr.Config("arm")],
        group_colors={**study.colours},
        pinned_columns=["run:displayName", "config:arm.value", "config:seed.value", *map("summary:{}".format, COLUMNS)],
    )


def _sections(study: StudyDocument) -> list[ws.Section]:
    made = Panels("workspace", study.shown, study.logged)
    made_of = [
        _said(study),
        ws.Section(name="Learning curves", panels=made.curves(panels.LEARNING), is_open=True),
        ws.Section(name="At the end", panels=made.final(), is_open=True),
        ws.Section(name=FRONTIER, panels=made.frontier(), is_open=True),
        ws.Section(name="Length, entropy and diversity", panels=made.curves(panels.TEXT)),
        ws.Section(name="Optimisation", panels=made.curves(panels.TRAINING)),
        ws.Section(name="Time, memory, budget", panels=made.cost()),
        ws.Section(name=RECIPES, panels=made.recipes(), layout_settings=_columns(1)),
        ws.Section(name=SAMPLES, panels=made.samples(), layout_settings=_columns(1)),
    ]
    return [section for section in made_of if section.panels]


def _said(study: StudyDocument) -> ws.Section:
    texts = {"verdict": sections.verdict(study), "intervals": sections.intervals(study)}
    shown = [identified(wr.MarkdownPanel(markdown=text), "workspace", name) for name, text in texts.items()]
    return ws.Section(name="Verdict", panels=shown, is_open=True, pinned=True, layout_settings=_columns(2))


def _columns(n: int) -> ws.SectionLayoutSettings:
    return ws.SectionLayoutSettings(columns=n, rows=1)
