"""Given completions of prompts as tokens: what fine-tuning imitates, what preference pairs hold, what is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from align_lab.base.task import Example, PromptForm
from align_lab.models.control_tokens import Control
from align_lab.models.text import PLAIN, Text


@dataclass(frozen=True)
class Written:
    """The tokens of a prompt, and those of one completion with the end token."""

    prompt: list[int]
    completion: list[int]


def written(
    text: Text, examples: Sequence[Example], completions: Sequence[str], *, form: PromptForm = PLAIN
) -> list[Written]:
    """The tokens of each completion after its example's prompt, which has the tokens that it has in sampling.

    Prompt and completion are tokenized as one text. Where a token would span both, the completion is tokenized alone.
    Control tokens in a completion are encoded as ordinary text.
    """
    control = Control.of(text.tokenizer)
    answers = [control.mark(completion) for completion in completions]
    opened = [text.rendered(one, form, control=control) for one in examples]
    wholes = control.encode(
        text.tokenizer,
        [prompt + answer for prompt, answer in zip(opened, answers, strict=True)],
        add_special_tokens=text.template is None,
    )
    rows = []
    for prompt, whole, answer in zip(text.prompts(examples, form), wholes, answers, strict=True):
        if whole[: len(prompt)] == prompt:
            rest = whole[len(prompt) :]
        else:
            (rest,) = control.encode(text.tokenizer, [answer], add_special_tokens=False)
        rows.append(Written(prompt, [*rest, text.eos]))
    return rows
