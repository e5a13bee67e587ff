"""The part of W&B's API that a dashboard needs: the project, its views, and creating or updating a view."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import wandb
from wandb.errors import AuthenticationError, CommError, UsageError
from wandb.sdk.lib.service.service_connection import WandbApiFailedError
from wandb_workspaces._graphql import execute_graphql, get_app_url
from wandb_workspaces.reports.v2 import gql
from wandb_workspaces.reports.v2.internal import _generate_name
from wandb_workspaces.workspaces.internal import _generate_view_name, _internal_name_to_url_query_str

from align_lab.base.errors import AlignLabError, ConfigError
from align_lab.boards import wandb_key
from align_lab.dashboards.saved_view import TYPES, Kind, Project, View

VIEWS = """
    query Views($project: String!, $entity: String!, $type: String!, $after: String) {
        project(name: $project, entityName: $entity) {
            allViews(viewType: $type, first: 100, after: $after) {
                edges { node { id name displayName } cursor }
                pageInfo { hasNextPage }
            }
        }
    }
"""
SILENT = "did not respond in time"  # message of wandb's service for a server that is not reachable or only has errors
LEAVE_SECONDS = 3.0
AGAIN = "What was written stays as it is; the same command again makes the rest"


@dataclass(frozen=True)
class SavedView:
    """A view on the server: its id, its name in addresses, its title."""

    id: str
    name: str
    title: str


def has_key() -> bool:
    """Is there a key for the server?"""
    with translated_errors():
        return wandb_key.has_key()


def leave() -> None:
    """End wandb's own process, and kill it after LEAVE_SECONDS: it may retry an abandoned request for minutes."""
    service = wandb.setup()._connection
    ending = threading.Thread(target=wandb.teardown, daemon=True)
    ending.start()
    ending.join(LEAVE_SECONDS)
    if ending.is_alive() and service and service._proc:
        service._proc._process.kill()


class Server:
    """W&B's server.

    Raises ConfigError for a rejected key, AlignLabError for a server that does not answer or has errors.
    """

    def __init__(self) -> None:
        with translated_errors():
            self._api = wandb.Api()
            self.entity = self._api.default_entity or ""  # the owner of projects whose entity is not given

    def place(self, entity: str, project: str) -> Project:
        """The project. Raises ConfigError if it does not exist: a dashboard displays runs that were logged before."""
        answer = self._ask(gql.projectInternalId, entityName=entity, projectName=project).get("project")
        if not answer:
            raise ConfigError(
                f"there is no project {entity}/{project} on {wandb_key.address()}: nothing was logged there. Log the "
                "study's runs first (align_lab wandb push STUDY), or name the project that has them: "
                "--project=NAME, --entity=NAME"
            )
        return Project(entity=entity, project=project, id=answer["internalId"])

    def views(self, place: Project, kind: Kind) -> list[SavedView]:
        """Every view of this kind in the project."""
        views: list[SavedView] = []
        more, after = True, None
        while more:
            answer = self._ask(VIEWS, project=place.project, entity=place.entity, type=TYPES[kind], after=after)
            page = answer["project"]["allViews"]
            views += [SavedView(node["id"], node["name"], node["displayName"]) for node in map(_node, page["edges"])]
            more = page["pageInfo"]["hasNextPage"] and bool(page["edges"])
            after = page["edges"][-1]["cursor"] if more else None
        return views

    def write(self, view: View, place: Project, known: SavedView | None) -> SavedView:
        """Create the view, or update the known one. Returns the view as the server has it."""
        name = known.name if known else (_generate_view_name() if view.kind == "workspace" else _generate_name())
        saved = self._ask(
            gql.upsert_view,
            id=known.id if known else None,
            entityName=place.entity,
            projectName=place.project,
            type=TYPES[view.kind],
            name=name,
            displayName=view.title,
            description=view.description,
            spec=json.dumps(view.spec),
        )["upsertView"]["view"]
        return SavedView(saved["id"], saved["name"], view.title)

    def url(self, place: Project, kind: Kind, known: SavedView) -> str:
        """The address of the view."""
        project = f"{get_app_url(self._api).rstrip('/')}/{quote(place.entity)}/{quote(place.project)}"
        if kind == "workspace":
            return f"{project}?nw={_internal_name_to_url_query_str(known.name)}"
        return f"{project}/reports/{quote(known.title.replace(' ', '-'))}--{known.id.rstrip('=')}"

    def _ask(self, query: str, **variables: Any) -> Mapping[str, Any]:
        with translated_errors():
            return execute_graphql(self._api, query, variables)


def _node(edge: Mapping[str, Any]) -> Mapping[str, Any]:
    return edge["node"]


def chosen(views: Sequence[SavedView], remembered: Mapping[str, str], title: str) -> SavedView | None:
    """The view that was written before under this title: by its id, because it may have been renamed, else by title.

    None if there is none. A copied study has ids of views of another title, which are not its own.
    """
    mine = remembered.get("id") if remembered.get("title") == title else None
    by_id = [view for view in views if view.id == mine]
    by_title = [view for view in views if view.title == title]
    return next(iter([*by_id, *by_title]), None)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Replace wandb's errors by errors that say what to type."""
    try:
        yield
    except (WandbApiFailedError, CommError, UsageError) as error:
        raise _translated(error) from error


def _translated(error: Exception) -> AlignLabError:
    cause = error if isinstance(error, WandbApiFailedError) else error.__cause__
    answer = cause.response if isinstance(cause, WandbApiFailedError) else None
    status, host = answer.http_status if answer is not None else 0, wandb_key.address()
    if (
        status in (401, 403)
        or (isinstance(error, AuthenticationError) and cause is None)
        or isinstance(error, UsageError)
    ):
        return ConfigError(f"{host} rejected the W&B key ({_first_line(error)}). Type: wandb login --relogin")
    if SILENT in str(error):
        return AlignLabError(
            f"{host} does not answer, or answers with errors. Try again later (WANDB_HTTP_TIMEOUT=60 waits longer), or "
            f"write the specs to disk: --offline. {AGAIN}"
        )
    return AlignLabError(f"{host} answers with an error: {_first_line(error)}. {AGAIN}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
