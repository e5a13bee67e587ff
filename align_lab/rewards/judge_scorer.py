"""Asks a judge about completions, each question once, and makes scores of its answers."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align_lab.base.errors import RewardError
from align_lab.base.paths import cache_folder
from align_lab.base.task import Example, Failure, Score, ScoreOutcome
from align_lab.rewards.answers_cache import AnswersCache, PaidAnswer
from align_lab.rewards.judge_prompts import (
    Nonsense,
    Verdict,
    placeholders,
    question,
    read_verdict,
    response_format,
)
from align_lab.rewards.service import Batch, NoAnswerError, Service, shown


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """The verdict on one question, and what it has cost."""

    value: float | Failure
    tokens: int = 0
    cost: float = 0.0


@dataclass(kw_only=True)
class JudgeScorer:
    """The scorer of `reward=judge`, whose fields it has."""

    service: Service
    template: str
    rubric: str
    columns: Collection[str]  # of an example, which the question holds
    against: str | None  # the one of them that the completion is compared with
    verdict: Verdict
    explain: bool
    structured: bool  # ask for the JSON schema; set to False once the endpoint has refused it
    fields: Mapping[str, Any]  # of a request, besides its message and the schema: model, temperature, ...
    input_price: float = 0.0  # of a million tokens
    output_price: float = 0.0

    @functools.cached_property
    def cache(self) -> AnswersCache:
        """What was answered before."""
        return AnswersCache(cache_folder() / "judge")

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """One number for each completion, an abstention, or a Failure with the answer that could not be read."""
        questions = [self._questions(one, text) for one, text in zip(examples, completions, strict=True)]
        opinions = self._opinions([text for several in questions for text in several])
        verdicts = [[opinions[text] for text in several] for several in questions]
        parts: dict[str, list[ScoreOutcome]] = {
            "judge_tokens": [_sum([float(one.tokens) for one in several]) for several in verdicts],
            "judge_cost": [_sum([one.cost for one in several]) for several in verdicts],
        }
        if self.against:
            parts["order_bias"] = [_disagreement(several) for several in verdicts]
        return Score(total=[_total(several) for several in verdicts], parts=parts)

    def _questions(self, example: Example, completion: str) -> list[str]:
        """The messages about one completion: one, both orders of a comparison, or none where a column is null."""
        columns = {name: _column(example, name) for name in self.columns}
        if None in columns.values():
            return []
        in_template = placeholders(self.template)
        texts = {name: text for name, text in columns.items() if text is not None and name in in_template}
        texts |= {"rubric": self.rubric, "prompt": example.text}
        if self.against is None:
            return [self._question(texts | {"completion": completion})]
        other = columns[self.against] or ""
        orders = ((completion, other), (other, completion))
        return [self._question(texts | {"first": first, "second": second}) for first, second in orders]

    def _question(self, texts: Mapping[str, str]) -> str:
        return question(self.template, texts, self.verdict, explain=self.explain)

    def _opinions(self, questions: Sequence[str]) -> dict[str, Opinion]:
        """The opinion on each question, from the cache where it is there."""
        opinions: dict[str, Opinion] = {}
        for text in dict.fromkeys(questions):
            if (answer := self.cache.get(self._key(text))) is not None:
                opinions[text] = self._opinion(answer)
        missing = [text for text in dict.fromkeys(questions) if text not in opinions]
        answers = self.service.ask_all(missing, self._ask) if missing else []
        return opinions | dict(zip(missing, answers, strict=True))

    async def _ask(self, batch: Batch, text: str) -> Opinion:
        try:
            response = await self._post(batch, text)
        except NoAnswerError as error:
            return Opinion(value=Failure(str(error)))
        try:
            answer = _paid_answer(response)
        except (TypeError, KeyError, IndexError, ValueError, AttributeError):
            return Opinion(value=Failure(f"the judge's response is no chat completion: {shown(json.dumps(response))}"))
        opinion = self._opinion(answer)
        if not isinstance(opinion.value, Failure):  # the next run may get a better answer to this question
            self.cache.put(self._key(text), answer)
        return opinion

    async def _post(self, batch: Batch, text: str) -> Any:
        """The response; without the JSON schema where the endpoint refuses it."""
        body, path = self._body(text), "/chat/completions"
        if not self.structured:
            return await batch.post(path, body)
        verdict_format = response_format(self.verdict, explain=self.explain)
        try:
            return await batch.post(path, body | {"response_format": verdict_format})
        except NoAnswerError as error:
            if error.status not in (400, 422):
                raise
        response = await batch.post(path, body)
        self.structured = False
        return response

    def _body(self, text: str) -> dict[str, Any]:
        """The request, without the format of its answer, which changes with what the endpoint can do."""
        return {**self.fields, "messages": [{"role": "user", "content": text}]}

    def _key(self, text: str) -> str:
        return self.cache.key(self.service.address.base, self._body(text))

    def _opinion(self, answer: PaidAnswer) -> Opinion:
        price = self.input_price * answer.prompt_tokens + self.output_price * answer.completion_tokens
        try:
            value = read_verdict(answer.text, self.verdict)
        except Nonsense as error:
            value = Failure(f"the judge answered {shown(self.service.address.hide(answer.text))}: {error}")
        tokens = answer.prompt_tokens + answer.completion_tokens
        return Opinion(value=value, tokens=tokens, cost=price / 1e6)


def _paid_answer(response: Any) -> PaidAnswer:
    """Raises an error of a type that `_ask` names where the response is no chat completion."""
    choice, usage = response["choices"][0], response.get("usage") or {}
    text = choice["message"]["content"]
    return PaidAnswer(
        text="" if text is None else str(text),
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
    )


def _column(example: Example, name: str) -> str | None:
    """A column as text; None where it is null."""
    try:
        value = example.columns[name]
    except KeyError as error:
        if type(error) is not KeyError:  # columns that explain themselves
            raise
        raise RewardError(
            f"reward=judge reads the column {name}, which the example {example.key!r} lacks. It has "
            f"{', '.join(sorted(example.columns)) or 'none'}"
        ) from error
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _total(opinions: Sequence[Opinion]) -> ScoreOutcome:
    """The number, or the mean over both orders; None without a question; the first failure."""
    values = _both(opinions)
    if isinstance(values, Failure):
        return values
    return sum(values) / len(values) if values else None


def _both(opinions: Sequence[Opinion]) -> list[float] | Failure:
    """The score of the completion in each order."""
    values: list[float] = []
    for position, opinion in enumerate(opinions):
        if isinstance(opinion.value, Failure):
            return opinion.value
        values.append(1.0 - opinion.value if position else opinion.value)
    return values


def _disagreement(opinions: Sequence[Opinion]) -> ScoreOutcome:
    """How far the scores of both orders are apart: 0 where the order does not matter, 1 where it decides."""
    values = _both(opinions)
    return None if isinstance(values, Failure) or not values else abs(values[0] - values[1])


def _sum(values: Sequence[float]) -> float | None:
    return sum(values) if values else None
