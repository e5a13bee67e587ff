"""Dialogues: lists of messages, the strings of HH-RLHF, and the prompt that two dialogues have in common."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

from align_lab.base.task import Message, Prompt

ROLES = {"human": "user", "gpt": "assistant", "model": "assistant", "developer": "system"}  # other names -> ours
KNOWN = ("system", "user", "assistant")
TURN = re.compile(r"\n\n(Human|Assistant):")


class RowError(ValueError):
    """A row that cannot be used. Its text is a sentence about the row, the same for all rows of the kind."""


def messages(value: Any, column: str) -> tuple[Message, ...]:
    """A list of {"role": ..., "content": ...}, or of {"from": ..., "value": ...}. Raises RowError."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise RowError(f"its {column} is no list of messages")
    return tuple(_message(one, column) for one in value)


def _message(value: Any, column: str) -> Message:
    if not isinstance(value, dict):
        raise RowError(f"its {column} holds something else than messages")
    role, content = value.get("role", value.get("from")), value.get("content", value.get("value"))
    role = ROLES.get(str(role), role)
    if role not in KNOWN or not isinstance(content, str):
        raise RowError(
            f"its {column} has a message whose role is {role!r} and whose content is {type(content).__name__}: "
            f"a role is one of {', '.join(KNOWN)}, and the content is a text"
        )
    return Message(role, content)


def is_dialogue(text: Any) -> bool:
    """Is it a dialogue of HH-RLHF, one string with a line for each turn?"""
    return isinstance(text, str) and text.lstrip().startswith("Human:") and "\n\nAssistant:" in text


def hh_messages(text: str) -> tuple[Message, ...]:
    r"""The turns of "\n\nHuman: ...\n\nAssistant: ..."."""
    _, *parts = TURN.split("\n\n" + text.lstrip())
    return tuple(
        Message("user" if speaker == "Human" else "assistant", content.strip())
        for speaker, content in zip(parts[::2], parts[1::2], strict=True)
    )


def answer(turns: Sequence[Message], column: str) -> str:
    """The content of the only turn, the assistant's. Raises RowError."""
    if len(turns) != 1 or turns[0].role != "assistant":
        raise RowError(f"its {column} is not one answer of the assistant after the common turns")
    return turns[0].content


def common_turns(first: Sequence[Message], second: Sequence[Message]) -> tuple[Message, ...]:
    """The turns that both dialogues begin with, the last turn of each left out: it is an answer."""
    pairs = itertools.takewhile(lambda both: both[0] == both[1], zip(first[:-1], second[:-1], strict=False))
    return tuple(turn for turn, _ in pairs)


def common_text(first: str, second: str) -> str:
    """The beginning that both texts share, up to the end of a word: neither answer begins inside one."""
    shared = next((place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other), None)
    prefix = first[: min(len(first), len(second)) if shared is None else shared]
    return prefix[: max((place for place, letter in enumerate(prefix) if letter.isspace()), default=0)].rstrip()


def asks(prompt: Prompt) -> bool:
    """Does a conversation end with a question of the user? A text always asks."""
    return isinstance(prompt, str) or (bool(prompt) and prompt[-1].role == "user")
