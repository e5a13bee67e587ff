"""One pass over all files before anything is queued: what they hold, and everything that is wrong with them.

Memory grows by 8 to 16 bytes a row (hashes), and by the prompts of evaluation sets that have files of their own.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from align_lab.base.task import TRAIN, bytes_of
from align_lab.data.entries import Entry, Reading, Seen, entries
from align_lab.data.flaws import flaw, text_of
from align_lab.data.near import NearIndex
from align_lab.data.overlap import HeldOut, hash_of, held_out, kind_of
from align_lab.data.places import Places
from align_lab.data.rows import BadRow

CONTROL = re.compile(r"<\|[^|<>\s]{1,40}\|>|</?s>|\[/?INST\]")  # what chat templates delimit turns with
REASONS = 20  # different reasons of bad rows that are told apart


@dataclass
class Scan:
    """What is counted while the entries go by."""

    sizes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])  # (part, split) -> entries
    rows: int = 0
    last: tuple[Path, int] | None = None  # the row that was counted last: its parts follow each other
    matched: int = 0  # pairs that were made of two completions with a label
    files: dict[str, str] = field(default_factory=dict[str, str])  # file -> layout
    columns: dict[str, None] = field(default_factory=dict[str, None])  # of examples, in order
    raw_columns: dict[str, None] = field(default_factory=dict[str, None])  # of the files
    bad: dict[str, Places] = field(default_factory=dict[str, Places])  # reason -> rows
    empty: Places = field(default_factory=Places)  # prompts
    equal: Places = field(default_factory=Places)  # pairs whose answers are the same
    unanswered: Places = field(default_factory=Places)  # completions and preferred answers without a text
    control: Places = field(default_factory=Places)  # prompts with control tokens
    overlaps: dict[tuple[str, str], Places] = field(default_factory=dict[tuple[str, str], Places])  # see `overlap`
    near: Places = field(default_factory=Places)
    longest_prompt: int = 0  # words
    longest_bytes: int = 0  # of a prompt
    longest_text: int = 0
    longest_pair: int = 0  # words of a prompt and the longer of its two answers
    longer_chosen: int = 0  # pairs whose chosen answer is the longer one
    prompts: array[int] = field(default_factory=lambda: array("Q"))  # hashes of the training prompts
    orders: array[int] = field(default_factory=lambda: array("Q"))  # hashes of pairs; the last bit is the order
    held_out: HeldOut = field(default_factory=HeldOut)  # prompts of the sets that have files of their own
    doubles: int = 0  # evaluation prompts that occur in their set already
    index: NearIndex = field(default_factory=NearIndex)


def scan(reading: Reading) -> Scan:
    """Count everything. First the evaluation prompts are read, as far as they are looked up later, then all rows."""
    result = Scan(held_out=held_out(reading))
    for item in entries(reading, evaluation_only=not reading.splits_by_hash):
        if isinstance(item, Entry) and item.part == "examples" and item.split != TRAIN and not flaw(item):
            place = Places.of(item.row.file, item.row.number)
            if not result.index.add(item.identity, place) and reading.splits_by_hash:
                break
    seen: set[tuple[str, int]] = set()
    for item in entries(reading):
        if isinstance(item, Seen):
            result.files[str(item.file)] = item.layout
            result.raw_columns |= dict.fromkeys(item.columns)
        elif isinstance(item, BadRow):
            reason = item.reason if item.reason in result.bad or len(result.bad) < REASONS else "other reasons"
            result.bad.setdefault(reason, Places()).add(item.file, item.number)
        else:
            _count(result, item, seen)
    return result


def _count(result: Scan, entry: Entry, seen: set[tuple[str, int]]) -> None:
    problem, place = flaw(entry), (entry.row.file, entry.row.number)
    result.rows += place != result.last
    result.last = place
    if problem:
        getattr(result, problem).add(*place)
        if problem != "equal":
            return
    if other := result.held_out.elsewhere(entry):
        kinds = kind_of(entry.split), kind_of(other.split)
        result.overlaps.setdefault(kinds, Places()).add(*place, f"also in {other.place}")
        return
    code = hash_of(entry.identity)
    if entry.part == "pairs":
        result.sizes[entry.part, entry.split] += not problem
        _count_pair(result, entry, code)
    elif entry.part == "labeled":
        result.sizes["desirable" if entry.record.label else "undesirable", entry.split] += 1
    elif entry.part == "demonstrations":
        result.sizes[entry.part, entry.split] += 1
        text = f"{text_of(entry.record.prompt)} {entry.record.completion}"
        result.longest_text = max(result.longest_text, words(text))
    else:
        _count_example(result, entry, code, seen)


def _count_pair(result: Scan, entry: Entry, code: int) -> None:
    chosen, rejected = entry.record.chosen or "", entry.record.rejected or ""
    result.longer_chosen += len(chosen) > len(rejected)
    text = f"{text_of(entry.record.prompt)} {max(chosen, rejected, key=len)}"
    result.longest_pair = max(result.longest_pair, words(text))
    result.matched += entry.record.label is not None
    if chosen != rejected:
        pair = code ^ hash_of(min(chosen, rejected)) ^ (hash_of(max(chosen, rejected)) >> 1)
        result.orders.append((pair & ~1) | (chosen > rejected))


def _count_example(result: Scan, entry: Entry, code: int, seen: set[tuple[str, int]]) -> None:
    prompt = text_of(entry.record.prompt)
    if entry.split != TRAIN:
        if (entry.split, code) in seen:
            result.doubles += 1
            return
        seen.add((entry.split, code))
    else:
        result.prompts.append(code)
        if there := result.index.find(entry.identity):
            result.near.add(entry.row.file, entry.row.number, f"like {there}")
    result.sizes[entry.part, entry.split] += 1
    result.columns |= dict.fromkeys(map(str, entry.record.columns))
    result.longest_prompt = max(result.longest_prompt, words(prompt))
    result.longest_bytes = max(result.longest_bytes, bytes_of(entry.record.prompt))
    if CONTROL.search(prompt):
        result.control.add(entry.row.file, entry.row.number)


def words(text: str) -> int:
    """Words, or what a text that has few blanks counts as: a word for six bytes."""
    return max(len(text.split()), math.ceil(len(text.encode()) / 6))


def repeated(codes: array[int]) -> int:
    """How many of the hashes occur more than once, the first occurrence not counted."""
    import numpy as np

    return len(codes) - len(np.unique(np.frombuffer(codes, dtype=np.uint64))) if codes else 0


def in_both_orders(orders: array[int]) -> int:
    """Pairs that occur in both orders: two rows say the opposite of each other."""
    import numpy as np

    distinct = np.unique(np.frombuffer(orders, dtype=np.uint64)) if orders else np.empty(0, dtype=np.uint64)
    return int((np.diff(distinct >> np.uint64(1)) == 0).sum())


def by_split(result: Scan, part: str) -> Counter[str]:
    """Split -> number of entries of a part."""
    return Counter({split: count for (of, split), count in result.sizes.items() if of == part})


def shares(places: Mapping[str, Places]) -> Iterator[tuple[str, Places]]:
    """Reasons with their rows, the most frequent first."""
    yield from sorted(places.items(), key=lambda one: -one[1].count)
