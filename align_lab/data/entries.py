"""From the rows of all files to examples, demonstrations and preferences, each with its split."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from align_lab.base.task import DEVELOPMENT, TRAIN, Message, Prompt
from align_lab.data import layouts, rows
from align_lab.data.dialogue import RowError
from align_lab.data.layouts import Layout, Record
from align_lab.data.locations import Location
from align_lab.data.rows import BadRow, Row

Part = Literal["examples", "demonstrations", "pairs", "labeled"]
HELD_OUT = "evaluation"  # the evaluation set of a split by hash
NAMES = re.compile(r"\{(\w+)\}")  # of columns in a template


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What is read, and how its rows become entries."""

    sources: Mapping[str, Location]  # of prompts, demonstrations, preferences, where they are given
    evaluation: Mapping[str, Location]  # by the name of the set
    roles: Mapping[str, str] = field(default_factory=dict[str, str])  # role -> column, where they differ
    system: str = ""
    template: str = ""
    share: float = 0.1  # of the prompts that are held out for evaluation, where no file is
    development: float = 0.05  # the same for development

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of the evaluation sets."""
        return tuple(name for name in self.named_sets if name != DEVELOPMENT) or (HELD_OUT,)

    @property
    def splits_by_hash(self) -> bool:
        """Does no file say what is held out for evaluation?"""
        return not set(self.named_sets) - {DEVELOPMENT}

    def is_development(self, entry: Entry) -> bool:
        """Is this prompt, which evaluation does not need, held out for development? A file's own prompts come first."""
        return DEVELOPMENT not in self.named_sets and _place(entry.identity) >= 1 - self.development

    @property
    def named_sets(self) -> tuple[str, ...]:
        """The sets that have files of their own, the development set among them."""
        of_files = [split for source in self.sources.values() for split in source.splits if split not in ("", TRAIN)]
        return tuple(dict.fromkeys([*self.evaluation, *of_files]))

    def serves(self, source: str, part: Part) -> bool:
        """Does a source give this part? Each part comes from its own field, else from the rows that hold it."""
        if part == "examples":
            return source == next(name for name in ("prompts", "preferences", "demonstrations") if name in self.sources)
        own = {"demonstrations": "demonstrations", "pairs": "preferences", "labeled": "preferences"}[part]
        return source == own if own in self.sources else source == "prompts"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An example, a demonstration, a preference pair or a completion with a label, of a row."""

    part: Part
    split: str
    record: Record
    identity: str  # the prompt as it is in the file, before data.system and data.template
    key: str  # the row's own identifier; ""
    row: Row


@dataclass(frozen=True)
class Seen:
    """The layout and the columns of a file, once its first row is known."""

    file: Path
    layout: str
    columns: tuple[str, ...]


def entries(reading: Reading, *, evaluation_only: bool = False) -> Iterator[Entry | BadRow | Seen]:
    """All entries: those of the evaluation sets first. `evaluation_only`: of files that hold evaluation sets alone."""
    for item in _with_split(reading, evaluation_only):
        if isinstance(item, Entry) and item.split == TRAIN and reading.is_development(item):
            yield replace(item, split=DEVELOPMENT)
        else:
            yield item


def _with_split(reading: Reading, evaluation_only: bool) -> Iterator[Entry | BadRow | Seen]:
    """All entries, those to train on and for development together.

    Demonstrations and pairs are held out by hash where the files of the evaluation sets hold none.
    """
    held_out: set[Part] = set()
    for item in _all(reading, evaluation_only):
        if not isinstance(item, Entry):
            yield item
        elif item.split:
            held_out |= {item.part} if item.split != TRAIN else set()
            yield item
        else:
            aside = item.part not in held_out and is_held_out(item.identity, reading.share)
            yield replace(item, split=reading.sets[0] if aside else TRAIN)


def _all(reading: Reading, evaluation_only: bool) -> Iterator[Entry | BadRow | Seen]:
    """All entries; their split is "" where neither a file nor the hash of examples decides it."""
    for name, location in reading.evaluation.items():
        yield from _of_files(reading, location.held_out, split=name, source="")
    of_sources = [(source, split) for source in reading.sources for split in reading.sources[source].splits]
    for source, split in sorted(of_sources, key=lambda one: one[1] in ("", TRAIN)):
        if not (evaluation_only and split in ("", TRAIN)):
            yield from _of_files(reading, reading.sources[source].splits[split], split=split, source=source)


def _of_files(reading: Reading, files: tuple[Path, ...], *, split: str, source: str) -> Iterator[Entry | BadRow | Seen]:
    unpaired = Unpaired()
    for file in files:
        layout: Layout | None = None
        for row in rows.read(file):
            if isinstance(row, BadRow):
                yield row
                continue
            values = _renamed(row.values, reading.roles)
            if layout is None:
                layout = layouts.layout_of(values) or (layouts.TEMPLATED if reading.template else None)
                if layout is None:
                    yield BadRow(file, row.number, _unknown(row.values))
                    break
                yield Seen(file, layout.name, tuple(map(str, row.values)))
            try:
                record = layouts.record_of(values, layout)
                identity = _identity(record, values, reading)
                record = replace(record, prompt=_asked(record.prompt, values, reading))
                _check_encoding(record)
            except RowError as error:
                yield BadRow(file, row.number, str(error))
                continue
            key = str(values["key"]) if "key" in reading.roles else ""
            entry = Entry(part="examples", split=split, record=record, identity=identity, key=key, row=row)
            yield from _parts(reading, entry, source, unpaired)


def _parts(reading: Reading, entry: Entry, source: str, unpaired: Unpaired) -> Iterator[Entry]:
    """The parts of a row that its source serves. The rows of an evaluation set give all that they hold."""
    record = entry.record
    if (not source or reading.serves(source, "examples")) and record.prompted:
        yield replace(entry, split=_split(reading, entry, "examples"))
    if not source or reading.serves(source, "demonstrations"):
        imitated = record.chosen if record.completion is None and source == "demonstrations" else record.completion
        if imitated is not None and record.label is not False:
            completed = replace(record, completion=imitated)
            split = _split(reading, entry, "demonstrations")
            yield replace(entry, part="demonstrations", split=split, record=completed)
    if not source or reading.serves(source, "pairs"):
        paired = record if record.chosen is not None else unpaired.pair(entry)
        if paired is not None:
            yield replace(entry, part="pairs", split=_split(reading, entry, "pairs"), record=paired)
        if record.label is not None and record.completion is not None:
            yield replace(entry, part="labeled", split=_split(reading, entry, "labeled"))


def _split(reading: Reading, entry: Entry, part: Part) -> str:
    if entry.split not in ("", TRAIN):
        return entry.split
    if reading.splits_by_hash:
        return HELD_OUT if is_held_out(entry.identity, reading.share) else TRAIN
    return TRAIN if part == "examples" else ""


class Unpaired:
    """Completions with a label that wait for another one of the same prompt with the other label."""

    def __init__(self) -> None:
        self.waiting: dict[tuple[str, bool], list[str]] = {}

    def pair(self, entry: Entry) -> Record | None:
        """A pair of this completion and one that waits; None where none does."""
        record = entry.record
        if record.label is None or record.completion is None:
            return None
        others = self.waiting.get((entry.identity, not record.label))
        if not others:
            self.waiting.setdefault((entry.identity, record.label), []).append(record.completion)
            return None
        good, bad = (record.completion, others.pop(0)) if record.label else (others.pop(0), record.completion)
        return replace(record, chosen=good, rejected=bad, completion=None)


def is_held_out(identity: str, share: float) -> bool:
    """The side of a split by hash, which depends on nothing but the prompt."""
    return _place(identity) < share


def _place(identity: str) -> float:
    """A number in [0, 1) that depends on nothing but the prompt."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8]) / 2**64


