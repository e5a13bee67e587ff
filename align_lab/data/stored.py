"""A data set on disk: a file of JSON lines for each part and split, read where it is asked for and not before."""

from __future__ import annotations

import json
import mmap
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar, overload

from align_lab.base.errors import DataError
from align_lab.base.files import read_json, write_json
from align_lab.base.task import (
    TRAIN,
    DataSet,
    Demonstration,
    Example,
    LabeledCompletion,
    Message,
    PreferencePair,
    Prompt,
    content_key,
)
from align_lab.data.entries import Entry, Reading
from align_lab.data.overlap import usable

T = TypeVar("T")
META = "data_set.json"


def write(folder: Path, reading: Reading) -> None:
    """Write all entries that can be used into `folder`."""
    with ExitStack() as stack:
        writers: dict[str, LineWriter] = {}
        keys: dict[str, Counter[str]] = {}
        for entry in usable(reading):
            name = f"{entry.part}-{entry.split}"
            if name not in writers:
                writers[name] = stack.enter_context(LineWriter(folder / name))
            copies = keys.setdefault(name, Counter())
            key = entry.key or content_key(entry.identity)
            copies[key] += 1
            if copies[key] > 1 and entry.part == "examples" and entry.split != TRAIN:
                continue  # an evaluation prompt counts once
            writers[name].write(_line(entry, key if copies[key] == 1 else f"{key}-{copies[key]}"))
    write_json(folder / META, {"sets": reading.sets, "lines": {name: one.lines for name, one in writers.items()}})


def _line(entry: Entry, key: str) -> dict[str, Any]:
    record = entry.record
    prompt = record.prompt if isinstance(record.prompt, str) else [[turn.role, turn.content] for turn in record.prompt]
    if entry.part == "demonstrations":
        return {"prompt": prompt, "completion": record.completion}
    line = {"key": key, "prompt": prompt, "columns": dict(record.columns)}
    if entry.part == "examples":
        return line
    if entry.part == "labeled":
        return line | {"completion": record.completion, "desirable": record.label}
    return line | {"chosen": record.chosen, "rejected": record.rejected}


class LineWriter:
    """Writes NAME.jsonl and NAME.ends, the place at which each line ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ends = array("Q")
        self.file: BinaryIO = path.with_name(f"{path.name}.jsonl").open("wb")

    @property
    def lines(self) -> int:
        """The number of lines written."""
        return len(self.ends)

    def write(self, content: dict[str, Any]) -> None:
        """Append a line."""
        self.file.write(json.dumps(content, default=str).encode() + b"\n")
        self.ends.append(self.file.tell())

    def __enter__(self) -> LineWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.path.with_name(f"{self.path.name}.ends").write_bytes(self.ends.tobytes())


class Lines(Sequence[T], Generic[T]):
    """The lines of a file as a sequence; a line is parsed when it is asked for."""

    def __init__(self, path: Path, parse: Callable[[dict[str, Any]], T]) -> None:
        self.parse = parse
        self.ends = array("Q")
        self.ends.frombytes(path.with_name(f"{path.name}.ends").read_bytes())
        with path.with_name(f"{path.name}.jsonl").open("rb") as file:
            self.content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        """One item, or a list of items."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start = self.ends[place - 1] if place else 0
        return self.parse(json.loads(self.content[start : self.ends[place]]))


class FileSet(DataSet):
    """What `write` wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: dict[str, int] = read_json(folder / META).get("lines", {})
        if not self.lines:
            raise DataError(f"{folder} holds no data set. Remove it, and it will be built again: rm -r {folder}")

    def examples(self, split: str) -> Sequence[Example]:
        """The prompts of `train` or of an evaluation set, in the order of the files."""
        return self._of("examples", split, _example)

    def demonstrations(self, split: str) -> Sequence[Demonstration]:
        """Prompts with the completions to imitate."""
        return self._of("demonstrations", split, _demonstration)

    def pairs(self, split: str) -> Sequence[PreferencePair]:
        """Preference pairs."""
        return self._of("pairs", split, _pair)

    def labeled(self, split: str) -> Sequence[LabeledCompletion]:
        """Completions with a label of their own."""
        return self._of("labeled", split, _labeled)

    def _of(self, part: str, split: str, parse: Callable[[dict[str, Any]], T]) -> Sequence[T]:
        name = f"{part}-{split}"
        if not self.lines.get(name):
            return ()
        try:
            result = Lines(self.folder / name, parse)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.folder} is not whole ({error}). Remove it, and it will be built again: rm -r {self.folder}"
            ) from error
        if len(result) != self.lines[name]:
            raise DataError(f"{self.folder} is not whole. Remove it, and it will be built again: rm -r {self.folder}")
        return result


def _prompt(value: str | list[list[str]]) -> Prompt:
    return value if isinstance(value, str) else tuple(Message(role, content) for role, content in value)


def _example(line: dict[str, Any]) -> Example:
    return Example(key=line["key"], prompt=_prompt(line["prompt"]), columns=line["columns"])


def _demonstration(line: dict[str, Any]) -> Demonstration:
    return Demonstration(prompt=_prompt(line["prompt"]), completion=line["completion"])


def _pair(line: dict[str, Any]) -> PreferencePair:
    return PreferencePair(example=_example(line), chosen=line["chosen"], rejected=line["rejected"])


def _labeled(line: dict[str, Any]) -> LabeledCompletion:
    return LabeledCompletion(example=_example(line), completion=line["completion"], desirable=line["desirable"])
