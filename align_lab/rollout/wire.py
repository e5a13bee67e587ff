"""Messages between a run and vLLM's process, over a local socket: a line of JSON, then tensors as safetensors. Nothing is unpickled."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

Message = tuple[dict[str, Any], dict[str, Tensor]]


def send(to: socket.socket, fields: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
    """Plain values and tensors, as one message."""
    body = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}) if tensors else b""
    to.sendall(json.dumps({**fields, "bytes": len(body)}).encode() + b"\n" + body)


def receive(of: socket.socket) -> Message:
    """The next message. Raises EOFError when the other side is gone."""
    head = b""
    while not head.endswith(b"\n"):  # one byte at a time: what follows the line is not ours to read yet
        head += _read(of, 1)
    fields = json.loads(head)
    body = _read(of, fields.pop("bytes"))
    return fields, load(body) if body else {}


def _read(of: socket.socket, count: int) -> bytes:
    buffer = bytearray(count)
    view, done = memoryview(buffer), 0
    while done < count:
        try:
            got = of.recv_into(view[done:])
        except ConnectionError as error:
            raise EOFError(str(error)) from error
        if not got:
            raise EOFError("the connection was closed")
        done += got
    return bytes(buffer)
