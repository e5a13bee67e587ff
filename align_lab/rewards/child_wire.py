"""Messages between a run and its child process: the length in eight bytes, then JSON. Nothing is unpickled."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

CHUNK = 1 << 20  # bytes


def _no_wait() -> None:
    """A blocking socket waits by itself."""


def send(connection: socket.socket, message: Mapping[str, Any], wait: Callable[[], None] = _no_wait) -> None:
    """Send a message. `wait` is called where a socket that does not block is not ready."""
    body = json.dumps(message).encode()
    left = memoryview(len(body).to_bytes(8, "big") + body)
    while left:
        try:
            left = left[connection.send(left[:CHUNK]) :]
        except BlockingIOError:
            wait()


def receive(connection: socket.socket, wait: Callable[[], None] = _no_wait) -> dict[str, Any]:
    """The next message. Raises EOFError if the other side has closed the connection."""
    length = int.from_bytes(_read(connection, 8, wait), "big")
    return json.loads(_read(connection, length, wait))


def _read(connection: socket.socket, count: int, wait: Callable[[], None]) -> bytes:
    received = bytearray()
    while len(received) < count:
        try:
            part = connection.recv(min(CHUNK, count - len(received)))
        except BlockingIOError:
            wait()
            continue
        if not part:
            raise EOFError("the connection was closed")
        received += part
    return bytes(received)
