"""The source of plug-ins: modules outside this package that register components, and the modules that these import.

The imports are parsed from the files, not taken from the modules imported so far, so that every process of a run gets
the same result. A plug-in includes all that its files import from its own package and from modules beside it, directly
or indirectly, in any function. Other installed packages do not count, nor do imports by a computed name.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ModuleSpec
from pathlib import Path

BY_NAME = {"import_module", "__import__", "iter_modules", "walk_packages"}  # calls that import without a statement
SUFFIXES = (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)


@dataclass(frozen=True)
class Source:
    """A module's file, and its name below the folder that Python imports it from."""

    module: str
    name: str
    file: Path

    @property
    def package(self) -> str:
        """The package from which its relative imports start."""
        return self.module if self.file.name.startswith("__init__.") else self.module.rpartition(".")[0]


def is_plugin(module: str) -> bool:
    """Is the module outside this package? `__main__` of an interactive session has no file and does not count."""
    return module.partition(".")[0] not in ("align_lab", "__main__")


@functools.cache
def source_hash(modules: frozenset[str]) -> str:
    """Hash of names and contents of all sources of these plug-ins, independent of where they are installed.

    It is computed once per process, because later edits do not change what the process has imported.
    """
    digest = hashlib.sha256()
    for name, file in sorted(sources(modules).items()):
        digest.update(f"{name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def sources(modules: Iterable[str]) -> dict[str, Path]:
    """Name below the import folder -> file, of these plug-ins and what they import."""
    return {source.name: source.file for source in _closure(modules)}


def places(modules: Iterable[str]) -> set[Path]:
    """Packages (folders) and modules (files) of these plug-ins and their dependencies that were not installed."""
    tops = {source.module.partition(".")[0] for source in _closure(modules)}
    return {place for top in tops for place in _places(top) if not _installed(place)}


def _closure(modules: Iterable[str]) -> Iterator[Source]:
    waiting, seen = list(modules), set[str]()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        waiting += [parent] if (parent := module.rpartition(".")[0]) else []
        for source in _files(module):
            yield source
            waiting += (name for name in _imported(source) if _belongs(name, source.module))


def _files(module: str) -> list[Source]:
    """The file of a module; empty for a missing module and for a namespace package."""
    top, *inner = module.split(".")
    for place in _places(top):
        if not place.is_dir():
            return [] if inner else [Source(module, place.name, place)]
        stem = place.joinpath(*inner)
        candidates = [stem / f"__init__{suffix}" for suffix in SUFFIXES]
        candidates += [stem.with_name(f"{stem.name}{suffix}") for suffix in SUFFIXES] if inner else []
        for file in filter(Path.is_file, candidates):
            return [Source(module, (Path(top) / file.relative_to(place)).as_posix(), file)]
    return []


def _imported(source: Source) -> Iterator[str]:
    """The full names that a file imports; all modules of its package if it imports by a computed name."""
    if source.file.suffix not in SOURCE_SUFFIXES:
        return
    try:
        tree = ast.parse(source.file.read_bytes())
    except (SyntaxError, ValueError):  # it cannot be imported either
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, source.package)
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names)) if base else ()
        elif isinstance(node, ast.Name | ast.Attribute) and _identifier(node) in BY_NAME:
            yield from _whole(source.module.partition(".")[0])


def _absolute(node: ast.ImportFrom, package: str) -> str:
    try:
        return importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    except ImportError:  # beyond the package
        return ""


def _identifier(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


def _whole(top: str) -> Iterator[str]:
    """Every module of a package."""
    for place in _places(top):
        for file in sorted(place.rglob("*")) if place.is_dir() else ():
            suffix = next((suffix for suffix in SUFFIXES if file.name.endswith(suffix)), None)
            if suffix is not None:
                stem = file.with_name(file.name.removesuffix(suffix))
                yield ".".join((top, *stem.relative_to(place).parts)).removesuffix(".__init__")


def _belongs(module: str, importer: str) -> bool:
    """Is a module part of the importer's package, or a module beside it that is not installed?"""
    top, own = module.partition(".")[0], importer.partition(".")[0]
    if top == own:
        return True
    if top in sys.stdlib_module_names or not is_plugin(top):
        return False
    beside = {place.parent for place in _places(own)} | {Path.cwd()}
    beside |= {Path(folder).resolve() for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder}
    return any(place.parent in beside and not _installed(place) for place in _places(top))


def _installed(place: Path) -> bool:
    """Is it in a folder of installed packages, or in the standard library?"""
    folders = (Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib", "stdlib"))
    return bool({"site-packages", "dist-packages"} & {*place.parts}) or any(map(place.is_relative_to, folders))


def _places(top: str) -> list[Path]:
    """The folders of a package, the file of a module."""
    spec = _spec(top)
    if spec is None or spec.origin in ("built-in", "frozen"):
        return []
    where = spec.submodule_search_locations or ([spec.origin] if spec.origin else [])
    return [Path(place).resolve() for place in where]


def _spec(top: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):  # ValueError: a module without a spec, such as `__main__`
        return None
