"""The artefact store: each stage is built once, into a folder named by its key, verified by hash, shared by all runs.

Two processes that need the same artefact build it once: the first takes a lease, builds in a temporary folder and
publishes it by an atomic rename.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypedDict

from align_lab.base import shapes, sharing
from align_lab.base.content import content_hash
from align_lab.base.errors import DataError
from align_lab.base.files import sha256
from align_lab.base.lease import clear, lease
from align_lab.base.paths import cache_folder
from align_lab.base.progress import Listener, listening
from align_lab.stages.judge_quality import quality_of

CARD = "artefact.json"
BUILDING = "building-"  # the beginning of the name of a folder in which an artefact is being built


class _Card(TypedDict):
    """What the card of an artefact holds, as far as it is read back. files: name -> hash of the content."""

    kind: str
    key: str
    content: str
    seconds: float
    files: dict[str, str]


class Display(Protocol):
    """Shows the user what the store does (`align_lab.record.console.Screen` is one)."""

    def notice(self, text: str) -> None:
        """Show one line."""
        ...

    def stage(self, title: str) -> AbstractContextManager[Listener]:
        """Show the progress of one stage while the context is open."""
        ...


class Quiet:
    """Shows nothing."""

    def notice(self, text: str) -> None:
        """Not shown."""

    def progress(self, done: int, total: int) -> None:
        """Not shown."""

    def stage(self, title: str) -> AbstractContextManager[Listener]:
        """Shows nothing."""
        return nullcontext(self)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How an artefact is made.

    Its key is a hash of `kind`, `settings`, the keys of its inputs and, if it depends on more than this package and its
    config, of that (`made_of`, see `align_lab.base.made_of`). It is known before the artefact is built.
    """

    kind: str
    settings: Mapping[str, Any]
    build: Callable[[Path, list[Path]], None] = field(compare=False, repr=False)  # (empty folder, inputs' folders)
    inputs: tuple[Stage, ...] = ()
    gpu: bool = field(default=True, compare=False)  # the build uses a GPU if there is one
    title: str = field(default="", compare=False)  # of its label; "": the kind
    made_of: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = field(default=(), compare=False)  # `made_of["files"]` is the hash of their content

    @property
    def key(self) -> str:
        """The hash that identifies the artefact."""
        content = [self.kind, dict(self.settings), [stage.key for stage in self.inputs]]
        content += [dict(self.made_of)] if self.made_of else []
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The name of the artefact's folder."""
        return f"{self.kind}-{self.key}"

    @property
    def label(self) -> str:
        """The name in notices and beside progress bars."""
        return self.title or self.kind

    def closure(self) -> list[Stage]:
        """This stage and all its direct and indirect inputs, inputs first, each once."""
        by_name = {stage.name: stage for source in self.inputs for stage in source.closure()}
        return [*by_name.values(), self]


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A built artefact. `content` is the hash of its files, which depends on nothing else."""

    kind: str
    key: str
    content: str
    path: Path
    seconds: float


@dataclass(frozen=True)
class Store:
    """The artefacts under one folder. `display` shows what is being built, its progress, and what is waited for."""

    root: Path
    display: Display = field(default_factory=Quiet, compare=False)

    def has(self, name: str) -> bool:
        """Is the artefact of this name built?"""
        return (self.root / name / CARD).is_file()

    def open(self, name: str) -> Artefact:
        """The artefact of this name, which is built. Raises DataError if its files were changed."""
        return self._open(self.root / name)

    def get(self, stage: Stage) -> Artefact:
        """The artefact, built now (its inputs first) if it is missing. Raises DataError if its files were changed."""
        final, held = self.root / stage.name, self.root / f"{stage.name}.lease"
        clear(held)  # of a builder that was killed after it had published the artefact: nobody takes that lease again
        try:
            while not final.is_dir():
                inputs = [self.get(source).path for source in stage.inputs]
                sharing.subfolder(self.root)
                with lease(held, on_wait=self._waiting(stage)) as acquired:
                    if acquired and not final.is_dir():
                        self._remove_partial(stage)
                        self._build(stage, inputs, final)
        except PermissionError as error:
            if not str(error.filename).startswith(str(self.root)):
                raise
            raise self._not_allowed(error, final) from None
        return self._open(final)

    def _remove_partial(self, stage: Stage) -> None:
        """What a builder has left that was killed: this process has the lease now."""
        for folder in self.root.glob(f"{BUILDING}{stage.name}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _waiting(self, stage: Stage) -> Callable[[str], None]:
        return lambda owner: self.display.notice(f"waiting for {stage.label}: another process builds it ({owner})")

    def _build(self, stage: Stage, inputs: list[Path], final: Path) -> None:
        folder = self.root / f"{BUILDING}{stage.name}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        try:
            self.display.notice(f"building {stage.label}")
            start, cpu_start = time.perf_counter(), time.process_time()
            with self.display.stage(stage.label) as listener, listening(listener):
                stage.build(folder, inputs)
            seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
            _check_unchanged(stage)
            files = {str(f.relative_to(folder)): sha256(f) for f in sorted(folder.rglob("*")) if f.is_file()}
            card = {
                "kind": stage.kind,
                "label": stage.label,
                "key": stage.key,
                "settings": dict(stage.settings),
                "made_of": dict(stage.made_of),
                "seconds": round(seconds, 3),
                "cpu_seconds": round(cpu_seconds, 3),
                "inputs": [source.name for source in stage.inputs],
                "content": _content(files),
                "files": files,
            }
            (folder / CARD).write_text(json.dumps(card, indent=1))
            sharing.share(folder)
            try:
                folder.rename(final)
            except OSError:  # another process has published the same artefact first
                if not final.is_dir():
                    raise
            self.display.notice(f"built {stage.label} in {seconds:.0f} s")
            if (judge := quality_of(final)) and judge.near_chance:
                self.display.notice(judge.warning(stage.label))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _not_allowed(self, error: PermissionError, folder: Path) -> DataError:
        """Whose file it is, and what makes the cache usable for both."""
        verb = "read" if folder.is_dir() else "written"
        advice = sharing.ADVICE.format(root=self.root.parent)
        return DataError(f"{error.filename} cannot be {verb}: it belongs to {sharing.owner(self.root)}. {advice}")

    def _open(self, folder: Path) -> Artefact:
        card: dict[str, Any] = {}
        try:
            card = dict(shapes.read(folder / CARD, _Card, instead=""))
            damaged = [
                name
                for name, digest in card["files"].items()
                if not (folder / name).is_file() or sha256(folder / name) != digest
            ]
        except PermissionError as error:
            raise self._not_allowed(error, folder) from None
        except (OSError, ValueError):
            damaged = [CARD]
        if damaged:
            raise DataError(
                f"the artefact {folder} is damaged ({damaged[0]} has changed since it was built). "
                f"Remove it, and it will be built again: rm -r {folder}"
            )
        return Artefact(
            kind=card["kind"], key=card["key"], content=card["content"], path=folder, seconds=card["seconds"]
        )


def shared(display: Display | None = None) -> Store:
    """The store of this user's cache."""
    return Store(cache_folder() / "artefacts", display or Quiet())


def _check_unchanged(stage: Stage) -> None:
    """Raises DataError if a file that the artefact was built from no longer has the content that its key holds."""
    if stage.files and content_hash(stage.files) != stage.made_of["files"]:
        names = ", ".join(map(str, stage.files[:3])) + (", ..." if stage.files[3:] else "")
        raise DataError(
            f"{names} changed while the {stage.label} was built from it. Nothing was stored; when the file is "
            "complete, run the same command again"
        )


def _content(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