def _renamed(values: Mapping[str, Any], roles: Mapping[str, str]) -> dict[str, Any]:
    renamed = {name: value for name, value in values.items() if name not in roles.values()}
    return renamed | {role: values[column] for role, column in roles.items() if column in values}


def _identity(record: Record, values: Mapping[str, Any], reading: Reading) -> str:
    if isinstance(record.prompt, str):
        return record.prompt or (filled(reading.template, values) if reading.template else record.completion or "")
    if [turn.role for turn in record.prompt] == ["user"]:
        return record.prompt[0].content  # a model is asked it as it is asked a text
    return "\n".join(f"{turn.role}: {turn.content}" for turn in record.prompt)


def _asked(prompt: Prompt, values: Mapping[str, Any], reading: Reading) -> Prompt:
    """The prompt within the template, after the system message. Raises RowError."""
    if reading.template:
        if not isinstance(prompt, str):
            raise RowError("its prompt is a list of messages, and data.template is for prompts that are texts")
        prompt = filled(reading.template, {**values, "prompt": prompt})
    if not reading.system or not prompt:
        return prompt
    turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt
    return turns if turns[0].role == "system" else (Message("system", reading.system), *turns)


def filled(template: str, values: Mapping[str, Any]) -> str:
    """The template with the values of the columns that it names. Raises RowError for a column that is not there."""
    missing = sorted({name for name in NAMES.findall(template) if name not in values})
    if missing:
        raise RowError(f"it has no column {', '.join(missing)}, which data.template names")
    return NAMES.sub(lambda match: str(values[match[1]]), template)


def _check_encoding(record: Record) -> None:
    turns = record.prompt if not isinstance(record.prompt, str) else (Message("user", record.prompt),)
    texts = [turn.content for turn in turns] + [record.completion, record.chosen, record.rejected]
    try:
        for text in texts:
            (text or "").encode()
    except UnicodeEncodeError:
        raise RowError("it holds half a surrogate pair, which is no character") from None


def _unknown(values: Mapping[str, Any]) -> str:
    names = ", ".join(map(str, values)) or "none"
    first = next(iter(values), "NAME")
    return (
        f"no layout is known that has only its columns ({names}). Name the one that holds the prompt, "
        f"for example data.columns.prompt={first}"
    )
