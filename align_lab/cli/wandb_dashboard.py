"""`python -m align_lab wandb dashboard STUDY`: the study's workspace and report on W&B, made or made again in place."""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align_lab.base.errors import ConfigError
from align_lab.base.files import read_json, write_json
from align_lab.compare.runs import study_folder

if TYPE_CHECKING:
    from align_lab.dashboards.saved_view import Project, View
    from align_lab.dashboards.study_document import StudyDocument

PROJECT = "align_lab"  # where runs are logged that do not say otherwise (record.project)
FOLDER, MEMORY = "wandb", "dashboard.json"  # under runs/STUDY/
ABOUT = """\
Make a comparison workspace and a report of a study on W&B; called again, the same two are updated, never doubled.

The workspace follows the study's runs as they go on: curves by arm with seed bands, last values, reward against KL, proxy
against gold, time and memory, recipes, samples. The report holds compare's verdict, proof and intervals, with charts of
the runs that it compares. What you change in them by hand is lost at the next call: save it as another view.
"""
EXAMPLES = """\
examples:
  python -m align_lab wandb dashboard five_algorithms                       to the project that the runs were logged to
  python -m align_lab wandb dashboard five_algorithms --entity=my_team --project=alignment
  python -m align_lab wandb dashboard five_algorithms --offline             to runs/five_algorithms/wandb/, nothing is sent

Needs: pip install 'align_lab[wandb]', and a key: wandb login, or WANDB_API_KEY. Own server: WANDB_BASE_URL.
"""


def dashboard(args: Sequence[str]) -> int:
    """Write workspace and report, and say where they are."""
    options = _parser().parse_args(args)
    folder = study_folder(options.study)
    _refuse_missing_library()
    if options.offline:
        study, place = _read(folder, options)
        written = _on_disk(study, folder, place)
    else:
        from align_lab.dashboards import server

        try:
            _refuse_missing_key(options.study)
            study, place = _read(folder, options)
            written = _sent(study, folder, place)
        finally:
            server.leave()
    _show(written, study, options)
    return 0


def _read(folder: Path, options: argparse.Namespace) -> tuple[StudyDocument, Project]:
    """The study, and where it is to be shown."""
    from align_lab.dashboards.saved_view import Project
    from align_lab.dashboards.study_document import read, recorded

    study = read(folder, allow=options.allow, paired=options.paired)
    project = options.project or recorded(folder, "project") or PROJECT
    return study, Project(entity=options.entity or recorded(folder, "entity") or "", project=project)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m align_lab wandb dashboard",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", metavar="STUDY", help="name of a folder under runs/, or a path")
    parser.add_argument("--project", metavar="NAME", help=f"W&B project (as the runs had it, else {PROJECT})")
    parser.add_argument("--entity", metavar="NAME", help="W&B user or team (as the runs had it, else your default)")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="FIELD", help="as in compare: a setting that may differ"
    )
    parser.add_argument("--paired", action="store_true", help="as in compare: decide by differences seed by seed")
    parser.add_argument("--offline", action="store_true", help="write both specs to runs/STUDY/wandb/ and send nothing")
    parser.add_argument("--json", action="store_true", help="print what was written for scripts")
    return parser


def _refuse_missing_library() -> None:
    if missing := [name for name in ("wandb", "wandb_workspaces") if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"a dashboard needs {' and '.join(missing)}. Type: pip install 'align_lab[wandb]'")


def _refuse_missing_key(study: str) -> None:
    from align_lab.boards import wandb_key
    from align_lab.dashboards import server

    if not server.has_key():
        raise ConfigError(
            f"there is no W&B key for {wandb_key.address()}. Type: wandb login (or set WANDB_API_KEY), then again: python -m align_lab "
            f"wandb dashboard {study}\nWithout one, the specs can be written to disk: python -m align_lab wandb dashboard {study} --offline"
        )


def _made(study: StudyDocument, place: Project) -> list[View]:
    """Workspace and report. The same study gives the same specs."""
    from align_lab.dashboards import wandb_report, workspace

    about = (
        f"Made by: python -m align_lab wandb dashboard {study.name}. Changes by hand are lost when it is made again."
    )
    return [module.view(study, place, description=about) for module in (workspace, wandb_report)]


def _on_disk(study: StudyDocument, folder: Path, place: Project) -> dict[str, str]:
    written = {}
    (folder / FOLDER).mkdir(exist_ok=True)
    for view in _made(study, place):
        path = folder / FOLDER / f"{view.kind}.json"
        write_json(path, view.as_file(place))
        written[view.kind] = str(path)
    return written


def _sent(study: StudyDocument, folder: Path, meant: Project) -> dict[str, str]:
    """Everything that can be refused comes before the first view is written; each is remembered as soon as it is there."""
    from align_lab.boards import wandb_key
    from align_lab.dashboards import server

    there = server.Server()
    place = there.place(meant.entity or there.entity, meant.project)
    memory, key = folder / FOLDER / MEMORY, f"{wandb_key.address()}/{place.entity}/{place.project}"
    known = read_json(memory)
    remembered = known.get(key, {})
    views = _made(study, place)
    before = [server.chosen(there.views(place, v.kind), remembered.get(v.kind, {}), v.title) for v in views]
    memory.parent.mkdir(exist_ok=True)
    written = {}
    for view, old in zip(views, before, strict=True):
        now = there.write(view, place, old)
        written[view.kind] = there.url(place, view.kind, now)
        remembered[view.kind] = {"id": now.id, "title": now.title, "url": written[view.kind]}
        write_json(memory, {**known, key: remembered})
    return written


def _show(written: dict[str, str], study: StudyDocument, options: argparse.Namespace) -> None:
    sentence = study.document["verdict"]["sentence"]
    if options.json:
        told: dict[str, Any] = {
            **written,
            "offline": options.offline,
            "comparable": study.document["comparability"]["fair"],
            "verdict": sentence,
        }
        print(json.dumps(told, indent=1))
        return
    if study.refused:
        print(f"{sentence} Workspace and report say so at the top.")
    for kind, where in written.items():
        print(f"{kind + ':':<11}{where}")
    if options.offline:
        print(f"Nothing was sent. With a key: python -m align_lab wandb dashboard {options.study}")
