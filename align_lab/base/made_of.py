"""What determines a component or a run besides its config: the code of plug-ins and the content of local files.

A run's hashes are named like fields of its config, so that each has the role of what it belongs to: `plugins` and
`files` are settings, as the data is; `algo.plugins` belongs to the recipe, as the algorithm does, and may differ
between arms. A name is absent where there is nothing to hash.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from align_lab.base import registry
from align_lab.base.component import Component
from align_lab.base.content import content_hash
from align_lab.base.contracts import Reward
from align_lab.base.plugin_code import is_plugin, source_hash
from align_lab.base.roles import role
from align_lab.base.run_config import leaves


def files_of(components: Iterable[Component]) -> tuple[Path, ...]:
    """The local files and folders whose content these components, and those that they hold, read."""
    return tuple(path for component in whole(components) for path in component.files())


def whole(components: Iterable[Component]) -> Iterator[Component]:
    """These components, and the rewards that the rewards among them hold, at any depth."""
    for component in components:
        yield component
        if isinstance(component, Reward):
            yield from whole(registry.build("reward", values) for values in component.inner().values())


def of_components(components: Sequence[Component]) -> dict[str, str]:
    """The hashes that enter the key of an artefact that these components build. Raises DataError for a missing file."""
    modules = frozenset(filter(is_plugin, (type(component).__module__ for component in whole(components))))
    files = files_of(components)
    return ({"plugins": source_hash(modules)} if modules else {}) | ({"files": content_hash(files)} if files else {})


def of_run(values: Mapping[str, Any]) -> dict[str, str]:
    """Name -> hash, for a whole config. Call it after `registry.scan`. Raises DataError for a missing file."""
    hashes = {name: source_hash(frozenset(modules)) for name, modules in _plugins(values).items()}
    files: dict[str, list[Any]] = defaultdict(list)
    for kind in registry.kinds():
        if isinstance(values.get(kind), Mapping) and (name := _hash_name(kind, "files")):
            files[name].append(registry.build(kind, values[kind]))
    for judge in values.get("evaluation", {}).get("judges", {}).values():
        files["files"].append(registry.build("reward", judge))
    return hashes | {name: content_hash(paths) for name, group in files.items() if (paths := files_of(group))}


def code_of(values: Mapping[str, Any]) -> set[Path]:
    """The files of users' code that the components of a config run."""
    kinds = [registry.build(kind, values[kind]) for kind in registry.kinds() if isinstance(values.get(kind), Mapping)]
    judges = values.get("evaluation", {}).get("judges", {}).values()
    components: list[Component] = [*kinds, *(registry.build("reward", judge) for judge in judges)]
    return {path for component in whole(components) for path in component.code()}


def _plugins(values: Mapping[str, Any]) -> dict[str, set[str]]:
    """Name of a hash -> the plug-in modules of the components that the config names.

    A loaded plug-in that registers no component may change anything, so it counts as a setting.
    """
    owners = _owners()
    used: dict[str, set[str]] = defaultdict(set)
    for key, value in leaves(values):
        modules = {module for text in _texts(value) for module in owners.get(text, ())}
        if modules and (name := _hash_name(key, "plugins")):
            used[name] |= modules
    registering = {_top(module) for modules in owners.values() for module in modules}
    if silent := {module for module in loaded(values.get("plugins", ())) if _top(module) not in registering}:
        used["plugins"] |= silent
    return used


def loaded(plugins: Iterable[str]) -> set[str]:
    """The plug-in modules that a scan imports: those of installed packages, and these."""
    return set(filter(is_plugin, _installed().union(plugins)))


@functools.cache
def _installed() -> frozenset[str]:
    return frozenset(entry.module for entry in importlib.metadata.entry_points(group=registry.ENTRY_POINT))


def _owners() -> dict[str, set[str]]:
    """Name of a component -> the plug-in modules that registered a component of that name."""
    owners: dict[str, set[str]] = defaultdict(set)
    for kind in registry.kinds():
        for name in registry.names(kind):
            module = registry.lookup(kind, name).__module__
            if is_plugin(module):
                owners[name].add(module)
    return owners


def _hash_name(key: str, what: str) -> str:
    """The name of the hash that belongs to a field of the config; "" for a field that cannot change a result."""
    group = key.partition(".")[0]
    return {"none": "", "setting": what}.get(role(key), f"{group}.{what}")


def _texts(value: Any) -> Iterator[str]:
    """Every string in a value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for inner in cast(Mapping[Any, Any], value).values() for text in _texts(inner))
    elif isinstance(value, Sequence):
        yield from (text for inner in cast(Sequence[Any], value) for text in _texts(inner))


def _top(module: str) -> str:
    return module.partition(".")[0]
