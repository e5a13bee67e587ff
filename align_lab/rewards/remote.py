"""A reward behind HTTP: another machine, another environment, or several runs that share one reward model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from align_lab.base.contracts import Reward
from align_lab.base.registry import param, register, section
from align_lab.base.task import Scorer
from align_lab.rewards.connection import Address, Connection

EXAMPLE = "http://127.0.0.1:8000"


@register("reward", "remote")
@dataclass(frozen=True, kw_only=True)
class Remote(Reward):
    """The scores of a server: `align_lab serve reward=...`, or any that answers POST /v1/score.

    It sends examples (key, prompt, columns) and completions in batches, and gets a score, an abstention or a failure
    for each, with parts and steps.
    """

    meaning: ClassVar = "the score of a server"
    on_gpu: ClassVar = False
    package: ClassVar = "httpx2"
    extra: ClassVar = "judge"

    url: str = param(
        "",
        f"address of the server, for example {EXAMPLE}",
        trust="completions, and the token that key_env names, are sent there",
    )
    key_env: str | None = param(None, "environment variable that holds the server's token; null: it wants none")
    batch: int = param(32, "completions in a request", low=1)
    logged_parts: list[str] = param([], "names of the parts of the server's scores that are logged as reward/NAME")
    connection: Connection = section(Connection, "how the server is reached")

    @property
    def address(self) -> Address:
        """Where the server is."""
        return Address(url=self.url, key_env=self.key_env)

    def problems(self) -> list[str]:
        """Errors in address and token."""
        messages = self.address.problems(example=EXAMPLE, allow_http=self.connection.allow_http)
        return [f"reward=remote: {text}" for text in messages]

    def parts(self) -> tuple[str, ...]:
        """Those that the server is known to have."""
        return tuple(self.logged_parts)

    def load(self, folder: Path | None) -> Scorer:
        """The scorer. Raises RewardError without the token."""
        from align_lab.rewards.remote_scorer import RemoteScorer
        from align_lab.rewards.service import Service

        self.address.headers()
        service = Service(title="the reward server", address=self.address, connection=self.connection)
        return RemoteScorer(service=service, batch=self.batch, parts=self.parts())
