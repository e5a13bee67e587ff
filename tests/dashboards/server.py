"""A small W&B on this machine: projects and their views, over HTTP.

Our reading of the protocol, not the real server.
"""

from __future__ import annotations

import json
import re
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAGE = 2  # views a page, so that a few are several pages
ASKED = re.compile(r"(?:query|mutation)\s+(\w+)")
VIEWER = {
    "id": "u1", "entity": "me", "username": "me", "name": "me", "email": "me@example.org", "admin": False,
    "flags": "{}",
    "deletedAt": None, "teams": {"edges": []}, "apiKeys": {"edges": []},
}  # fmt: skip


@dataclass
class Wandb:
    """What the server holds, and what it was asked. broken: operation -> status of the answer, from its nth call on."""

    url: str = ""
    projects: set[str] = field(default_factory=lambda: {"me/align_lab"})
    views: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    broken: dict[str, tuple[int, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, query: str, given: dict[str, Any]) -> tuple[int, Any]:
        with self.lock:
            name = ASKED.search(query)[1]  # type: ignore[index]
            self.asked.append((name, given))
            status, first = self.broken.get(name, self.broken.get("*", (200, 0)))
            if status != 200 and self.count(name) > first:
                return status, {"errors": [{"message": f"the server says {status}"}]}
            return 200, {"data": getattr(self, name)(given)}

    def count(self, name: str) -> int:
        return sum(asked == name for asked, _ in self.asked)

    def Viewer(self, given: Mapping[str, Any]) -> Any:  # noqa: N802
        return {"viewer": VIEWER}

    GetDefaultEntity = Viewer

    def ProjectInternalId(self, given: Mapping[str, Any]) -> Any:  # noqa: N802
        there = _project(given) in self.projects
        return {"project": {"id": "p1", "internalId": "UHJvamVjdEludGVybmFsSWQ6MQ=="} if there else None}

    def Views(self, given: Mapping[str, Any]) -> Any:  # noqa: N802
        mine = [
            v for v in self.views if (v["type"], v["place"]) == (given["type"], f"{given['entity']}/{given['project']}")
        ]
        start = int(given.get("after") or 0)
        keys = ("id", "name", "displayName")
        edges = [
            {"node": {key: view[key] for key in keys}, "cursor": str(start + i + 1)}
            for i, view in enumerate(mine[start : start + PAGE])
        ]
        return {"project": {"allViews": {"edges": edges, "pageInfo": {"hasNextPage": start + PAGE < len(mine)}}}}

    def upsertView(self, given: Mapping[str, Any]) -> Any:  # noqa: N802
        """As W&B does: with an id that view is changed, without one there is a new one."""
        assert _project(given) in self.projects
        json.loads(given["spec"])
        old = [view for view in self.views if view["id"] == given.get("id")]
        assert old or not given.get("id"), "no such view"
        view = old[0] if old else {"id": b64encode(f"View:{len(self.views)}x".encode()).decode()}
        view |= {key: given[key] for key in ("type", "name", "displayName", "description", "spec")}
        view["place"] = _project(given)
        self.views += [] if old else [view]
        return {"upsertView": {"view": {key: view[key] for key in ("id", "name")}, "inserted": not old}}


def _project(given: Mapping[str, Any]) -> str:
    return f"{given['entityName']}/{given['projectName']}"


@contextmanager
def running() -> Iterator[Wandb]:
    wandb = Wandb()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            known = self.path.endswith("/graphql")
            asked = json.loads(body) if known else {}
            status, content = wandb.answer(asked["query"], asked.get("variables") or {}) if known else (404, {})
            sent = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    wandb.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield wandb
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
