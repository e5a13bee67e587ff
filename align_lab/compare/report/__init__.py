"""The comparison as files: `report.html`, `report.md`, and `report/` with tables (CSV) and figures (SVG, PNG).

Everything renders the comparison document of `align_lab.compare.analysis.analyze`; nothing is computed anew.
"""

from __future__ import annotations

from pathlib import Path

from align_lab.base.files import publishing, write_text
from align_lab.compare.document import Document

__all__ = ["write"]

MOST_ARMS = 40  # of a page, its figures and its Markdown; the CSV files hold all


def write(document: Document, folder: Path, *, figures: bool = True) -> list[Path]:
    """Write the report into `folder` (runs/STUDY) and return the paths of its files, the page first.

    Each file appears whole or not at all, and `report/` is replaced as one, so that no figure of an earlier report
    stays behind. figures: the SVG and PNG files, about 2 s for 16; without them `report.md` has no pictures.
    """
    from align_lab.compare.names import displayed
    from align_lab.compare.report import (  # here: the terminal's command needs none of it
        charts,
        clean,
        csv_tables,
        markdown,
        page,
    )
    from align_lab.compare.report import figures as drawings

    whole = clean.ordered(clean.with_links_that_lead_somewhere(clean.cleaned(document), folder))
    shown = displayed(clean.best(whole, arms=MOST_ARMS))
    if note := charts.seeds_left_out(shown):
        shown = shown.copy()
        shown["notes"] = [*shown["notes"], note]
    folder.mkdir(parents=True, exist_ok=True)
    with publishing(folder / "report") as partial:
        parts = csv_tables.write_csv(whole, partial)
        drawn = drawings.write_figures(shown, partial) if figures else []
    write_text(folder / "report.md", markdown.markdown(shown, [path.stem for path in drawn]))
    write_text(folder / "report.html", page.html(shown, drawn=bool(drawn)))
    return [folder / "report.html", folder / "report.md", *(folder / "report" / path.name for path in parts + drawn)]
