"""What `data inspect` prints: counts and lengths by split, duplicates, and examples as the model will see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from align_lab.base import answer
from align_lab.base.contracts import Data
from align_lab.base.task import TRAIN, DataSet, Example
from align_lab.data.near import NearIndex
from align_lab.models.text import Text as ModelText

SAMPLED = 10_000  # examples of a split whose lengths are measured
LONGEST = 2_000  # characters of an example that are printed
UNLIMITED = 10_000  # characters of a line in a pipe or a file
PAIRS = 3  # preference pairs, and completions with a label, that are printed


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """A loaded data set, and the tokenizer of the model that will see it."""

    name: str
    component: Data
    data_set: DataSet
    text: ModelText | None  # None: there is no tokenizer on this machine
    model: str = ""  # "" if none was named
    limit: int | None = None  # the most tokens of a prompt

    def rendered(self, example: Example) -> str:
        """The text whose tokens are the prompt."""
        return example.text if self.text is None else self.text.rendered(example, self.component.prompt_form)

    def length(self, example: Example) -> int:
        """Tokens of the prompt as the model gets it; else its words."""
        if self.text is None:
            return len(example.text.split())
        return len(self.text.prompts([example], self.component.prompt_form)[0])


def show(inspected: Inspected, console: Console, *, examples: int) -> None:
    """Print everything."""
    unit = "words" if inspected.text is None else f"tokens of {inspected.model}"
    demonstrated = "; answers: demonstrations to imitate" if "answers" in _parts(inspected) else ""
    console.print(Text(f"data={inspected.name}; lengths of prompts in {unit}{demonstrated}"))
    if inspected.model and inspected.text is None:
        console.print(Text(f"the tokenizer of {inspected.model} does not exist yet: a run trains it"))
    notes = [*_duplicates(inspected), *inspected.component.notes()]
    if answer.wanted():
        answer.give({"data": inspected.name, "lengths_in": unit, "splits": _by_split(inspected), "notes": notes})
    _print_table(_table(inspected), console)
    for note in notes:
        console.print(Text(f"* {visible(note)}"))
    for number, example in enumerate(inspected.data_set.examples(TRAIN)[:examples], start=1):
        console.print(Text(f"\nexample {number} of {TRAIN}, key {visible(example.key)}", style="bold"))
        console.print(Text(visible(inspected.rendered(example))))
        for name, value in example.columns.items():
            console.print(Text(visible(f"  {name} = {value!r}", longest=200), style="dim"))
    _show_preferences(inspected, console, most=min(PAIRS, examples))


def _show_preferences(inspected: Inspected, console: Console, *, most: int) -> None:
    """The first pairs, and the first completions with a label."""
    for number, pair in enumerate(inspected.data_set.pairs(TRAIN)[:most], start=1):
        console.print(Text(f"\npair {number} of {TRAIN}", style="bold"))
        console.print(Text(visible(inspected.rendered(pair.example))))
        for name, text in (("chosen", pair.chosen), ("rejected", pair.rejected)):
            console.print(Text(visible(f"  {name}: {text}")))
    for number, one in enumerate(inspected.data_set.labeled(TRAIN)[:most], start=1):
        label = "desirable" if one.desirable else "undesirable"
        console.print(Text(f"\ncompletion {number} with a label of {TRAIN}: {label}", style="bold"))
        console.print(Text(visible(inspected.rendered(one.example))))
        console.print(Text(visible(f"  completion: {one.completion}")))


def _print_table(table: Table, console: Console) -> None:
    """Into a pipe or a file with all of its columns, however wide it is."""
    if not console.is_terminal:
        unlimited = console.options.update(width=UNLIMITED)
        console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    console.print(table)


def _table(inspected: Inspected) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("split", overflow="fold")
    parts = _parts(inspected)
    limit = _limit(inspected)
    for title in (*parts, "median", "95 %", "longest", *(() if limit is None else (f"> {limit:,}",))):
        table.add_column(title, justify="right", no_wrap=True)
    for split in inspected.component.all_splits():
        lengths = _lengths(inspected, split)
        numbers = [f"{count:,}" for count in (*(counts[split] for counts in parts.values()), *_quantiles(lengths))]
        if limit is not None:
            numbers.append(f"{sum(length > limit for length in lengths) / max(1, len(lengths)):.1%}")
        table.add_row(Text(visible(split)), *numbers)
    return table


def _limit(inspected: Inspected) -> int | None:
    return None if inspected.text is None else inspected.limit


def _lengths(inspected: Inspected, split: str) -> list[int]:
    """Of the prompts, or of some of very many, in ascending order."""
    examples = inspected.data_set.examples(split)
    every = max(1, len(examples) // SAMPLED)
    return sorted(inspected.length(examples[place]) for place in range(0, len(examples), every))


def _by_split(inspected: Inspected) -> dict[str, dict[str, int]]:
    """The table for programs: counts and lengths of each split."""
    parts, names = _parts(inspected), ("median", "most_of_95_percent", "longest")
    return {
        split: {title: counts[split] for title, counts in parts.items()}
        | dict(zip(names, _quantiles(_lengths(inspected, split)), strict=True))
        for split in inspected.component.all_splits()
    }


def _parts(inspected: Inspected) -> dict[str, dict[str, int]]:
    """Title -> split -> how many there are; without the parts that no split has, which would widen the table."""
    data_set, splits = inspected.data_set, inspected.component.all_splits()
    counted = {
        "prompts": {split: len(data_set.examples(split)) for split in splits},
        "answers": {split: len(data_set.demonstrations(split)) for split in splits},
        "pairs": {split: len(data_set.pairs(split)) for split in splits},
    }
    return {title: counts for title, counts in counted.items() if title == "prompts" or any(counts.values())}


def _quantiles(lengths: Sequence[int]) -> tuple[int, int, int]:
    if not lengths:
        return 0, 0, 0
    return lengths[len(lengths) // 2], lengths[min(len(lengths) - 1, int(0.95 * len(lengths)))], lengths[-1]


def _duplicates(inspected: Inspected) -> Iterator[str]:
    """Prompts that occur twice, and training prompts that are, or nearly are, evaluation prompts."""
    train = inspected.data_set.examples(TRAIN)
    texts = {hash(example.text) for example in train}
    yield f"{len(train) - len(texts):,} of {len(train):,} training prompts repeat an earlier one"
    index, exact = NearIndex(), 0
    for split in inspected.component.all_splits()[1:]:
        for example in inspected.data_set.examples(split):
            exact += hash(example.text) in texts
            index.add(example.text, example.key)
    sampled = range(0, len(train), max(1, len(train) // SAMPLED))
    near = sum(index.find(train[place].text) is not None for place in sampled)
    yield f"{exact:,} held-out prompts are also training prompts"
    yield f"{near:,} of {len(sampled):,} training prompts are nearly, or exactly, held-out prompts"


def visible(text: str, *, longest: int = LONGEST) -> str:
    """A text with control characters written out, and without the middle of a very long one."""
    if len(text) > longest:
        cut = f"\n[... {len(text) - longest:,} characters ...]\n"
        text = f"{text[: longest // 2]}{cut}{text[-longest // 2 :]}"
    return "".join(letter if letter.isprintable() or letter == "\n" else _escaped(letter) for letter in text)


def _escaped(letter: Any) -> str:
    return str(letter).encode("unicode_escape").decode()
