"""Prompts that are too long for the model, found before a run starts: how many there are, and where they lie.

`long_prompts` decides the same where prompts are tokenized for training, with all that a run knows by then.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from align_lab.base.task import Example, PlacedPrompt, PromptForm
from align_lab.rollout.long_prompts import Room, advice

if TYPE_CHECKING:
    from align_lab.models.text import Text

SPECIAL = 2  # tokens that a tokenizer may put around a text: its beginning, and a blank before the first word
TEMPLATE = 1024  # bytes that a chat template may put around a question, with a system message of its own
CHECKED = 32 << 20  # bytes of prompts that are tokenized: of a larger file the first ones
CHUNK = 256
SHOWN = 5


@dataclass
class LongPrompts:
    """The prompts of one set that leave no room for a completion."""

    room: Room
    count: int = 0
    longest: int = 0  # tokens
    first: list[str] = field(default_factory=list[str])

    def add(self, place: str, tokens: int) -> None:
        """Count a prompt."""
        self.count += 1
        self.longest = max(self.longest, tokens)
        if len(self.first) < SHOWN:
            self.first.append(f"{place} ({tokens:,} tokens)")

    def in_words(self, *, size: int | None, whole: bool) -> str:
        """How many, where, and what is allowed. `size`: of the set; `whole`: were all of its prompts looked at?"""
        of = "" if size is None else f" of {size:,}"
        least = "" if whole else "at least "
        more = ", ..." if self.count > len(self.first) else ""
        room = self.room
        return (
            f"{least}{self.count:,}{of} prompts of {room.split} have more than {room.limit:,} tokens, and with "
            f"{room.field}={room.new} that is more than the model's context of {room.context:,}: "
            f"{'; '.join(self.first)}{more}"
        )

    def advice(self) -> str:
        """What to type."""
        return advice(self.longest, self.room)


def harmless(limit: int, form: PromptForm, text: Text | None = None) -> int:
    """Bytes up to which no prompt has more than `limit` tokens: a token is a byte at least.

    Without `text`, for any chat template of up to `TEMPLATE` bytes.
    """
    if text is not None and text.template is None:
        return limit - SPECIAL
    template = TEMPLATE if text is None else len(text.rendered(Example(key="", prompt="")).encode())
    times = 2 if form.chat == "continuation" else 1
    return (limit - SPECIAL - template - len(form.instruction.encode())) // times


def find(
    placed: Iterable[PlacedPrompt], text: Text, rooms: Mapping[str, Room], form: PromptForm
) -> tuple[list[LongPrompts], bool]:
    """The sets with prompts that are too long for the room of their set; and whether all prompts were looked at."""
    found = {split: LongPrompts(room) for split, room in rooms.items()}
    seen = 0
    for chunk in _chunks(one for one in placed if one.split in rooms):
        if seen > CHECKED:
            return [one for one in found.values() if one.count], False
        for one, tokens in zip(chunk, text.prompts([each.example for each in chunk], form), strict=True):
            seen += len(one.example.text)
            if len(tokens) > rooms[one.split].limit:
                found[one.split].add(one.place, len(tokens))
    return [one for one in found.values() if one.count], True


def _chunks(placed: Iterator[PlacedPrompt]) -> Iterator[tuple[PlacedPrompt, ...]]:
    while chunk := tuple(itertools.islice(placed, CHUNK)):
        yield chunk
