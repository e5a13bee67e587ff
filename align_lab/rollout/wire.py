"""Messages between a run and vLLM's process over a Unix socket: a line of JSON, then safetensors, never pickles."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

Message = tuple[dict[str, Any], dict[str, Tensor]]


def send(connection: socket.socket, fields: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
    """Send plain values and tensors as one message."""
    body = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}) if tensors else b""
    connection.sendall(json.dumps({**fields, "bytes": len(body)}).encode() + b"\n" + body)


def receive(connection: socket.socket) -> Message:
    """The next message. Raises EOFError if the other side has closed the connection."""
    head = b""
    while not head.endswith(b"\n"):  # byte by byte, because the tensors that follow the line are read separately
        head += _read(connection, 1)
    fields = json.loads(head)
    body = _read(connection, fields.pop("bytes"))
    return fields, load(body) if body else {}


def _read(connection: socket.socket, count: int) -> bytes:
    buffer = bytearray(count)
    view, filled = memoryview(buffer), 0
    while filled < count:
        try:
            received = connection.recv_into(view[filled:])
        except ConnectionError as error:
            raise EOFError(str(error)) from error
        if not received:
            raise EOFError("the connection was closed")
        filled += received
    return bytes(buffer)
