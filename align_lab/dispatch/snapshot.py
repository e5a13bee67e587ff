"""A frozen copy of the code, named by its content: queued jobs run what they were submitted with, whatever is edited meanwhile."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from align_lab.base import plugin_code, registry
from align_lab.base.errors import DataError
from align_lab.base.files import write_json, write_text
from align_lab.base.paths import PACKAGE, cache_folder, conf_folder, runs_folder
from align_lab.record import manifest

CARD = "snapshot.json"


def take(plugins: Iterable[Sequence[str]] = ()) -> tuple[Path, str]:
    """(folder, hash) of the snapshot of the code as it is now: this package, its configs, plug-ins that are not installed."""
    with tempfile.TemporaryDirectory(dir=_home(), prefix=".") as folder:
        partial = Path(folder) / "code"
        names = []
        for name, file in _files({name for group in plugins for name in group}):
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            names.append(name)
        digest = content_hash(
            {name: partial / name for name in names}
        )  # of the copy: an edit meanwhile is in it or not
        write_json(partial / CARD, {"hash": digest, "files": sorted(names), "code": manifest.code()})
        final = _home() / digest
        if final.is_dir() and not _whole(final, digest):
            final.rename(Path(folder) / "damaged")
        if not final.is_dir():
            partial.rename(final)
    _remember_user(digest)
    return final, digest


def _home() -> Path:
    folder = cache_folder() / "snapshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _whole(folder: Path, digest: str) -> bool:
    try:
        names = json.loads((folder / CARD).read_text())["files"]
        return content_hash({name: folder / name for name in names}) == digest
    except (OSError, ValueError, KeyError):
        return False


def _remember_user(digest: str) -> None:
    """Which runs folders have jobs with this code: `gc` asks them before it removes it."""
    path, mine = _home() / f"{digest}.users", str(runs_folder().resolve())
    known = path.read_text().splitlines() if path.exists() else []
    if mine not in known:
        write_text(path, "".join(f"{user}\n" for user in [*known, mine]))


def users(digest: str) -> list[Path]:
    path = _home() / f"{digest}.users"
    return [Path(line) for line in path.read_text().splitlines()] if path.exists() else []


def check(folder: Path, digest: str) -> None:
    """Raises DataError unless this process runs the snapshot's code, and the code is what was submitted."""
    if not PACKAGE.is_relative_to(folder.resolve()):
        raise DataError(f"this job was submitted with the code in {folder}, but it runs {PACKAGE}")
    if not _whole(folder, digest):
        raise DataError(f"the code in {folder} was changed after the job was submitted. Submit again")


def content_hash(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0".encode() + hashlib.sha256(files[name].read_bytes()).digest())
    return digest.hexdigest()[:16]


def _files(plugins: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """(name inside the snapshot, file)"""
    yield from _tree(PACKAGE, Path("align_lab"))
    for folder in (conf_folder(), conf_folder().parent / "sweeps"):
        if folder.is_dir() and not folder.is_relative_to(PACKAGE):
            yield from _tree(folder, Path(folder.name))
    for place in sorted(plugin_places(plugins)):
        if place.is_dir():
            yield from _tree(place, Path(place.name))
        else:  # one module: it may import its neighbours
            yield from ((file.name, file) for file in sorted(place.parent.glob("*.py")))


def plugin_places(plugins: Iterable[str]) -> set[Path]:
    """Packages (folders) and modules (files) of components from outside this package, and of what these import beside them,
    that were not installed into this environment."""
    owners = {registry.lookup(kind, name).__module__ for kind in registry.kinds() for name in registry.names(kind)}
    return plugin_code.places(filter(plugin_code.is_plugin, (*owners, *plugins)))


def _tree(root: Path, name: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(root.rglob("*")):
        inside = file.relative_to(root)
        if file.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in inside.parts):
            yield str(name / inside), file
