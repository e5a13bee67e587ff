"""`align_lab wandb dashboard STUDY`: the study's workspace and report on W&B, created or updated."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from align_lab.base import answer
from align_lab.base.errors import ConfigError
from align_lab.base.files import read_json, write_json
from align_lab.cli.arguments import Arguments
from align_lab.compare.runs import study_folder

if TYPE_CHECKING:
    from align_lab.dashboards.saved_view import Project, View
    from align_lab.dashboards.study_document import StudyDocument

PROJECT = "align_lab"  # the default of record.project
FOLDER, INDEX = "wandb", "dashboard.json"  # under runs/STUDY/
ABOUT = """\
Create a comparison workspace and a report of a study on W&B; the same command again updates both in place.

The workspace follows the study's runs: curves by arm with seed bands, last values, reward against KL, score against
judge, time and memory, recipes, samples. The report contains verdict, proof and intervals of compare, with charts of
the runs that it compares. The next update overwrites manual changes: save them as another view.
"""
EXAMPLES = """\
examples:
  align_lab wandb dashboard five_algorithms                       the project that the runs were logged to
  align_lab wandb dashboard five_algorithms --entity=my_team --project=alignment
  align_lab wandb dashboard five_algorithms --offline             write to runs/STUDY/wandb/, upload nothing

Needs: pip install 'align_lab[wandb]', and a key: wandb login, or WANDB_API_KEY. A server of your own: WANDB_BASE_URL.
"""


def dashboard(args: Sequence[str]) -> int:
    """Write workspace and report, and print where they are."""
    options = _parser().parse_args(args)
    folder = study_folder(options.study)
    _refuse_missing_library()
    if options.offline:
        study, project = _read(folder, options)
        written = _write_to_disk(study, folder, project)
    else:
        from align_lab.dashboards import server

        try:
            _refuse_missing_key(options.study)
            study, project = _read(folder, options)
            written = _upload(study, folder, project)
        finally:
            server.leave()
    _show(written, study, options)
    return 0


def _read(folder: Path, options: argparse.Namespace) -> tuple[StudyDocument, Project]:
    """The study, and the W&B project for it."""
    from align_lab.dashboards.saved_view import Project
    from align_lab.dashboards.study_document import read, recorded

    study = read(folder, allow=options.allow, paired=options.paired)
    project = options.project or recorded(folder, "project") or PROJECT
    return study, Project(entity=options.entity or recorded(folder, "entity") or "", project=project)


def _parser() -> Arguments:
    parser = Arguments(
        prog="align_lab wandb dashboard",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", metavar="STUDY", help="name of a folder under runs/, or a path")
    parser.add_argument("--project", metavar="NAME", help=f"W&B project (default: the runs' own, else {PROJECT})")
    parser.add_argument("--entity", metavar="NAME", help="W&B user or team (default: the runs' own, else your default)")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="FIELD", help="as in compare: a setting that may differ"
    )
    parser.add_argument(
        "--paired", action=argparse.BooleanOptionalAction, help="as in compare: decide by differences seed by seed"
    )
    parser.add_argument(
        "--offline", action="store_true", help="write both specs to runs/STUDY/wandb/ and upload nothing"
    )
    return parser


def _refuse_missing_library() -> None:
    if missing := [name for name in ("wandb", "wandb_workspaces") if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"a dashboard needs {' and '.join(missing)}. Type: pip install 'align_lab[wandb]'")


def _refuse_missing_key(study: str) -> None:
    from align_lab.boards import wandb_key
    from align_lab.dashboards import server

    if not server.has_key():
        raise ConfigError(
            f"there is no W&B key for {wandb_key.address()}. Type: wandb login (or set WANDB_API_KEY), then again: "
            f"align_lab wandb dashboard {study}\n"
            f"Without a key, write the specs to disk: align_lab wandb dashboard {study} --offline"
        )


def _views(study: StudyDocument, project: Project) -> list[View]:
    """Workspace and report. The same study gives the same specs."""
    from align_lab.dashboards import wandb_report, workspace

    about = f"Made by: align_lab wandb dashboard {study.name}. The next update overwrites manual changes."
    return [module.view(study, project, description=about) for module in (workspace, wandb_report)]


def _write_to_disk(study: StudyDocument, folder: Path, project: Project) -> dict[str, str]:
    written = {}
    (folder / FOLDER).mkdir(exist_ok=True)
    for view in _views(study, project):
        path = folder / FOLDER / f"{view.kind}.json"
        write_json(path, view.as_file(project))
        written[view.kind] = str(path)
    return written


def _upload(study: StudyDocument, folder: Path, target: Project) -> dict[str, str]:
    """All checks come before the first view is written, and each view is recorded as soon as it is on the server."""
    from align_lab.boards import wandb_key
    from align_lab.dashboards import server

    api = server.Server()
    project = api.place(target.entity or api.entity, target.project)
    file, key = folder / FOLDER / INDEX, f"{wandb_key.address()}/{project.entity}/{project.project}"
    index = read_json(file)
    recorded = index.get(key, {})
    views = _views(study, project)
    existing = [server.chosen(api.views(project, v.kind), recorded.get(v.kind, {}), v.title) for v in views]
    file.parent.mkdir(exist_ok=True)
    urls: dict[str, str] = {}
    for view, previous in zip(views, existing, strict=True):
        current = api.write(view, project, previous)
        urls[view.kind] = api.url(project, view.kind, current)
        recorded[view.kind] = {"id": current.id, "title": current.title, "url": urls[view.kind]}
        write_json(file, {**index, key: recorded})
    return urls


def _show(written: dict[str, str], study: StudyDocument, options: argparse.Namespace) -> None:
    verdict = study.document["verdict"]["sentence"]
    comparable = study.document["comparability"]["fair"]
    answer.give({**written, "offline": options.offline, "comparable": comparable, "verdict": verdict})
    if study.refused:
        print(f"{verdict} Workspace and report say so at the top.")
    for kind, address in written.items():
        print(f"{kind + ':':<11}{address}")
    if options.offline:
        print(f"Nothing was uploaded. With a key: align_lab wandb dashboard {options.study}")
