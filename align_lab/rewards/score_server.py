"""The HTTP server of a reward: POST /v1/score and GET /health, with a token, a size limit and a bounded queue."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from align_lab.rewards.score_messages import PATH, VERSION, ScoreAnswer, ScoreRequest
from align_lab.rewards.score_queue import Job, QueueFull, ScoreQueue

LOOK = 0.25  # seconds between looks whether the client is still there


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Who may ask, and how much."""

    token: str | None  # None: everyone who reaches the port
    largest: int  # bytes of a request
    hosts: frozenset[str] | None  # the names by which the server may be called; None: any
    log: Callable[[str], None]

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """(status, reason) of a request that is refused by its headers. Its body has not been read."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if self.hosts is not None and host not in self.hosts:  # a web page that gives this address a name of its own
            return 403, "this server answers requests to its own address alone"
        if scope["path"] != PATH:
            return None
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if self.token is not None and not hmac.compare_digest(given.encode(), self.token.encode()):
            return 401, "a token is required: Authorization: Bearer TOKEN"
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return 415, "Content-Type must be application/json"
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.largest:
            return 413, self.too_large
        return None

    @property
    def too_large(self) -> str:
        """Why a large request is refused."""
        return f"a request may have {self.largest / 2**20:g} MiB: send fewer completions at once"


class Entrance:
    """ASGI middleware: refuses what `Gate` refuses, counts the bytes, and logs a line without texts."""

    def __init__(self, app: ASGIApp, *, gate: Gate) -> None:
        self.app, self.gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, status, read = time.monotonic(), 0, 0
        scope.setdefault("state", {})["completions"] = None

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.gate.largest:
                raise HTTPException(413, self.gate.too_large)
            return message

        async def answered(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        if (refusal := self.gate.refusal(scope)) is not None:
            await _error(*refusal)(scope, receive, answered)
        else:
            await self.app(scope, counted, answered)
        count = scope["state"]["completions"]
        client = (scope.get("client") or ("?",))[0]
        scored = "" if count is None else f" {count} completions"
        seconds = time.monotonic() - start
        self.gate.log(f"{client} {scope['method']} {scope['path']!a} {status or 'gone'}{scored} {seconds:.3f} s")
        return None


def app_of(make_queue: Callable[[], ScoreQueue], *, about: dict[str, Any], gate: Gate) -> FastAPI:
    """The application. `about`: what /health says of the reward."""
    queues: list[ScoreQueue] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        queues.append(make_queue())
        worker = asyncio.create_task(queues[0].run())
        yield
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker
        queues[0].thread.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(title="align_lab", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Entrance, gate=gate)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(AnyHTTPException, _raised)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "version": VERSION, **about, "waiting": queues[0].waiting}

    @app.post(PATH, response_model=ScoreAnswer)
    async def score(body: ScoreRequest, request: Request) -> Any:
        request.state.completions = len(body.completions)
        if problem := body.problem():
            return _error(400, problem)
        job = Job(examples=[one.example() for one in body.examples], completions=body.completions)
        try:
            queues[0].submit(job)
        except QueueFull as full:
            return _error(503, str(full), {"Retry-After": str(full.retry_after)})
        return await _while_connected(request, job)

    return app


async def _while_connected(request: Request, job: Job) -> Any:
    """The answer; the job is dropped once its client has gone, for example because its run was cancelled."""
    while not job.answer.done():
        await asyncio.wait([job.answer], timeout=LOOK)
        if not job.answer.done() and await request.is_disconnected():
            job.answer.cancel()
            return _error(499, "the client has gone")
    return job.answer.result()


def _error(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": reason}, status_code=status, headers=headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """The place and kind of the first mistake, without the text that holds it."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return _error(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")


async def _raised(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AnyHTTPException)
    return _error(error.status_code, str(error.detail))
