"""What is wrong with a single entry."""

from __future__ import annotations

from align_lab.base.task import Message, Prompt
from align_lab.data.entries import Entry


def flaw(entry: Entry) -> str:
    """Why an entry is not used, as the name of a count of `Scan`; "" for a sound one."""
    record = entry.record
    if record.prompted and not text_of(record.prompt, last=True).strip():
        return "empty"
    if entry.part == "demonstrations" and not (record.completion or "").strip():
        return "unanswered"
    if entry.part == "pairs":
        if record.chosen == record.rejected:
            return "equal"
        return "" if (record.chosen or "").strip() else "unanswered"
    if entry.part == "labeled" and record.label and not (record.completion or "").strip():
        return "unanswered"
    return ""


def text_of(prompt: Prompt, *, last: bool = False) -> str:
    """A prompt as one text; `last`: of a conversation the last turn alone."""
    turns = prompt if not isinstance(prompt, str) else (Message("user", prompt),)
    return turns[-1].content if last and turns else "\n".join(turn.content for turn in turns)
