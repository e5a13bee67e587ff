"""The result of a check: problems, which stop everything, notes, which do not, and the sizes of what is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from align_lab.base.errors import near
from align_lab.base.task import DEVELOPMENT, FEW_PROMPTS, TRAIN
from align_lab.data import overlap
from align_lab.data.check import Scan, by_split, in_both_orders, repeated, shares
from align_lab.data.entries import Reading

SHOWN = 5  # reasons of bad rows in a message
PARTS = ("examples", "demonstrations", "pairs", "desirable", "undesirable")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The shares of rows that may be left out."""

    equal: float
    bad: float
    overlap: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a data set of files holds."""

    sets: tuple[str, ...] = ("evaluation",)
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])  # part -> split -> n
    columns: tuple[str, ...] = ()
    longest_prompt: int = 0
    longest_bytes: int = 0  # of a prompt
    longest_text: int = 0
    longest_pair: int = 0
    layouts: Mapping[str, str] = field(default_factory=dict[str, str])  # file -> layout
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, part: str, split: str) -> int:
        """The number of entries of a part in a split."""
        return self.sizes.get(part, {}).get(split, 0)

    def plain(self) -> dict[str, Any]:
        """What `read` takes."""
        return dataclasses.asdict(self)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Report:
        """The report that `plain` and JSON made a dictionary of."""
        lists = ("sets", "columns", "problems", "notes")
        typed: dict[str, Any] = {name: tuple(value) if name in lists else value for name, value in values.items()}
        return cls(**typed)


def report_of(scan: Scan, reading: Reading, limits: Limits) -> Report:
    """The report of a scan."""
    return Report(
        sets=reading.sets,
        sizes={part: dict(by_split(scan, part)) for part in PARTS},
        columns=tuple(scan.columns),
        longest_prompt=scan.longest_prompt,
        longest_bytes=scan.longest_bytes,
        longest_text=scan.longest_text,
        longest_pair=scan.longest_pair,
        layouts=scan.files,
        problems=tuple(_problems(scan, reading, limits)),
        notes=(*_notes(scan), *_few(scan, reading)),
    )


def _problems(scan: Scan, reading: Reading, limits: Limits) -> Iterator[str]:
    bad = sum(places.count for places in scan.bad.values())
    total = scan.rows + bad
    unknown = _unknown_roles(scan, reading)
    yield from unknown
    if bad > limits.bad * total:
        reasons = list(shares(scan.bad))
        yield from (f"{places}: {reason}" for reason, places in reasons[:SHOWN])
        if scan.rows:
            yield (
                f"{bad:,} of {total:,} rows cannot be used, and data.max_bad={limits.bad:g} allows a share of "
                f"{limits.bad:g}. Repair them, or leave them out: data.max_bad={_above(bad / total)}"
            )
    if scan.empty:
        yield f"{scan.empty}: the prompt is empty. Remove {'the row' if scan.empty.count == 1 else 'these rows'}"
    yield from _equal(scan, limits)
    overlapping = list(_overlapping(scan, limits))
    yield from overlapping
    if not (bad or unknown or scan.empty or overlapping):
        yield from _lacking(scan, reading)


def _unknown_roles(scan: Scan, reading: Reading) -> list[str]:
    """Columns that the config names and no file has."""
    there = list(scan.raw_columns)
    return [
        f"data.columns.{role}={column}: no file has such a column. {near(column, there)}"
        for role, column in reading.roles.items()
        if there and column not in there
    ]


def _equal(scan: Scan, limits: Limits) -> Iterator[str]:
    pairs = sum(by_split(scan, "pairs").values()) + scan.equal.count
    if scan.equal.count > limits.equal * pairs:
        share = scan.equal.count / pairs
        yield (
            f"chosen equals rejected in {scan.equal.count:,} of {pairs:,} pairs ({share:.0%}): {scan.equal}. "
            f"data.max_equal={limits.equal:g} allows a share of {limits.equal:g}. Repair the file, or leave these "
            f"pairs out: data.max_equal={_above(share)}"
        )


def _overlapping(scan: Scan, limits: Limits) -> Iterator[str]:
    """What is evaluated may not be trained on, and no choice may see it."""
    count = sum(places.count for places in scan.overlaps.values())
    if count > limits.overlap * scan.rows:
        yield (
            f"{'; '.join(overlap.sentences(scan.overlaps))}. Nothing that is evaluated may be trained on or chosen by, "
            f"and data.max_overlap={limits.overlap:g} allows a share of {limits.overlap:g} of the rows. Remove these "
            "rows from one of the files, or leave out those that are named first: "
            f"data.max_overlap={_above(count / scan.rows)}"
        )


def _above(share: float) -> str:
    """A share with two digits that is not below this one."""
    return f"{min(1.0, (int(100 * share) + 1) / 100):g}"


def _lacking(scan: Scan, reading: Reading) -> Iterator[str]:
    """Parts that a field promises, and splits without an example."""
    if not scan.files:
        files = [file for place in (*reading.sources.values(), *reading.evaluation.values()) for file in place.files]
        yield f"there is no row in {', '.join(map(str, files))}"
        return
    layouts = ", ".join(sorted({f"{name} in {file}" for file, name in scan.files.items()}))
    if "demonstrations" in reading.sources and not by_split(scan, "demonstrations"):
        yield (
            f"data.demonstrations holds no demonstrations (what was found: {layouts}). See docs/data.md for the layouts"
        )
    if "preferences" in reading.sources and not by_split(scan, "pairs"):
        yield from _no_preferences(scan, layouts)
    examples = by_split(scan, "examples")
    total = sum(examples.values())
    if not total:
        yield (
            f"the files hold no prompt (what was found: {layouts}). Name the column that holds it: "
            "data.columns.prompt=NAME"
        )
    elif reading.splits_by_hash and min(examples[TRAIN], examples[reading.sets[0]]) == 0:
        side = "to train on" if not examples[TRAIN] else "held out"
        yield (
            f"{total} example{'' if total == 1 else 's'} and data.evaluation_share={reading.share:g} leave none "
            f"{side}: the side of an example follows from a hash of its prompt. Name a file with held-out prompts, "
            "data.evaluation=FILE, or set another share, for example data.evaluation_share=0.5"
        )
    else:
        named = [DEVELOPMENT] if DEVELOPMENT in reading.named_sets else []
        empty = [split for split in (TRAIN, *reading.sets, *named) if not examples[split]]
        yield from (f"{split} holds no example: its files have no prompts that can be used" for split in empty)
        yield from _nothing_held_out(scan, reading)


def _no_preferences(scan: Scan, layouts: str) -> Iterator[str]:
    """There are no pairs: single completions do where some are desirable and some are not."""
    counts = {name: sum(by_split(scan, name).values()) for name in ("desirable", "undesirable")}
    if not any(counts.values()):
        yield f"data.preferences holds no preferences (what was found: {layouts}). See docs/data.md for the layouts"
    elif not counts["undesirable"]:
        yield (
            f"data.preferences holds {counts['desirable']:,} desirable completions and no undesirable one ({layouts}): "
            "nothing says what to avoid. Add rows with label false, or imitate these: data.demonstrations=FILE"
        )
    elif not counts["desirable"]:
        yield (
            f"data.preferences holds {counts['undesirable']:,} undesirable completions and no desirable one "
            f"({layouts}): nothing says what to prefer. Add rows with label true"
        )


def _nothing_held_out(scan: Scan, reading: Reading) -> Iterator[str]:
    """Fine-tuning measures its loss on the first evaluation set."""
    sizes = by_split(scan, "demonstrations")
    if sizes[TRAIN] and not sizes[reading.sets[0]]:
        yield (
            f"none of {sizes[TRAIN]} demonstrations is held out in {reading.sets[0]}, where fine-tuning measures its "
            "loss. Add some to its file, or hold out a larger share: data.evaluation_share=0.5"
        )


def _few(scan: Scan, reading: Reading) -> Iterator[str]:
    """Evaluation sets that are too small for a narrow interval."""
    for split in reading.sets:
        if 0 < (held_out := by_split(scan, "examples")[split]) < FEW_PROMPTS:
            prompts = "prompt" if held_out == 1 else "prompts"
            yield f"{split} holds {held_out} {prompts}: differences between arms will have wide intervals"
    if 0 < (size := by_split(scan, "examples")[DEVELOPMENT]) < FEW_PROMPTS:
        yield (
            f"{DEVELOPMENT} holds {size} prompt{'' if size == 1 else 's'}: the best checkpoint and tuning are chosen "
            "by few. Hold out more (data.development_share=0.2), or name a file with others: "
            "data.evaluation={development: FILE}"
        )


def _notes(scan: Scan) -> Iterator[str]:
    """What was left out, and what looks odd."""
    for reason, places in shares(scan.bad):
        yield f"left out: {places}: {reason}"
    if scan.equal:
        yield f"left out: {scan.equal.count:,} pairs whose answers are equal ({scan.equal})"
    yield from (f"left out: {sentence}" for sentence in overlap.sentences(scan.overlaps))
    if shared := scan.held_out.shared:
        yield f"{shared.count:,} prompts are in two evaluation sets: {shared}"
    if scan.unanswered:
        yield f"left out: {scan.unanswered.count:,} rows without an answer to imitate or prefer ({scan.unanswered})"
    if double := repeated(scan.prompts):
        yield f"{double:,} training prompts repeat an earlier one"
    if scan.doubles:
        yield f"left out: {scan.doubles:,} evaluation prompts that repeat an earlier one"
    if scan.near:
        yield f"{scan.near.count:,} training prompts are nearly evaluation prompts: {scan.near}"
    examples, indexed = by_split(scan, "examples"), len(scan.index.sketches)
    if sum(examples.values()) - examples[TRAIN] > indexed:
        yield f"near duplicates were looked for among the first {indexed:,} evaluation prompts"
    if reversed_ := in_both_orders(scan.orders):
        yield f"{reversed_:,} pairs occur in both orders: their labels contradict each other"
    if scan.control:
        yield f"{scan.control.count:,} prompts hold control tokens, which are encoded as text ({scan.control})"
    yield from _labels(scan)
    pairs = sum(by_split(scan, "pairs").values())
    if pairs:
        yield f"the chosen answer is the longer one in {scan.longer_chosen / pairs:.0%} of the pairs"


def _labels(scan: Scan) -> Iterator[str]:
    """Single completions, and the pairs that could be made of them."""
    desirable, undesirable = (sum(by_split(scan, name).values()) for name in ("desirable", "undesirable"))
    if desirable + undesirable:
        yield (
            f"{desirable:,} completions are desirable and {undesirable:,} are not: algo=kto learns from each. Of those "
            f"that have a partner with the same prompt and the other label, {scan.matched:,} pairs were made, for "
            "algorithms that learn from pairs"
        )
    others = sum(by_split(scan, "pairs").values()) - scan.matched
    if desirable and undesirable and others > 0:
        yield f"algo=kto learns from the completions with a label, and not from the {others:,} pairs of other files"
