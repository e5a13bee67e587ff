"""Checks of a data set: it is built into an empty folder, read twice, and compared with what the component promises."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align_lab.base.contracts import Data
from align_lab.base.task import DEVELOPMENT, TRAIN, DataSet, Demonstration, Example, Message, Prompt
from align_lab.testing.outcomes import Outcome, failure, outcome, outcomes

ROLES = ("system", "user", "assistant")
SHOWN = 3  # most problems of one check


@dataclass(frozen=True, kw_only=True)
class Read:
    """A data set that was built once and read twice."""

    component: Data
    first: DataSet
    second: DataSet

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return self.component.all_splits()


def outcomes_of(component: Data) -> Iterator[Outcome]:
    """All checks of one data set; without a data set, only those of what the settings promise."""
    promised = outcome(splits_begin_with_train, component)
    yield promised
    yield outcome(the_instruction_is_a_text, component)
    if promised.problems:
        return
    with tempfile.TemporaryDirectory(prefix="align_lab-doctor-") as scratch:
        folder = Path(scratch)
        try:
            component.build(folder)
            read = Read(component=component, first=component.load(folder), second=component.load(folder))
        except (Exception, SystemExit) as error:
            yield failure("it is built and loaded", error)
            return
        reading = outcome(every_split_has_examples, read)
        yield reading
        if not reading.problems:
            yield from outcomes(CHECKS, read)


def splits_begin_with_train(component: Data) -> Iterator[str]:
    """`train`, then at least one evaluation set, each name once."""
    splits: Any = component.splits()
    if not isinstance(splits, tuple) or not all(isinstance(name, str) and name for name in splits):
        yield f"splits() returned {splits!r}. Return a tuple of names: ('train', 'evaluation')"
    elif splits[:1] != (TRAIN,) or len(splits) < 2 or len(set(splits)) < len(splits):
        yield f"splits() returned {splits}. Return 'train', then at least one evaluation set, each name once"


def the_instruction_is_a_text(component: Data) -> Iterator[str]:
    """A chat model is asked it."""
    instruction: Any = component.instruction
    if not isinstance(instruction, str) or "{prompt}" not in instruction:
        yield f"instruction is {component.instruction!r}. Set a text that holds {{prompt}}"


def every_split_has_examples(read: Read) -> Iterator[str]:
    """Each split that the component names holds examples."""
    for split in read.splits:
        examples: Any = read.first.examples(split)
        if not len(examples):
            yield f"{split} holds no example. Leave the name out of splits(), or build examples for it"
        elif not all(isinstance(one, Example) for one in examples):
            yield f"{split} holds {type(examples[0]).__name__}. Return align_lab.base.task.Example objects"


def loading_again_gives_the_same(read: Read) -> Iterator[str]:
    """Examples, demonstrations and preferences are equal, in the same order."""
    for split in read.splits:
        for part in ("examples", "demonstrations", "pairs", "labeled"):
            first, second = (list(getattr(one, part)(split)) for one in (read.first, read.second))
            if first != second:
                yield f"the {part} of {split} differ between two calls of load. Read them in a fixed order"


def keys_are_unique_texts(read: Read) -> Iterator[str]:
    """A key names one example of its split."""
    for split in read.splits:
        keys: list[Any] = [example.key for example in read.first.examples(split)]
        if wrong := [key for key in keys if not isinstance(key, str) or not key]:
            yield f"{split}: the key {wrong[0]!r} is no text. Use the row's identifier, or a content_key"
        elif len(set(keys)) < len(keys):
            double = Counter(keys).most_common(1)[0][0]
            yield (
                f"{split}: {len(keys)} examples have {len(set(keys))} different keys; {double!r} names several. "
                "Make each key unique"
            )


def prompts_are_texts_or_conversations(read: Read) -> Iterator[str]:
    """None is empty, and a conversation has the roles that chat templates know and ends with the user."""
    for split in read.splits:
        wrong = [(one.key, problem) for one in read.first.examples(split) if (problem := prompt_problem(one.prompt))]
        yield from (f"{split}, example {key}: {problem}" for key, problem in wrong[:SHOWN])


def prompt_problem(prompt: Prompt) -> str | None:
    """What is wrong with a prompt; None where nothing is."""
    turns: Any = prompt
    if isinstance(turns, str):
        return None if turns.strip() else "the prompt is empty. Leave the example out"
    if not isinstance(turns, tuple) or not turns or not all(isinstance(turn, Message) for turn in turns):
        return f"the prompt is {str(turns)[:60]!r}. Use a text, or a tuple of align_lab.base.task.Message"
    for turn in turns:
        if turn.role not in ROLES or not isinstance(turn.content, str):
            return f"the turn {turn} is not allowed. Use a text as content, and a role of {', '.join(ROLES)}"
    if turns[-1].role == "assistant" or not turns[-1].content.strip():
        return "the conversation does not end with a question. Let its last turn be the user's"
    return None


def columns_have_names(read: Read) -> Iterator[str]:
    """A reward reads columns by name."""
    for split in read.splits:
        names = {name for example in read.first.examples(split) for name in example.columns}
        if wrong := [name for name in names if not isinstance(name, str)]:
            yield f"{split}: the column {wrong[0]!r} has no name. Name columns by texts"


def evaluation_examples_are_not_trained_on(read: Read) -> Iterator[str]:
    """No evaluation set, and no development set, shares a key or a prompt with the training examples."""
    for split in read.splits[1:]:
        yield from _shared(read, split, TRAIN)


def development_examples_are_not_evaluated_on(read: Read) -> Iterator[str]:
    """What is chosen on the development set has seen no prompt of an evaluation set."""
    if DEVELOPMENT in read.splits:
        for split in read.component.splits()[1:]:
            yield from _shared(read, split, DEVELOPMENT)


def _shared(read: Read, split: str, other: str) -> Iterator[str]:
    """Keys and prompts of a split that another one has as well."""
    here, there = (read.first.examples(name) for name in (split, other))
    keys, prompts = {one.key for one in there}, {one.prompt for one in there}
    if shared := [one for one in here if one.key in keys or one.prompt in prompts]:
        yield (
            f"{split} shares {len(shared)} of its {len(here)} examples with {other}, {shared[0].key!r} for example. "
            "Keep them apart"
        )


def what_is_promised_is_there(read: Read) -> Iterator[str]:
    """`has_demonstrations()`, `has_pairs()` and `labels()` agree with the data set."""
    for name, part in (("demonstrations", read.first.demonstrations(TRAIN)), ("pairs", read.first.pairs(TRAIN))):
        promised = getattr(read.component, f"has_{name}")()
        if promised != (len(part) > 0):
            yield f"has_{name}() is {promised}, and {name}('train') holds {len(part)}. Make them agree"
    labels = {one.desirable for one in read.first.labeled(TRAIN)}
    if labels != read.component.labels():
        yield (
            f"labels() is {sorted(read.component.labels())}, and labeled('train') holds completions with "
            f"{sorted(labels) or 'none'}. Make them agree"
        )


def sizes_are_upper_bounds(read: Read) -> Iterator[str]:
    """`size`, `longest_prompt` and `longest_text`, where the settings tell them: the memory estimate relies on them."""
    for split in read.splits:
        size, examples = read.component.size(split), len(read.first.examples(split))
        if size is not None and examples > size:
            yield f"size({split!r}) is {size}, and {split} holds {examples} examples. Return an upper bound, or None"
    prompts = (example.text for split in read.splits for example in read.first.examples(split))
    texts = (_text(one) for split in read.splits for one in read.first.demonstrations(split))
    yield from _longer("longest_prompt", read.component.longest_prompt(), prompts)
    yield from _longer("longest_text", read.component.longest_text(), texts)


def _longer(name: str, bound: int | None, texts: Iterable[str]) -> Iterator[str]:
    if bound is not None and (words := max((len(text.split()) for text in texts), default=0)) > bound:
        yield f"{name}() is {bound} words, and the longest has {words}. Return an upper bound, or None"


def _text(one: Demonstration) -> str:
    return (one.prompt if isinstance(one.prompt, str) else "") + one.completion


CHECKS: Sequence[Any] = (
    loading_again_gives_the_same,
    keys_are_unique_texts,
    prompts_are_texts_or_conversations,
    columns_have_names,
    evaluation_examples_are_not_trained_on,
    development_examples_are_not_evaluated_on,
    what_is_promised_is_there,
    sizes_are_upper_bounds,
)
