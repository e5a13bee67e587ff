"""Demonstrations as tokens, and which of them count in the loss of supervised fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from align_lab.base.errors import DataError
from align_lab.base.progress import notice
from align_lab.base.task import Demonstration, PromptForm
from align_lab.models.policy import Policy
from align_lab.models.text import PLAIN
from align_lab.models.written import Written, written


@dataclass(frozen=True)
class Imitated:
    """Token sequences that end with the end token, and the column at which the loss of each begins."""

    sequences: list[list[int]]
    starts: list[int]


def imitated(
    policy: Policy, demonstrations: Sequence[Demonstration], *, loss_on: str = "completion", form: PromptForm = PLAIN
) -> Imitated:
    """The demonstrations of a policy, truncated at its context; one without a token to predict is left out and counted.

    A demonstration without a prompt is a text as it is, also for a chat model. Raises DataError where nothing is left.
    """
    rows = _tokens(policy, demonstrations, form)
    context = policy.model.context
    sequences = [[*row.prompt, *row.completion][:context] for row in rows]
    starts = [len(row.prompt) if loss_on == "completion" else 0 for row in rows]
    kept = [i for i, sequence in enumerate(sequences) if len(sequence) > max(1, starts[i])]
    if demonstrations and not kept:
        raise DataError(
            f"none of the {len(demonstrations)} demonstrations fits into the model's context of {context} tokens: "
            "their prompts fill it. Choose a model with a longer context, or shorter prompts"
        )
    if len(kept) < len(rows):
        notice(f"{len(rows) - len(kept)} of {len(rows)} demonstrations are left out: no room for their completions")
    return Imitated([sequences[i] for i in kept], [starts[i] for i in kept])


def _tokens(policy: Policy, demonstrations: Sequence[Demonstration], form: PromptForm) -> list[Written]:
    """One row for each demonstration, in their order."""
    text = policy.text
    prompted = [one for one in demonstrations if one.prompt]
    answers = iter(written(text, [one.example for one in prompted], [one.completion for one in prompted], form=form))
    plain = iter(text.tokenizer.encode_batch([one.completion for one in demonstrations if not one.prompt]))
    return [next(answers) if one.prompt else Written([], [*next(plain).ids, text.eos]) for one in demonstrations]
