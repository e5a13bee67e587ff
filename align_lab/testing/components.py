"""Checks of every kind: a component is a frozen dataclass of settings that costs nothing to build."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from align_lab.base import contracts, registry
from align_lab.base.errors import ConfigError
from align_lab.testing.outcomes import CheckSkipped, Outcome, failure, outcome, outcomes

PLAIN = (bool, int, float, str, list, tuple, dict, type(None))  # what a config file can hold
SECONDS = 60  # limit of the process that looks for torch


def outcomes_of(kind: str, cls: type[contracts.Component], fields: Mapping[str, Any]) -> Iterator[Outcome]:
    """All checks of the settings. After a problem that lets no component be built, the rest is left out."""
    declared = list(outcomes((it_is_a_frozen_dataclass, every_field_has_a_plain_default), cls))
    yield from declared
    yield outcome(it_inherits_the_contract, (kind, cls))
    if any(one.problems for one in declared):
        return
    yield from outcomes((every_field_has_a_help_text, fields_of_the_contract_remain, bounds_are_enforced), cls)
    yield outcome(it_is_read_without_torch, cls)
    try:
        component = registry.construct(cls, fields)
    except (Exception, SystemExit) as error:
        yield failure("it is built from its settings", error)
        return
    yield from outcomes((problems_are_sentences, files_are_paths, class_variables_have_a_meaning), component)
    usable = outcome(its_settings_can_be_used, component)
    refused = usable.skipped and fields and component.problems()  # the defaults may lack a path, for example
    yield dataclasses.replace(usable, problems=(usable.skipped,), skipped="") if refused else usable


def it_inherits_the_contract(registered: tuple[str, type]) -> Iterator[str]:
    """(kind, class). A class that was registered before `align_lab.base.contracts` was imported was not refused."""
    kind, cls = registered
    base = registry.contract_of(kind)
    if not issubclass(cls, base):
        yield f"{cls.__name__} does not inherit {base.__name__}. Write class {cls.__name__}({base.__name__})"


def it_is_a_frozen_dataclass(cls: type[contracts.Component]) -> Iterator[str]:
    """Its own, not only that of a class that it inherits."""
    own = vars(cls).get("__dataclass_params__")
    if own is None:
        yield f"{cls.__name__} is no dataclass. Write @dataclass(frozen=True, kw_only=True) below @register(...)"
    elif not own.frozen:
        yield f"{cls.__name__} can be changed after it was built. Write @dataclass(frozen=True, kw_only=True)"


def every_field_has_a_plain_default(cls: type[contracts.Component]) -> Iterator[str]:
    """A config file can write it; sections are looked into."""
    for name, spec in _leaves(cls):
        try:
            value = _default(spec)
        except TypeError:
            yield f"{name} has no default. Write {spec.name}: ... = param(DEFAULT, 'its meaning')"
            continue
        if not isinstance(value, PLAIN):
            yield (
                f"the default of {name} is {value!r}, which a config file cannot hold. "
                "Use a number, a text, true or false, null, or a list of these"
            )


def every_field_has_a_help_text(cls: type[contracts.Component]) -> Iterator[str]:
    """`show KIND=NAME` prints it."""
    for name, spec in _leaves(cls):
        if not str(spec.metadata.get("help") or "").strip():
            yield f"{name} has no help text. Write {spec.name}: ... = param(DEFAULT, 'its meaning')"


def fields_of_the_contract_remain(cls: type[contracts.Component]) -> Iterator[str]:
    """A field that the contract of the kind has is a field here too, with a default of the same type."""
    own = dict(_leaves(cls))
    for base in cls.__mro__[1:]:
        for name, spec in _leaves(base) if dataclasses.is_dataclass(base) else ():
            if name not in own:
                yield f"{name}, a field of {base.__name__}, is none of {cls.__name__}. Keep it as a param(...)"
            elif _type(own[name]) != _type(spec) and None not in (_default(own[name]), _default(spec)):
                yield (
                    f"the default of {name} is {_default(own[name])!r}, and that of {base.__name__} is "
                    f"{_default(spec)!r}: keep its type"
                )


def bounds_are_enforced(cls: type[contracts.Component]) -> Iterator[str]:
    """Values just outside the bounds that a field declares are refused, and the message names the field."""
    for name, spec in _leaves(cls):
        for value in values_out_of_bounds(spec):
            try:
                registry.construct(cls, _nested(name, value))
            except ConfigError as error:
                if spec.name not in str(error):
                    yield f"{name}={value} is refused, and the message does not name the field: {error}"
            else:
                yield (
                    f"{name}={value} is accepted, though it is outside the field's bounds. "
                    "Write @register(...) above @dataclass(frozen=True, kw_only=True)"
                )


def values_out_of_bounds(spec: dataclasses.Field[Any]) -> list[Any]:
    """Values just outside the bounds of a field, and not-a-number for a floating-point number."""
    rule = spec.metadata
    values: list[Any] = ["no such choice"] if rule.get("choices") else []
    values += [
        rule[bound] + step for bound, step in {"low": -1, "above": 0, "high": 1}.items() if rule.get(bound) is not None
    ]
    return values + ([float("nan")] if isinstance(_default(spec), float) else [])


def it_is_read_without_torch(cls: type[contracts.Component]) -> Iterator[str]:
    """Its module is imported, and it is built and asked for its problems, files and shape: torch is not imported.

    Help, lists and errors come at once only so.
    """
    if "torch" not in sys.modules:
        _use(cls)
        imported = "torch" in sys.modules
    else:
        imported = _imports_torch(cls)
    if imported:
        yield (
            f"reading the settings of {cls.__module__}.{cls.__qualname__} imports torch. Import it, and what needs it, "
            "inside the methods that compute"
        )


def _use(cls: type[contracts.Component]) -> None:
    try:
        component: Any = cls()
        component.problems()
        component.files()
        if hasattr(component, "shape"):
            component.shape()
    except Exception:
        return  # another check says so


@functools.cache
def _imports_torch(cls: type[contracts.Component]) -> bool:
    """The same in a fresh interpreter, for a process that has torch already."""
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; import importlib; "
        f"module = importlib.import_module({cls.__module__!r}); "
        "from align_lab.testing import components; "
        f"import functools; components._use(functools.reduce(getattr, {cls.__qualname__.split('.')!r}, module)); "
        "sys.exit(3 * ('torch' in sys.modules))"
    )
    if "<locals>" in cls.__qualname__ or cls.__module__ == "__main__":
        raise CheckSkipped(f"{cls.__qualname__} cannot be imported by name, so another process cannot look for torch")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode not in (0, 3):
        raise CheckSkipped(f"{cls.__module__} cannot be imported by another process: {done.stderr.strip()[-200:]}")
    return done.returncode == 3


def problems_are_sentences(component: contracts.Component) -> Iterator[str]:
    """`problems()` returns a list of texts."""
    messages: Any = component.problems()
    if not isinstance(messages, list) or not all(isinstance(one, str) and one.strip() for one in messages):
        yield f"problems() returned {messages!r}. Return a list of sentences, empty where nothing is wrong"


def files_are_paths(component: contracts.Component) -> Iterator[str]:
    """`files()` returns paths."""
    files: Any = component.files()
    if isinstance(files, str) or not isinstance(files, Sequence) or not all(isinstance(one, Path) for one in files):
        yield f"files() returned {files!r}. Return a list of pathlib.Path, empty where it reads no local file"


def class_variables_have_a_meaning(component: contracts.Component) -> Iterator[str]:
    """`package`, `version` and `used_later` are what `Component` says."""
    fields = {spec.name for spec in dataclasses.fields(component)}  # type: ignore[arg-type]
    for name in component.used_later:
        if name not in fields:
            yield f"used_later names {name!r}, which is no field: {', '.join(sorted(fields)) or 'there is none'}"
    version: Any = component.version
    if not isinstance(version, int) or version < 1:
        yield f"version is {version!r}. Set a whole number from 1, and raise it when build computes something else"
    if not isinstance(component.package, str) or not isinstance(component.extra, str):
        yield (
            f"package is {component.package!r} and extra is {component.extra!r}. Set the names of a package and of "
            "the extra of align_lab that installs it, or empty texts"
        )


def its_settings_can_be_used(component: contracts.Component) -> Iterator[str]:
    """Where its own `problems()` refuse the settings, or a package is missing, nothing more can be checked."""
    if messages := component.problems():
        raise CheckSkipped("; ".join(messages))
    if missing := registry.missing_package(component):
        raise CheckSkipped(f"it needs {missing}")
    return iter(())


def _leaves(cls: type, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """(name, field) of every field, with those of sections as SECTION.FIELD."""
    for spec in dataclasses.fields(cls):
        inner = spec.default_factory
        if inspect.isclass(inner) and dataclasses.is_dataclass(inner):
            yield from _leaves(inner, f"{prefix}{spec.name}.")
        else:
            yield f"{prefix}{spec.name}", spec


def _default(spec: dataclasses.Field[Any]) -> Any:
    """Raises TypeError for a field without one."""
    return spec.default_factory() if spec.default is dataclasses.MISSING else spec.default  # type: ignore[misc]


def _type(spec: dataclasses.Field[Any]) -> type:
    kind = type(_default(spec))
    return float if kind is int else kind


def _nested(name: str, value: Any) -> dict[str, Any]:
    """`section.field` -> {"section": {"field": value}}."""
    first, _, rest = name.partition(".")
    return {first: _nested(rest, value) if rest else value}
