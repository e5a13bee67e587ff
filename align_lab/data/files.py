"""Prompts, preferences and demonstrations of the user's own files: JSONL, CSV, Parquet, or the Hugging Face hub.

Everything is read and checked when a run is composed, before anything is queued; the result is kept by the content of
the files, so that the next thousand runs do not read them again. docs/data.md has the layouts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from align_lab.base.content import content_hash
from align_lab.base.contracts import Data
from align_lab.base.errors import AlignLabError, DataError
from align_lab.base.progress import notice
from align_lab.base.registry import param, register, section
from align_lab.base.task import DEVELOPMENT, TRAIN, Example, PlacedPrompt, bytes_of
from align_lab.data.notes import noted
from align_lab.data.settings import Columns, Hub

if TYPE_CHECKING:
    from align_lab.data.entries import Reading
    from align_lab.data.locations import Location
    from align_lab.data.report import Report
    from align_lab.data.stored import FileSet

CHECK = 4  # raise it when the check finds something else than before
SOURCES = ("prompts", "preferences", "demonstrations")


@register("data", "files")
@dataclass(frozen=True, kw_only=True)
class FileData(Data):
    """Files of your own, in the formats of TRL and of the well-known data sets."""

    prompts: str = param("", "file, folder, or OWNER/NAME on the hub, with prompts to train on")
    preferences: str = param(
        "", "the same with preferences, paired or unpaired; without data.prompts, their prompts are trained on"
    )
    demonstrations: str = param("", "the same with completions to imitate in supervised fine-tuning")
    evaluation: Any = param(
        "", "the same with held-out prompts, or several named sets {same: FILE, harder: FILE}; empty: a share by hash"
    )
    evaluation_share: float = param(
        0.1, "share of the prompts that is held out where no file is; by a hash of the prompt", above=0, high=0.8
    )
    development_share: float = param(
        0.05,
        "share of the prompts that is held out for tuning and the best checkpoint, where no set of data.evaluation is "
        "named development",
        low=0,
        high=0.2,
    )
    columns: Columns = section(Columns, "which column has which role")
    system: str = param("", "system message of every conversation that has none")
    template: str = param("", "text of a prompt, with columns in braces: 'Question: {question}'; empty: the prompt")
    max_equal: float = param(0.05, "share of pairs that may have equal answers; they are left out", low=0, high=1)
    max_bad: float = param(0.0, "share of rows that may be broken; they are left out", low=0, high=1)
    max_overlap: float = param(
        0.0,
        "share of rows of training and development that may have a prompt of another set; they are left out",
        low=0,
        high=1,
    )
    hub: Hub = section(Hub, "what is read of a data set of the hub")

    version: ClassVar = 4
    used_later: ClassVar = (*Data.used_later, "max_equal", "max_bad", "max_overlap")
    whole_sets: ClassVar = True  # a user's set is as large as it is

    def problems(self) -> list[str]:
        """What is wrong with the settings, and with every row of the files."""
        if not any(getattr(self, name) for name in SOURCES):
            return [
                "data=files needs files: set data.prompts=FILE, data.preferences=FILE or data.demonstrations=FILE "
                "(JSONL, CSV, Parquet, a folder, or OWNER/NAME of the Hugging Face hub)"
            ]
        if wrong := self._wrong_names():
            return wrong
        try:
            return list(self.report.problems)
        except AlignLabError as error:
            return [str(error)]

    def _wrong_names(self) -> list[str]:
        if not isinstance(self.evaluation, str | Mapping):
            return [f"data.evaluation={self.evaluation} is neither a file nor a mapping of names to files"]
        return [
            f"data.evaluation names the set {name!r}: a name has letters, digits and underscores only, and is not train"
            for name in self._evaluation
            if not str(name).isidentifier() or name == TRAIN
        ]

    def files(self) -> Sequence[Path]:
        """The files and folders that the fields name; of the hub, the files that were downloaded."""
        try:
            return [path for location in self._locations.values() for path in location.files]
        except AlignLabError:
            names = [*(getattr(self, name) for name in SOURCES), *self._evaluation.values()]
            return [Path(name).expanduser() for name in names if name]

    def splits(self) -> tuple[str, ...]:
        """`train` and the evaluation sets."""
        return (TRAIN, *(self._sound.sets if self._sound else ("evaluation",)))

    def has_development(self) -> bool:
        """Is a prompt held out for it?"""
        return self._sound is not None and self._sound.of("examples", DEVELOPMENT) > 0

    def size(self, split: str) -> int | None:
        """The examples of a split."""
        return self._sound.of("examples", split) if self._sound else None

    def has_demonstrations(self) -> bool:
        """Does any row hold a completion to imitate? True as long as the files are not sound."""
        return not self._sound or self._sound.of("demonstrations", TRAIN) > 0

    def has_pairs(self) -> bool:
        """Are there preference pairs? True as long as the files are not sound."""
        return not self._sound or self._sound.of("pairs", TRAIN) > 0

    def labels(self) -> frozenset[bool]:
        """Which labels have the completions of unpaired preferences? Both as long as the files are not sound."""
        names = {"desirable": True, "undesirable": False}
        return frozenset(label for name, label in names.items() if not self._sound or self._sound.of(name, TRAIN))

    def column_names(self) -> tuple[str, ...] | None:
        """The names of the columns of its examples."""
        return self._sound.columns if self._sound else None

    def longest_prompt(self) -> int | None:
        """Words of the longest prompt; a text with few blanks counts a word for six bytes."""
        return self._sound.longest_prompt if self._sound else None

    def longest_text(self) -> int | None:
        """Words of the longest demonstration with its prompt."""
        return self._sound.longest_text if self._sound else None

    def longest_pair(self) -> int | None:
        """Words of the longest prompt with the longer of its two answers."""
        return self._sound.longest_pair if self._sound else None

    def longer_prompts(self, least: int) -> Iterator[PlacedPrompt]:
        """The prompts with more than `least` bytes; the files are read only if there are any."""
        from align_lab.data.overlap import usable
        from align_lab.data.places import Places

        if self._sound is None or self._sound.longest_bytes <= least:
            return
        for entry in usable(self.reading):
            if entry.part == "examples":
                example = Example(key="", prompt=entry.record.prompt)
                if bytes_of(example.prompt) > least:
                    place = Places.of(entry.row.file, entry.row.number)
                    yield PlacedPrompt(split=entry.split, place=place, example=example)

    def notes(self) -> Sequence[str]:
        """The layout of each file, what was left out, and what looks odd."""
        if self._sound is None:
            return ()
        return [*(f"{file}: {layout}" for file, layout in self._sound.layouts.items()), *self._sound.notes]

    def build(self, folder: Path) -> None:
        """Read the files and write what can be used. Raises DataError that says what cannot."""
        from align_lab.data import stored

        if messages := self.problems():
            raise DataError("\n".join(messages))
        for note in self.report.notes:
            notice(note)
        stored.write(folder, self.reading)

    def load(self, folder: Path) -> FileSet:
        """Open what `build` wrote; examples are read when they are asked for."""
        from align_lab.data.stored import FileSet

        return FileSet(folder)

    @property
    def _evaluation(self) -> dict[str, str]:
        """The named sets with held-out prompts."""
        if isinstance(self.evaluation, Mapping):
            return {str(name): str(text) for name, text in self.evaluation.items()}
        return {"evaluation": str(self.evaluation)} if self.evaluation else {}

    @cached_property
    def _locations(self) -> dict[str, Location]:
        """Where each field's files are. Raises ConfigError or DataError where they cannot be found."""
        named = {name: getattr(self, name) for name in SOURCES if getattr(self, name)}
        sets = {f"evaluation.{name}": text for name, text in self._evaluation.items()}
        return {name: self._locate(name, text) for name, text in (named | sets).items()}

    def _locate(self, name: str, text: str) -> Location:
        from align_lab.data import hub, locations

        field, held_out = f"data.{name}", name.startswith("evaluation")
        if locations.is_hub_id(text) or locations.is_saved_folder(Path(text).expanduser()):
            return hub.locate(field, text, self.hub, held_out=held_out)
        return locations.locate(field, text)

    @property
    def reading(self) -> Reading:
        """What is read, and how."""
        from align_lab.data.entries import Reading

        located = self._locations
        return Reading(
            sources={name: located[name] for name in SOURCES if name in located},
            evaluation={name: located[f"evaluation.{name}"] for name in self._evaluation},
            roles=self.columns.renamed(),
            system=self.system,
            template=self.template,
            share=self.evaluation_share,
            development=self.development_share,
        )

    @cached_property
    def report(self) -> Report:
        """The result of the check, from the cache where these files were checked before. Raises DataError."""
        from align_lab.data.check import scan
        from align_lab.data.report import Limits, Report, report_of

        reading = self.reading
        limits = Limits(equal=self.max_equal, bad=self.max_bad, overlap=self.max_overlap)
        depends_on = [repr(reading), repr(limits), CHECK, content_hash(self.files())]

        def check() -> dict[str, Any]:
            return report_of(scan(reading), reading, limits).plain()

        return Report.read(noted(depends_on, check))

    @property
    def _sound(self) -> Report | None:
        """The report of a data set that can be used; None of one that cannot."""
        try:
            named = any(getattr(self, name) for name in SOURCES) and not self._wrong_names()
            report = self.report if named else None
        except AlignLabError:
            return None
        return None if report is None or report.problems else report
