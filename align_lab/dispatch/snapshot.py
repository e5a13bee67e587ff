"""A frozen copy of the code, named by its content: queued jobs run what they were submitted with, whatever is edited meanwhile."""

from __future__ import annotations

import hashlib
import json
import shutil
import sysconfig
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from align_lab import registry
from align_lab.errors import DataError
from align_lab.files import write_json
from align_lab.paths import PACKAGE, cache_folder, conf_folder
from align_lab.record import manifest

CARD = "snapshot.json"


def take() -> tuple[Path, str]:
    """(folder, hash) of the snapshot of the code as it is now: this package, its configs, plug-ins that are not installed."""
    files = dict(_files())
    digest = content_hash(files)
    final = cache_folder() / "snapshots" / digest
    if not final.is_dir():
        partial = final.with_name(f".{digest}.{uuid.uuid4().hex[:8]}")
        try:
            for name, file in files.items():
                target = partial / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
            write_json(partial / CARD, {"hash": digest, "files": sorted(files), "code": manifest.code()})
            if not final.is_dir():
                partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return final, digest


def check(folder: Path, digest: str) -> None:
    """Raises DataError unless this process runs the snapshot's code, and the code is what was submitted."""
    if not PACKAGE.is_relative_to(folder.resolve()):
        raise DataError(f"this job was submitted with the code in {folder}, but it runs {PACKAGE}")
    names = json.loads((folder / CARD).read_text())["files"]
    if content_hash({name: folder / name for name in names}) != digest:
        raise DataError(f"the code in {folder} was changed after the job was submitted. Submit again")


def content_hash(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0".encode() + hashlib.sha256(files[name].read_bytes()).digest())
    return digest.hexdigest()[:16]


def _files() -> Iterator[tuple[str, Path]]:
    """(name inside the snapshot, file)"""
    yield from _tree(PACKAGE, Path("align_lab"))
    for folder in (conf_folder(), conf_folder().parent / "sweeps"):
        if folder.is_dir() and not folder.is_relative_to(PACKAGE):
            yield from _tree(folder, Path(folder.name))
    for origin in sorted(plugin_origins()):
        if origin.name == "__init__.py":
            yield from _tree(origin.parent, Path(origin.parent.name))
        else:  # one module: it may import its neighbours
            yield from ((file.name, file) for file in sorted(origin.parent.glob("*.py")))


def plugin_origins() -> set[Path]:
    """The top modules of components from outside this package that were not installed into this environment."""
    import sys

    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib", "stdlib")}
    tops = {
        registry.lookup(kind, name).__module__.partition(".")[0]
        for kind in registry.kinds()
        for name in registry.names(kind)
    }
    files = {Path(str(sys.modules[top].__file__)).resolve() for top in tops - {"align_lab", "__main__"}}
    return {file for file in files if not any(file.is_relative_to(folder) for folder in installed)}


def _tree(root: Path, name: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(root.rglob("*")):
        inside = file.relative_to(root)
        if file.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in inside.parts):
            yield str(name / inside), file
