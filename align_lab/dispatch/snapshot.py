"""A content-addressed copy of the code: queued jobs run what was submitted, whatever is edited in the meantime."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from align_lab.base import made_of, plugin_code, registry, sharing
from align_lab.base.errors import DataError
from align_lab.base.files import write_json, write_text
from align_lab.base.paths import PACKAGE, cache_folder, conf_folder, runs_folder, submitted, user_code
from align_lab.base.run_config import RunConfig
from align_lab.record import manifest

INDEX = "snapshot.json"


def take(plugins: Iterable[Sequence[str]] = (), code: Iterable[Path] = ()) -> tuple[Path, str]:
    """(folder, hash) of a snapshot of the current code: this package, its configs, plug-ins that are not installed.

    `code`: files of users' code that components run, a reward function for example. A job that takes a snapshot passes
    on the copies that it was submitted with.
    """
    with tempfile.TemporaryDirectory(dir=_root(), prefix=".") as folder:
        partial = Path(folder) / "code"
        names: list[str] = []
        users_code = ((str(user_code(file)), submitted(file)) for file in sorted(set(code)))
        for name, file in (*_files({name for group in plugins for name in group}), *users_code):
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            names.append(name)
        digest = content_hash({name: partial / name for name in names})  # of the copy, which nobody edits
        write_json(partial / INDEX, {"hash": digest, "files": sorted(names), "code": manifest.code()})
        final = _root() / digest
        if final.is_dir() and not _is_intact(final, digest):
            final.rename(Path(folder) / "damaged")
        if not final.is_dir():
            partial.rename(final)
            sharing.share(final)
    _register_user(digest)
    return final, digest


def _root() -> Path:
    return sharing.subfolder(cache_folder() / "snapshots")


def _is_intact(folder: Path, digest: str) -> bool:
    try:
        names = json.loads((folder / INDEX).read_text())["files"]
        return content_hash({name: folder / name for name in names}) == digest
    except (OSError, ValueError, KeyError):
        return False


def _register_user(digest: str) -> None:
    """Record that this runs folder has jobs with the code: `gc` checks them before it removes a snapshot."""
    path, user = _root() / f"{digest}.users", str(runs_folder().resolve())
    known = path.read_text().splitlines() if path.exists() else []
    if user not in known:
        write_text(path, "".join(f"{line}\n" for line in [*known, user]))


def users(digest: str) -> list[Path]:
    """The runs folders that have submitted jobs with a snapshot."""
    path = _root() / f"{digest}.users"
    return [Path(line) for line in path.read_text().splitlines()] if path.exists() else []


def check(folder: Path, digest: str) -> None:
    """Raises DataError unless this process runs the snapshot, and the snapshot is unchanged since the submission."""
    if not PACKAGE.is_relative_to(folder.resolve()):
        raise DataError(f"this job was submitted with the code in {folder}, but it runs {PACKAGE}")
    if not _is_intact(folder, digest):
        raise DataError(f"the code in {folder} was changed after the job was submitted. Submit again")


def content_hash(files: Mapping[str, Path]) -> str:
    """Sixteen hex digits over the names and the content of the files."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0".encode() + hashlib.sha256(files[name].read_bytes()).digest())
    return digest.hexdigest()[:16]


def of_runs(runs: Sequence[RunConfig]) -> tuple[Path, str]:
    """(folder, hash) of a snapshot of all code that these runs need."""
    return take((cfg.plugins for cfg in runs), (file for cfg in runs for file in made_of.code_of(cfg.values)))


def _files(plugins: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """(path inside the snapshot, file) of everything that belongs into it."""
    yield from _tree(PACKAGE, Path("align_lab"))
    for folder in (conf_folder(), conf_folder().parent / "sweeps"):
        if folder.is_dir() and not folder.is_relative_to(PACKAGE):
            yield from _tree(folder, Path(folder.name))
    for path in sorted(plugin_paths(plugins)):
        if path.is_dir():
            yield from _tree(path, Path(path.name))
        else:  # a single module may import those beside it
            yield from ((file.name, file) for file in sorted(path.parent.glob("*.py")))


def plugin_paths(plugins: Iterable[str]) -> set[Path]:
    """Folders of packages and files of modules with components from outside, and with what these import beside them.

    Those that are installed into this environment are left out.
    """
    modules = {registry.lookup(kind, name).__module__ for kind in registry.kinds() for name in registry.names(kind)}
    return plugin_code.places(filter(plugin_code.is_plugin, (*modules, *plugins)))


def _tree(root: Path, name: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(root.rglob("*")):
        inside = file.relative_to(root)
        if file.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in inside.parts):
            yield str(name / inside), file
