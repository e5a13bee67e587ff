"""`--json`: a command answers with one JSON document on standard output, and prints all else to standard error.

The command line takes the word out in one place (`align_lab.__main__`). A verb says what it found, with `give`, beside
what it prints for people; without `--json` that has no effect.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

WORD = "--json"


@dataclass
class Answer:
    """The document of one command."""

    document: dict[str, Any] = field(default_factory=dict[str, Any])

    def text(self, status: int) -> str:
        """The document, or the exit status of a command that has nothing more to say."""
        return json.dumps(self.document or {"status": status}, indent=1, default=str)


_answer: ContextVar[Answer | None] = ContextVar("answer", default=None)


def wanted() -> bool:
    """Is the answer a JSON document?"""
    return _answer.get() is not None


def give(document: Mapping[str, Any]) -> None:
    """Answer with this document, in place of an earlier one."""
    if (answer := _answer.get()) is not None:
        answer.document = dict(document)


def refuse(error: BaseException, status: int) -> None:
    """Answer with an error: its kind, its message, the exit status."""
    give({"error": {"kind": type(error).__name__, "message": str(error), "status": status}})


@contextmanager
def one_document() -> Generator[Answer]:
    """Inside the context `give` is heard, and what is printed for people goes to standard error."""
    answer = Answer()
    token = _answer.set(answer)
    try:
        with redirect_stdout(sys.stderr):
            yield answer
    finally:
        _answer.reset(token)
