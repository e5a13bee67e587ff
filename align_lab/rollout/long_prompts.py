"""Prompts that leave no room for a completion: refused, left out, or truncated from the left (`data.too_long`).

This is decided once, where prompts are tokenized, so that training, evaluation and preference pairs of all arms have
the same prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from align_lab.base.errors import DataError
from align_lab.base.progress import notice
from align_lab.base.task import Example, Message, Prompt, PromptForm

if TYPE_CHECKING:
    from align_lab.models.text import Text

SHOWN = 3  # long prompts that a message quotes


@dataclass(frozen=True, kw_only=True)
class Room:
    """The tokens that a prompt may have."""

    context: int  # of the model
    new: int  # sampling.max_new_tokens
    split: str = ""  # the name of the set, for messages
    field: str = "sampling.max_new_tokens"  # that `new` is of

    @property
    def limit(self) -> int:
        """The largest number of tokens of a prompt."""
        return self.context - self.new


def fit(
    examples: Sequence[Example], text: Text, room: Room, form: PromptForm
) -> tuple[Sequence[Example], list[list[int]]]:
    """The examples that fit, as their model sees them, and the tokens of their prompts.

    Raises DataError for a prompt without tokens, and for one that is too long unless `form` says what to do with it.
    """
    ids = text.prompts(examples, form)
    if not all(ids):
        raise DataError("a prompt is empty: a completion needs at least one token before it")
    long = [row for row, tokens in enumerate(ids) if len(tokens) > room.limit]
    if not long:
        return examples, ids
    numbers = _in_words(examples, ids, long, room)
    if form.too_long == "error" or room.limit < 1:
        raise DataError(f"{numbers}. {advice(max(map(len, ids)), room)}")
    if form.too_long == "drop":
        return _without(set(long), examples, ids, numbers)
    notice(f"{numbers}: truncated from the left (data.too_long=truncate)")

    def encode(example: Example) -> list[int]:
        return text.prompts([example], form)[0]

    shorter = {row: truncated(examples[row], encode, text, room.limit) for row in long}
    kept = [shorter.get(row, example) for row, example in enumerate(examples)]
    return kept, text.prompts(kept, form)


def _without(
    rows: set[int], examples: Sequence[Example], ids: list[list[int]], numbers: str
) -> tuple[Sequence[Example], list[list[int]]]:
    if len(rows) == len(ids):
        raise DataError(f"{numbers}, so data.too_long=drop leaves none. Set sampling.max_new_tokens smaller")
    notice(f"{numbers}: left out (data.too_long=drop)")
    kept = [row for row in range(len(ids)) if row not in rows]
    return [examples[row] for row in kept], [ids[row] for row in kept]


def _in_words(examples: Sequence[Example], ids: Sequence[Sequence[int]], long: Sequence[int], room: Room) -> str:
    of = f" of {room.split}" if room.split else ""
    quoted = ", ".join(f"{examples[row].text[:60]!r} ({len(ids[row])} tokens)" for row in long[:SHOWN])
    more = ", ..." if len(long) > SHOWN else ""
    one = len(long) == 1
    return (
        f"{len(long)} of {len(ids)} prompts{of} {'has' if one else 'have'} more than {room.limit} tokens, and with "
        f"sampling.max_new_tokens={room.new} that is more than the model's context of {room.context}: {quoted}{more}"
    )


def advice(longest: int, room: Room) -> str:
    """What to type where the longest prompt has so many tokens."""
    if longest < room.context:
        return f"Set {room.field}={room.context - longest} or less, or data.too_long=drop or truncate"
    return "Set data.too_long=drop or truncate, or use shorter prompts"


def truncated(example: Example, encode: Callable[[Example], Sequence[int]], text: Text, limit: int) -> Example:
    """The example whose prompt has lost its earliest turns, then the beginning of its last one, until it fits.

    A system message stays. Raises DataError if not even an empty last turn fits.
    """
    while len(encode(example)) > limit and (rest := _without_first_turn(example.prompt)):
        example = replace(example, prompt=rest)
    content = example.prompt if isinstance(example.prompt, str) else example.prompt[-1].content
    starts = [start for start, _ in text.tokenizer.encode(content, add_special_tokens=False).offsets]
    cut = 0
    while (excess := len(encode(example)) - limit) > 0:
        cut += excess
        if cut >= len(starts):
            raise DataError(
                f"the prompt of example {example.key} does not fit into {limit} tokens, however much of it is cut: "
                "its system message or the chat template are too long. Set sampling.max_new_tokens smaller"
            )
        example = replace(example, prompt=_with_last(example.prompt, content[starts[cut] :]))
    return example


def _without_first_turn(prompt: Prompt) -> tuple[Message, ...]:
    """A conversation without its first exchange; empty for a text, or where only one question is left."""
    if isinstance(prompt, str):
        return ()
    system = tuple(turn for turn in prompt[:1] if turn.role == "system")
    questions = [place for place, turn in enumerate(prompt) if turn.role == "user" and place > len(system)]
    return (*system, *prompt[questions[0] :]) if questions else ()


def _with_last(prompt: Prompt, content: str) -> Prompt:
    return content if isinstance(prompt, str) else (*prompt[:-1], replace(prompt[-1], content=content))
