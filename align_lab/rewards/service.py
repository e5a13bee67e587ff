"""Requests to a service over HTTP: several at a time, with retries, and without following redirects.

A batch of requests gives up together: once a request has used all its attempts while no other one got an answer, the
next ones have one attempt each, and after `GIVEN_UP` requests in a row the rest is not sent. The loop then saves and
stops, and the same command continues.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2
import tenacity

from align_lab.base.errors import RewardError
from align_lab.rewards.connection import Address, Connection

Item = TypeVar("Item")
Answer = TypeVar("Answer")

JITTER = random.Random()  # of its own: waiting draws no number from the generators of a run
RETRIED = {408, 429, 500, 502, 503, 504}
GIVEN_UP = 3  # requests in a row without an answer
LONGEST_ASKED = 600.0  # seconds: a longer pause, which a service asks for, is not waited for
SHOWN = 200  # characters of an answer in a message


class NoAnswerError(Exception):
    """One request has no answer, for this reason. `status`: of HTTP; None where there was no complete response."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class PassingError(NoAnswerError):
    """An error that may pass. `asked`: the seconds after which the service wants to be asked again."""

    def __init__(self, reason: str, status: int | None = None, asked: float = 0.0) -> None:
        super().__init__(reason, status)
        self.asked = asked


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service that answers JSON with JSON."""

    title: str  # in messages, for example "the judge"
    address: Address
    connection: Connection

    def ask_all(self, items: Sequence[Item], ask: Callable[[Batch, Item], Awaitable[Answer]]) -> list[Answer]:
        """The answer to each item, in order. The first error that `ask` raises ends all other requests."""
        return asyncio.run(self._ask_all(items, ask))

    async def _ask_all(self, items: Sequence[Item], ask: Callable[[Batch, Item], Awaitable[Answer]]) -> list[Answer]:
        async def one(batch: Batch, item: Item) -> Answer:
            async with batch.places:
                return await ask(batch, item)

        try:
            async with self.open() as batch, asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(batch, item)) for item in items]
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        return [task.result() for task in tasks]

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Batch]:
        """A batch of requests. Raises RewardError without a key."""
        client = httpx2.AsyncClient(
            headers=self.address.headers(),
            timeout=self.connection.timeout,
            limits=httpx2.Limits(max_connections=self.connection.concurrency),
            follow_redirects=False,
            trust_env=not self.address.loopback,  # a proxy cannot reach this machine
        )
        async with client:
            yield Batch(self, client)


class Batch:
    """Requests that share a client, a limit of simultaneous requests, and the knowledge that a service is down."""

    def __init__(self, service: Service, client: httpx2.AsyncClient) -> None:
        self.service, self.client = service, client
        self.places = asyncio.Semaphore(service.connection.concurrency)
        self.answered = 0.0  # when the last request got an answer
        self.lost = 0  # requests in a row that used all their attempts while no other one got an answer
        self.reason = ""  # of the last of them

    async def post(self, path: str, body: Any) -> Any:
        """The JSON answer. Raises NoAnswerError for this request alone, RewardError where no request can succeed."""
        content = json.dumps(body, default=str).encode()  # ASCII: a completion may hold half a surrogate pair
        if self.lost >= GIVEN_UP:
            raise NoAnswerError(f"not asked, because {self.reason}")
        start = time.monotonic()
        try:
            answer = await self._retrying()(self._once, path, content)
        except PassingError as error:
            reason = f"{self.service.title} at {self.service.address.url} did not answer: {error}"
            if self.answered <= start:
                self.lost, self.reason = self.lost + 1, reason
            raise NoAnswerError(reason, error.status) from error
        return answer

    def _retrying(self) -> tenacity.AsyncRetrying:
        connection = self.service.connection
        backoff = tenacity.wait_exponential(multiplier=1.0, max=connection.longest_wait)

        def wait(state: tenacity.RetryCallState) -> float:
            return max(backoff(state) * JITTER.uniform(0.5, 1.0), _pause_asked_for(state))

        def stop(state: tenacity.RetryCallState) -> bool:
            late = state.attempt_number > connection.retries or _pause_asked_for(state) > LONGEST_ASKED
            return late or self.lost > 0

        retried = tenacity.retry_if_exception_type(PassingError)
        return tenacity.AsyncRetrying(retry=retried, stop=stop, wait=wait, reraise=True)

    async def _once(self, path: str, content: bytes) -> Any:
        url = self.service.address.base + path
        try:
            async with asyncio.timeout(self.service.connection.timeout):
                response = await self.client.post(url, content=content)
        except TimeoutError:
            raise PassingError(f"no answer within {self.service.connection.timeout:g} s") from None
        except httpx2.TransportError as error:
            raise PassingError(f"{type(error).__name__} {error}".strip()) from error
        if response.status_code not in RETRIED:
            self.answered, self.lost = time.monotonic(), 0
        return self._read(response)

    def _read(self, response: httpx2.Response) -> Any:
        status, text = response.status_code, self.service.address.hide(shown(response.text))
        if status in RETRIED:
            raise PassingError(f"it answers {status} {text}", status, _retry_after(response))
        if status in (401, 403, 404) or 300 <= status < 400:
            raise RewardError(self._refusal(status, text, response.headers.get("location", "")))
        if not response.is_success:
            raise NoAnswerError(f"{self.service.title} answered {status} {text}", status)
        try:
            return response.json()
        except ValueError:
            raise NoAnswerError(f"{self.service.title} answered {text}, which is not JSON", status) from None

    def _refusal(self, status: int, text: str, location: str) -> str:
        """What to type where every request would be refused as well."""
        address = self.service.address
        beginning = f"{self.service.title} at {address.url} answers {status} {text}."
        if status == 404:
            return f"{beginning} It does not know this address or this model: set url=... or model=..."
        if 300 <= status < 400:
            return (
                f"{beginning} It redirects to {address.hide(shown(location))}, which is not followed, because the key "
                "would be sent there: set url=... to the address that is meant"
            )
        if address.key_env:
            return f"{beginning} It does not accept the key in the environment variable {address.key_env}: set that one"
        return f"{beginning} It wants a key: name the environment variable that holds it with key_env=NAME"


def shown(text: str) -> str:
    """The beginning of a text, quoted: an answer may hold anything."""
    return repr(text[:SHOWN]) + ("..." if len(text) > SHOWN else "")


def _pause_asked_for(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    return error.asked if isinstance(error, PassingError) else 0.0


def _retry_after(response: httpx2.Response) -> float:
    """The seconds of the header Retry-After, which holds them or a date; 0 without it."""
    text = response.headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
