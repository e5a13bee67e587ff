r"""The layouts of rows, recognized from their columns: TRL's forms, HH-RLHF, TL;DR, UltraFeedback, GSM8K.

prompt                          a prompt alone: a text, or a list of messages
prompt, completion              a demonstration; also prompt with a text as label (TL;DR)
prompt, chosen, rejected        a preference; where both answers are whole conversations, the prompt is their
                                common beginning (UltraFeedback)
chosen, rejected                a preference; the prompt is their common beginning (HH-RLHF: "\n\nHuman: ...")
prompt, completion, label       an unpaired preference
info, summaries, choice         a comparison of TL;DR
messages or conversations       a conversation; its last answer is the completion
question [, answer]             a question; an answer that ends with "#### 42" is a worked solution (GSM8K)
text                            a text to imitate, without a prompt
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from align_lab.base.task import Prompt
from align_lab.data import dialogue
from align_lab.data.dialogue import RowError

Values = Mapping[str, Any]
FINAL = "#### "  # what GSM8K writes before the final answer
CONSUMED = frozenset(
    {"prompt", "chosen", "rejected", "messages", "conversations", "info", "summaries", "choice", "text"}
)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a row says."""

    prompt: Prompt = ""
    prompted: bool = True  # False: a text to imitate, which answers no prompt
    completion: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    label: bool | None = None
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Layout:
    """One of the forms that rows have."""

    name: str
    columns: frozenset[str]  # that a row of this layout has
    convert: Callable[[Values], Record]


def layout_of(columns: Collection[str]) -> Layout | None:
    """The first layout whose columns are all there; None if there is none."""
    return next((layout for layout in LAYOUTS if layout.columns <= set(columns)), None)


def record_of(values: Values, layout: Layout) -> Record:
    """What a row says; its other columns go with it. Raises RowError."""
    if missing := sorted(layout.columns - values.keys()):
        there = ", ".join(map(str, values))
        raise RowError(
            f"it has no column {', '.join(missing)} (its columns: {there}). If another one holds it, type "
            f"data.columns.{missing[0]}=NAME"
        )
    record = layout.convert(values)
    others = {name: value for name, value in values.items() if name not in CONSUMED}
    return _final_answer(replace(record, columns=others | dict(record.columns)))


def _final_answer(record: Record) -> Record:
    """A worked solution that ends with its final answer, as in GSM8K, becomes both."""
    solution = record.columns.get("answer")
    if not isinstance(solution, str) or FINAL not in solution or record.completion is not None:
        return record
    final = solution.rpartition(FINAL)[2].strip()
    return replace(record, completion=solution, columns={**record.columns, "answer": final, "solution": solution})


def _prompt(values: Values) -> Prompt:
    prompt = values["prompt"]
    if isinstance(prompt, str):
        return prompt
    if prompt is None:
        return ""
    turns = dialogue.messages(prompt, "prompt")
    if not dialogue.asks(turns):
        raise RowError("its prompt does not end with a message of the user")
    return turns


def _answer(values: Values, column: str) -> str:
    value = values[column]
    if isinstance(value, str):
        return value
    return dialogue.answer(dialogue.messages(value, column), column)


def _prompt_only(values: Values) -> Record:
    return Record(prompt=_prompt(values))


def _demonstration(values: Values) -> Record:
    return Record(prompt=_prompt(values), completion=_answer(values, "completion"))


def _labeled(values: Values) -> Record:
    """The label is the completion's text, or says whether the completion is good."""
    if isinstance(values["label"], str) and "completion" not in values:
        return Record(prompt=_prompt(values), completion=values["label"])
    return _prompt_only(values)


def _unpaired(values: Values) -> Record:
    label = values["label"]
    if str(label).lower() not in ("true", "false", "1", "0"):
        raise RowError(
            "its label is neither true nor false, which says whether the completion is desirable. If another column "
            "says so, type data.columns.label=NAME"
        )
    return replace(_demonstration(values), label=str(label).lower() in ("true", "1"))


