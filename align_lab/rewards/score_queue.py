"""The bounded queue of a reward server: requests are scored together, and one whose client has gone is dropped."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from align_lab.base.task import Example, Failure, Score, Scorer
from align_lab.rewards.score_messages import ScoreAnswer, answer_of
from align_lab.rewards.scores import check


class QueueFull(Exception):
    """There is no room for another request now. `retry_after`: seconds after which there may be."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many completions are waiting; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(kw_only=True, eq=False)
class Job:
    """The completions of one request."""

    examples: Sequence[Example]
    completions: Sequence[str]
    answer: asyncio.Future[ScoreAnswer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class ScoreQueue:
    """Scores the jobs in the order of their arrival, in one thread, several jobs at a time.

    `most`: completions that may wait; `batch`: completions that are scored together, unless one job has more;
    `prepare`: called once in the thread that scores, for example to choose its device.
    """

    def __init__(self, scorer: Scorer, *, most: int, batch: int, prepare: Callable[[], object] = lambda: None) -> None:
        self.scorer, self.most, self.batch = scorer, most, batch
        self.thread = ThreadPoolExecutor(1, "scoring", initializer=prepare)
        self.jobs: deque[Job] = deque()
        self.arrived = asyncio.Event()
        self.seconds = 0.01  # of a completion, as measured last
        self.busy = 0  # completions that are being scored

    @property
    def waiting(self) -> int:
        """Completions that wait or are being scored."""
        return self.busy + sum(len(job.completions) for job in self.jobs)

    def submit(self, job: Job) -> None:
        """Raises QueueFull; an empty queue takes a job of any size."""
        if self.waiting and self.waiting + len(job.completions) > self.most:
            raise QueueFull(min(60, max(1, math.ceil(self.waiting * self.seconds))))
        self.jobs.append(job)
        self.arrived.set()

    async def run(self) -> None:
        """Score until cancelled."""
        while True:
            await self.arrived.wait()
            if jobs := self._next():
                await self._score(jobs)
            if not self.jobs:
                self.arrived.clear()

    def _next(self) -> list[Job]:
        """The first jobs that fit into a batch; those whose client has gone are dropped."""
        jobs: list[Job] = []
        count = 0
        while self.jobs and (not jobs or count + len(self.jobs[0].completions) <= self.batch):
            job = self.jobs.popleft()
            if not job.answer.cancelled():
                jobs.append(job)
                count += len(job.completions)
        return jobs

    async def _score(self, jobs: Sequence[Job]) -> None:
        loop, start = asyncio.get_running_loop(), time.monotonic()
        self.busy = sum(len(job.completions) for job in jobs)
        try:
            answers = await loop.run_in_executor(self.thread, self._answers, jobs)
        finally:
            count, self.busy = self.busy, 0
        self.seconds = (time.monotonic() - start) / max(1, count)
        for job, answer in zip(jobs, answers, strict=True):
            if not job.answer.cancelled():
                job.answer.set_result(answer)

    def _answers(self, jobs: Sequence[Job]) -> list[ScoreAnswer]:
        """One answer for each job. If scoring them together fails, each is scored alone: one must not harm another."""
        examples = [one for job in jobs for one in job.examples]
        completions = [text for job in jobs for text in job.completions]
        try:
            whole = answer_of(check(self.scorer.score(examples, completions), completions))
        except Exception as error:
            if len(jobs) > 1:
                return [answer for job in jobs for answer in self._answers([job])]
            return [_failed(error, len(jobs[0].completions))]
        answers: list[ScoreAnswer] = []
        start = 0
        for job in jobs:
            part = slice(start, start + len(job.completions))
            extracted = None if whole.answers is None else whole.answers[part]
            answers.append(ScoreAnswer(version=whole.version, outcomes=whole.outcomes[part], answers=extracted))
            start = part.stop
        return answers


def _failed(error: Exception, count: int) -> ScoreAnswer:
    """The reward raised an error: no completion has a score, and asking again would not help."""
    reason = f"the reward raised {type(error).__name__}: {error}"
    return answer_of(check(Score(total=[Failure(reason)] * count), [""] * count))
