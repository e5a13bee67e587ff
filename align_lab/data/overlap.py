"""Prompts that stand in two of training, development and evaluation: what is chosen would then decide, or be known.

A split by hash shares none, as its side follows from the prompt. Only sets with files of their own are looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from align_lab.base.task import DEVELOPMENT, TRAIN
from align_lab.data.entries import Entry, Reading, entries
from align_lab.data.flaws import flaw
from align_lab.data.places import Places

KINDS = {TRAIN: "training", DEVELOPMENT: "development"}  # split -> its kind; all others are for evaluation
SETS = {"development": "the development set", "evaluation": "an evaluation set"}


@dataclass(frozen=True)
class Owner:
    """The set that a prompt belongs to, and where in its file it stands."""

    split: str
    place: str


@dataclass
class HeldOut:
    """The prompts of the sets that have files of their own, by hash; those of evaluation before development's."""

    owners: dict[int, Owner] = field(default_factory=dict[int, Owner])
    shared: Places = field(default_factory=Places)  # prompts that are in two evaluation sets

    def elsewhere(self, entry: Entry) -> Owner | None:
        """The set of another kind that has the prompt of an entry, which may then not be used; None for none."""
        if not self.owners or (entry.split != TRAIN and entry.part != "examples"):
            return None
        owner = self.owners.get(hash_of(entry.identity))
        return owner if owner and kind_of(owner.split) != kind_of(entry.split) else None

    def add(self, entry: Entry) -> None:
        """A prompt of a set that has a file of its own."""
        code, file, number = hash_of(entry.identity), entry.row.file, entry.row.number
        owner = self.owners.get(code)
        if owner is None or (kind_of(owner.split) == "development" and entry.split != DEVELOPMENT):
            self.owners[code] = Owner(entry.split, Places.of(file, number))
        elif owner.split != entry.split and DEVELOPMENT not in (owner.split, entry.split):
            self.shared.add(file, number, f"also in {owner.place}")


def kind_of(split: str) -> str:
    """Training, development or evaluation."""
    return KINDS.get(split, "evaluation")


def held_out(reading: Reading) -> HeldOut:
    """The prompts of the sets that have files of their own, which are read for it."""
    result = HeldOut()
    for item in entries(reading, evaluation_only=True):
        if isinstance(item, Entry) and item.part == "examples" and item.split != TRAIN and not flaw(item):
            result.add(item)
    return result


def usable(reading: Reading) -> Iterator[Entry]:
    """The entries of all sets without those that are flawed, or whose prompt is in a set of another kind."""
    others = held_out(reading)
    for item in entries(reading):
        if isinstance(item, Entry) and not flaw(item) and not others.elsewhere(item):
            yield item


def sentences(overlaps: Mapping[tuple[str, str], Places]) -> Iterator[str]:
    """(kind of a row, kind of the other set) -> in words, with both places."""
    for (kind, other), places in overlaps.items():
        yield f"{places.count:,} {kind} rows have a prompt of {SETS[other]}: {places}"


def hash_of(text: str) -> int:
    """64 bits."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