def _explicit(values: Values) -> Record:
    chosen, rejected = values["chosen"], values["rejected"]
    if _whole_dialogues(chosen, rejected):
        return _implicit(values)
    return Record(prompt=_prompt(values), chosen=_answer(values, "chosen"), rejected=_answer(values, "rejected"))


def _whole_dialogues(chosen: Any, rejected: Any) -> bool:
    """Do both answers repeat the conversation before them?"""
    if isinstance(chosen, str) or isinstance(rejected, str):
        return dialogue.is_dialogue(chosen) and dialogue.is_dialogue(rejected)
    return isinstance(chosen, list) and isinstance(rejected, list) and min(len(chosen), len(rejected)) > 1


def _implicit(values: Values) -> Record:
    chosen, rejected = values["chosen"], values["rejected"]
    if isinstance(chosen, str) and isinstance(rejected, str):
        if not (dialogue.is_dialogue(chosen) and dialogue.is_dialogue(rejected)):
            prompt = dialogue.common_text(chosen, rejected)
            return Record(prompt=prompt, chosen=chosen[len(prompt) :], rejected=rejected[len(prompt) :])
        first, second = dialogue.hh_messages(chosen), dialogue.hh_messages(rejected)
    else:
        first, second = dialogue.messages(chosen, "chosen"), dialogue.messages(rejected, "rejected")
    turns = dialogue.common_turns(first, second)
    if turns and not dialogue.asks(turns):
        raise RowError("the common turns of chosen and rejected do not end with one of the user")
    rest = (dialogue.answer(turns_[len(turns) :], name) for turns_, name in ((first, "chosen"), (second, "rejected")))
    chosen_answer, rejected_answer = rest
    return Record(prompt=turns, chosen=chosen_answer, rejected=rejected_answer)


def _tldr(values: Values) -> Record:
    info, summaries, choice = values["info"] or {}, values["summaries"], values["choice"]
    post = info.get("post") or info.get("article") or ""
    if not isinstance(summaries, list) or len(summaries) != 2 or choice not in (0, 1):
        raise RowError("its summaries are not two, or its choice is neither 0 nor 1")
    parts = (("SUBREDDIT", info.get("subreddit") and f"r/{info['subreddit']}"), ("TITLE", info.get("title")))
    head = "".join(f"{name}: {value}\n\n" for name, value in parts if value)
    texts = [str(summary.get("text") or "") for summary in summaries]
    prompt = f"{head}POST: {post}\n\nTL;DR:" if post else ""
    return Record(prompt=prompt, chosen=texts[choice], rejected=texts[1 - choice])


def _conversation(values: Values) -> Record:
    column = "messages" if "messages" in values else "conversations"
    turns = dialogue.messages(values[column], column)
    if turns[-1].role == "user":
        return Record(prompt=turns)
    if not dialogue.asks(turns[:-1]):
        raise RowError(f"its {column} do not end with a question and an answer")
    return Record(prompt=turns[:-1], completion=turns[-1].content)


def _question(values: Values) -> Record:
    return Record(prompt=_prompt({"prompt": values["question"]}))


def _text(values: Values) -> Record:
    return Record(completion=_answer(values, "text"), prompted=False)


def _layout(name: str, *columns: str, convert: Callable[[Values], Record]) -> Layout:
    return Layout(name, frozenset(columns), convert)


TEMPLATED = _layout("columns of the template", convert=lambda values: Record())
LAYOUTS = (
    _layout("comparison of TL;DR", "info", "summaries", "choice", convert=_tldr),
    _layout("preference", "prompt", "chosen", "rejected", convert=_explicit),
    _layout("preference, implicit prompt", "chosen", "rejected", convert=_implicit),
    _layout("unpaired preference", "prompt", "completion", "label", convert=_unpaired),
    _layout("prompt and completion", "prompt", "completion", convert=_demonstration),
    _layout("conversation", "messages", convert=_conversation),
    _layout("conversation", "conversations", convert=_conversation),
    _layout("prompt and label", "prompt", "label", convert=_labeled),
    _layout("prompt", "prompt", convert=_prompt_only),
    _layout("question", "question", convert=_question),
    _layout("text", "text", convert=_text),
)
