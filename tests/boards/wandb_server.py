"""A local W&B server: it stores what is sent, answers the requests of the SDK, and fails where a test needs it.

It implements the protocol independently (GraphQL by operation name, file stream, uploads); it is not the real server.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = dict[str, Any]


class WandbServer:
    """`runs`: name -> what arrived. `fail`: statuses of the next requests that send rows. `hang`: no answer."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.uploads: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.auth: set[str] = set()
        self.fail: list[int] = []
        self.reject = False  # every key is unknown, as after it was revoked
        self.hang = threading.Event()
        self.asked = threading.Event()  # somebody waits for an answer
        self.sweep = ""  # a sweep's config, as YAML
        self.commands: list[dict[str, Any]] = []  # for the agents of the sweep
        self.lock = threading.Lock()

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The history of a run, as the file stream wrote it."""
        return [json.loads(line) for line in self.runs[name]["files"].get("wandb-history.jsonl", [])]

    def of_type(self, job_type: str) -> dict[str, dict[str, Any]]:
        return {name: run for name, run in self.runs.items() if run["jobType"] == job_type}

    def config(self, name: str) -> dict[str, Any]:
        config = json.loads(self.runs[name]["config"])
        return {key: value["value"] for key, value in config.items() if key != "_wandb"}

    def summary(self, name: str) -> dict[str, Any]:
        return json.loads(self.runs[name]["files"].get("wandb-summary.json", ["{}"])[-1])

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[str]:
        """Serve on a free local port, or on a given one. Yields the address."""
        handler = type("Handler", (_Handler,), {"server_state": self})
        server = _Server(("127.0.0.1", port), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    # answers to the SDK, by the name of the GraphQL operation

    def graphql(self, operation: str, v: dict[str, Any]) -> Answer:
        words = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
        answer = getattr(self, f"on_{words}", None)
        if answer is None:
            return {"data": None, "errors": [{"message": f"not implemented: {operation}"}]}
        return {"data": answer(v)}

    def on_viewer(self, v: Answer) -> Answer:
        keys = {"edges": []}
        who = {"id": "u", "entity": "me", "username": "me", "name": "me", "email": "me@example.com", "admin": False}
        return {"viewer": {**who, "flags": "{}", "teams": keys, "apiKeys": keys}}

    def on_get_default_entity(self, v: Answer) -> Answer:
        return {"viewer": {"id": "u", "entity": "me"}}

    def on_server_info(self, v: Answer) -> Answer:
        return {"serverInfo": {"cliVersionInfo": {"max_cli_version": "99.0.0"}, "latestLocalVersionInfo": None}}

    def on_server_features_query(self, v: Answer) -> Answer:
        return {"serverInfo": {"features": []}}

    def on_run_resume_status(self, v: Answer) -> Answer:
        return {"model": {"id": "p", "name": v["project"], "entity": _ME, "bucket": self._bucket(v["name"])}}

    def on_upsert_bucket(self, v: Answer) -> Answer:
        name = v.get("name") or next(run["name"] for run in self.runs.values() if run["id"] == v["id"])
        with self.lock:
            inserted = name not in self.runs
            run = self.runs.setdefault(name, {"id": f"id-{name}", "name": name, "config": "{}", "files": {}})
            for key in ("config", "groupName", "jobType", "displayName", "notes", "tags", "sweep", "project", "state"):
                run[key] = v[key] if v.get(key) is not None else run.get(key)
        project = {"id": "p", "name": v.get("project"), "entity": _ME}
        bucket = {**self._bucket(name), "description": "", "sweepName": run["sweep"], "project": project}
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _bucket(self, name: str) -> Answer | None:
        """The state of a run that is to be resumed: the number of its lines, and the last of them."""
        if name not in self.runs:
            return None
        run = self.runs[name]
        lines = {kind: run["files"].get(f"wandb-{kind}.jsonl", []) for kind in ("history", "events")}
        return {
            "id": run["id"],
            "name": name,
            "displayName": run["displayName"] or name,
            "config": run["config"],
            "tags": run["tags"] or [],
            "notes": run["notes"] or "",
            "summaryMetrics": json.dumps(self.summary(name)),
            "wandbConfig": '{"t": 1}',
            "logLineCount": 0,
            **{f"{kind}LineCount": len(rows) for kind, rows in lines.items()},
            **{f"{kind}Tail": json.dumps(rows[-1:]) for kind, rows in lines.items()},
        }

    def on_run(self, v: Answer) -> Answer:
        name = v["name"]
        if name not in self.runs:
            return {"project": {"internalId": "1", "run": None}}
        run, rows = self.runs[name], self.rows(name)
        keys = {"lastStep": max((row["_step"] for row in rows), default=-1), "keys": {}}
        fields = {
            "group": run["groupName"],
            "jobType": run["jobType"],
            "state": "finished",
            "readOnly": False,
            "createdAt": "2026-01-01T00:00:00",
            "heartbeatAt": "2026-01-01T00:00:00",
            "systemMetrics": "{}",
            "user": {"name": "me", "username": "me"},
            "historyKeys": keys,
            "projectId": "1",
        }
        return {"project": {"internalId": "1", "run": {**self._bucket(name), "sweepName": None, **fields}}}

    def on_run_history_keys(self, v: Answer) -> Answer:
        return {"project": {"run": {"historyKeys": self.on_run(v)["project"]["run"]["historyKeys"]}}}

    def on_run_parquet_history(self, v: Answer) -> Answer:
        return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": []}}}}

    def on_history_page(self, v: Answer) -> Answer:
        rows = [row for row in self.rows(v["run"]) if v["minStep"] <= row["_step"] < v["maxStep"]]
        return {"project": {"run": {"history": [json.dumps(row) for row in rows]}}}

    def on_run_stopped_status(self, v: Answer) -> Answer:
        return {"project": {"run": {"stopped": False}}}

    def on_create_run_files(self, v: Answer) -> Answer:
        files = [{"name": name, "uploadUrl": f"{self.address}/upload/{v['run']}/{name}"} for name in v["files"]]
        return {"createRunFiles": {"runID": v["run"], "uploadHeaders": [], "files": files}}

    def on_create_agent(self, v: Answer) -> Answer:
        return {"createAgent": {"agent": {"id": "agent"}}}

    def on_sweep_with_runs(self, v: Answer) -> Answer:
        return {"project": {"sweep": {"id": "s", "name": v["sweep"], "config": self.sweep, "runs": {"edges": []}}}}

    def on_heartbeat(self, v: Answer) -> Answer:
        """The next run for an idle agent; without one, the agent exits."""
        busy = v.get("runState", "{}") != "{}"
        command = [] if busy else [self.commands.pop(0) if self.commands else {"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(command)}}

    # rows

    def stream(self, name: str, body: dict[str, Any]) -> None:
        """Write lines at an offset, over earlier ones, as the real server does."""
        with self.lock:
            files = self.runs[name]["files"]
            for kind, part in (body.get("files") or {}).items():
                if kind == "wandb-summary.json":
                    files[kind] = part["content"]
                else:
                    files[kind] = [*files.get(kind, [])[: part["offset"]], *part["content"]]
            if body.get("complete") is not None:
                self.runs[name]["exit"] = body.get("exitcode")


_ME = {"id": "e", "name": "me"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Close open connections too."""
        super().server_close()
        for request in list(self.open):
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A killed client is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: WandbServer

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        self._answer({})

    def do_PUT(self) -> None:
        self.server_state.uploads[self.path] = self._body()
        self._answer({})

    def do_POST(self) -> None:
        state, body = self.server_state, self._body()
        state.auth.add(self.headers.get("Authorization", ""))
        state.asked.set()
        while state.hang.is_set():
            time.sleep(0.05)
        if state.reject:
            return self._answer({"errors": [{"message": "invalid API key"}]}, 401)
        if self.path.endswith("/graphql"):
            request = json.loads(body)
            operation = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])
            name = operation.group(1) if operation else "?"
            state.requests.append(name)
            state.address = f"http://{self.headers['Host']}"
            return self._answer(state.graphql(name, request.get("variables") or {}))
        if not self.path.endswith("/file_stream"):
            return self._answer({})
        state.requests.append("file_stream")
        if state.fail:
            return self._answer({"error": "not now"}, state.fail.pop(0))
        state.stream(self.path.split("/")[-2], json.loads(body or b"{}"))
        return self._answer({"exitcode": None, "limits": {}})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline().strip(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, content: Answer, status: int = 200) -> None:
        body = json.dumps(content).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):  # the client did not wait
            self.close_connection = True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
