"""Answers of a paid service on disk: the same question is never paid for twice, by any run or process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from align_lab.base.files import read_json, sweep, write_json

VERSION = 1  # of the files


@dataclass(frozen=True, kw_only=True)
class PaidAnswer:
    """The text of an answer, and the tokens of question and answer that were paid for it."""

    text: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class AnswersCache:
    """One file for each answer; each is written whole or not at all."""

    folder: Path

    @staticmethod
    def key(url: str, body: Mapping[str, Any]) -> str:
        """A hash of the address and of everything that is sent to it (model, texts, parameters)."""
        content = json.dumps([VERSION, url, body], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()

    def get(self, key: str) -> PaidAnswer | None:
        """The answer, if there is an intact one."""
        try:
            return PaidAnswer(**read_json(self._path(key)))
        except TypeError:
            return None

    def put(self, key: str, answer: PaidAnswer) -> None:
        """Keep an answer, and remove what processes that were killed have left of it."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another process keeps the same answer at this moment, and removed ours
            write_json(path, asdict(answer))
        sweep(path.parent, path.name)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
