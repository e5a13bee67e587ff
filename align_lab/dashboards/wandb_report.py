"""The report: the document of compare in the order of its page, with W&B charts of exactly the compared runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from wandb_workspaces.reports.v2 import interface as wr
from wandb_workspaces.reports.v2 import internal

from align_lab.dashboards import filters, panels, sections
from align_lab.dashboards.panels import Panels, identified
from align_lab.dashboards.saved_view import Project, View, spec_of
from align_lab.dashboards.study_document import StudyDocument

RUNS = "finished runs"


def view(study: StudyDocument, place: Project, *, description: str) -> View:
    """The whole report."""
    report = wr.Report(
        entity=place.entity,
        project=place.project,
        title=study.title,
        description=description,
        width="fluid",
        blocks=list(_blocks(study)),
    )
    model = report._to_model()
    for grid in (block for block in model.spec.blocks if isinstance(block, internal.PanelGrid)):
        for runs in grid.metadata.run_sets:
            runs.project = internal.Project(entity_name=place.entity, name=place.project, id=place.id)
            runs.filters = filters.compared(study)
    return View(kind="report", title=study.title, description=description, spec=spec_of(model))


def _blocks(study: StudyDocument) -> Iterable[Any]:
    charts = Panels("report", study)
    if study.refused:
        yield wr.CalloutBlock(text=sections.NOT_COMPARABLE)
    yield from _text(sections.verdict(study))
    yield from _part("What each choice does", study, sections.factors(study))
    yield from _part("Every arm", study, sections.arms(study), charts.final())
    yield from _part("Every pair", study, sections.every_pair(study))
    yield from _part("Claims", study, sections.claims(study))
    yield from _part("Why it can be trusted", study, sections.proof(study))
    yield from _part("Worth knowing", study, sections.notes(study))
    yield wr.TableOfContents()
    yield from _part("Pairs in numbers", study, sections.pairs(study))
    yield from _part("Tuning", study, sections.tuning(study))
    if equal := sections.equal(study):
        yield wr.H2("Settings and hashes that are equal in every run", collapsed_blocks=[wr.MarkdownBlock(equal)])
    yield from _part("Recipes", study, sections.recipes(study), charts.recipes(), by_arm=False)
    yield from _part("Learning curves", study, "", charts.learning())
    yield from _part("At equal budgets", study, sections.budgets(study))
    yield from _part(
        "Reward, KL and over-optimization", study, sections.overoptimization(study), charts.frontier(), by_arm=False
    )
    yield from _part("Length, entropy and diversity", study, sections.health(study), charts.curves(panels.TEXT))
    yield from _part("Optimization", study, "", charts.curves(panels.TRAINING))
    yield from _part("Time, memory, budget", study, sections.charged(study), charts.cost())
    yield from _part("Instrument audit", study, sections.audit(study))
    yield from _part("Samples", study, sections.completions(study), charts.samples(), by_arm=False)
    yield from _part("Runs left out", study, sections.left_out(study))


def _part(
    title: str, study: StudyDocument, text: str, shown: Sequence[Any] = (), *, by_arm: bool = True
) -> Iterable[Any]:
    if text or shown:
        yield wr.H2(title)
        yield from _text(text)
    if shown:
        yield _grid(title, study, shown, by_arm)


def _text(text: str) -> Iterable[wr.MarkdownBlock]:
    if text:
        yield wr.MarkdownBlock(text)


def _grid(title: str, study: StudyDocument, shown: Sequence[Any], by_arm: bool) -> wr.PanelGrid:
    """Panels of the finished runs, grouped and colored by arm, or run by run. A panel may group by itself."""
    runs = wr.Runset(name=RUNS, groupby=["config.arm"] if by_arm else [])
    colors: dict[Any, Any] = {
        wr.RunsetGroup(runset_name=RUNS, keys=(wr.RunsetGroupKey(key=panels.ARM, value=arm),)): color
        for arm, color in study.colors.items()
    }
    return wr.PanelGrid(
        runsets=[identified(runs, "report", title)],
        panels=list(shown),
        hide_run_sets=True,
        custom_run_colors=colors if by_arm else {},
    )
