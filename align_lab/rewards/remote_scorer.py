"""Sends completions to a server in batches, and reads its answers strictly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from align_lab.base.errors import RewardError
from align_lab.base.task import Example, Score
from align_lab.rewards.score_messages import PATH, VERSION, ScoreAnswer, SentOutcome, request_body, score_of
from align_lab.rewards.service import Batch, NoAnswerError, Service, shown


@dataclass(frozen=True, kw_only=True)
class RemoteScorer:
    """The scorer of `reward=remote`."""

    service: Service
    batch: int
    parts: Sequence[str]

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """The server's outcomes; a batch without an answer is a Failure for each of its completions."""
        starts = range(0, len(completions), self.batch)
        batches = [(examples[i : i + self.batch], completions[i : i + self.batch]) for i in starts]
        return score_of(self.service.ask_all(batches, self._ask), self.parts)

    async def _ask(self, batch: Batch, sent: tuple[Sequence[Example], Sequence[str]]) -> ScoreAnswer:
        examples, completions = sent
        try:
            response = await batch.post(PATH, request_body(examples, completions))
        except NoAnswerError as error:
            return _failed(str(error), len(completions))
        try:
            answer = ScoreAnswer.model_validate(response)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            reason = f"the reward server answered {shown(json.dumps(response))}: {where}: {first['msg']}"
            return _failed(reason, len(completions))
        if answer.version != VERSION:
            raise RewardError(
                f"the reward server at {self.service.address.url} answers in version {answer.version}, and this side "
                f"speaks version {VERSION}: install the same align_lab on both"
            )
        if len(answer.outcomes) != len(completions) or len(answer.answers or completions) != len(completions):
            reason = f"the reward server returned {len(answer.outcomes)} outcomes for {len(completions)} completions"
            return _failed(reason, len(completions))
        return answer


def _failed(reason: str, count: int) -> ScoreAnswer:
    return ScoreAnswer(version=VERSION, outcomes=[SentOutcome(failure=reason)] * count)
