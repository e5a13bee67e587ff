"""The registry of components. Importing a module registers its components; reading a schema does not import torch.

@register("algo", "rloo")
@dataclass(frozen=True, kw_only=True)
class RLOO(Algorithm):
    kl_coef: float = param(0.05, "weight of the KL penalty inside the reward", low=0)
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import importlib.metadata
import re
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from align_lab.base.bounds import outside
from align_lab.base.errors import ConfigError, near, short
from align_lab.base.paths import PACKAGE
from align_lab.base.search_space import Declared

MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
ENTRY_POINT = "align_lab.components"  # the entry point group in which other packages list their modules

_components: dict[tuple[str, str], type] = {}
_contracts: dict[str, type] = {}  # kind -> the class that its components inherit
T = TypeVar("T", bound=type)


def param(  # noqa: PLR0913  each is a rule that a field may declare
    default: Any,
    help: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] | None = None,
    tune: Declared | None = None,
    pattern: str | None = None,
    trust: str | None = None,
    infinite: str | None = None,
) -> Any:
    """A dataclass field with its help text and its bounds: `low` <= value, `above` < value, value <= `high`.

    `tune`: the values that a search over it tries (`align_lab.base.search_space`). `pattern`: a regular expression that
    the whole of a text must match. `trust`: what a value of it executes or sends, which a config of somebody else must
    not do unasked (`align_lab.config.trust`). `infinite`: what .inf means, where it means anything.
    """
    help += f"; .inf: {infinite}" if infinite else ""
    rules = {"low": low, "above": above, "high": high, "choices": choices, "pattern": pattern}
    metadata = {"help": help, **rules, "tune": tune, "trust": trust, "infinite": infinite}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: copy.copy(cast(Any, default)), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def section(cls: type, help: str) -> Any:
    """A dataclass field that holds another dataclass with its defaults."""
    return dataclasses.field(default_factory=cls, metadata={"help": help})


def contract(kind: str) -> Callable[[T], T]:
    """Class decorator: components of this kind inherit the class (`align_lab.base.contracts` holds them all)."""

    def declare(cls: T) -> T:
        _contracts[kind] = cls
        return cls

    return declare


def contract_of(kind: str) -> type:
    """The class that components of this kind inherit. Raises ConfigError for an unknown kind."""
    try:
        return _contracts[kind]
    except KeyError:
        raise ConfigError(f"there is no kind of component named {kind!r}: {near(kind, _contracts)}") from None


def register(kind: str, name: str) -> Callable[[T], T]:
    """Class decorator: `lookup(kind, name)` returns the frozen dataclass, and constructing it checks its bounds.

    Raises ConfigError when another class owns the name, naming its module, or when the class does not inherit the
    contract of its kind.
    """

    def keep(cls: T) -> T:
        base = _contracts.get(kind)
        if base is not None and not issubclass(cls, base):
            raise ConfigError(
                f"{kind}={name}: the class {cls.__module__}.{cls.__qualname__} does not inherit the contract of its "
                f"kind. Write: from align_lab.base.contracts import {base.__name__}, then class "
                f"{cls.__name__}({base.__name__})"
            )
        owner = _components.get((kind, name))
        if owner is not None and (owner.__module__, owner.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ConfigError(
                f"{kind}={name} is already registered by {owner.__module__}.{owner.__qualname__}: "
                f"choose another name in {cls.__module__}."
            )
        _components[kind, name] = checked(cls)
        return cls

    return keep


def checked(cls: T) -> T:
    """Class decorator: the constructor of a dataclass raises ConfigError for values outside its fields' bounds."""

    build = cls.__init__

    @functools.wraps(build)  # the dataclass has written its __init__ already: a __post_init__ would come too late
    def init(self: Any, *args: Any, **values: Any) -> None:
        build(self, *args, **values)
        messages = problems(cls, {f.name: getattr(self, f.name) for f in dataclasses.fields(cls)})
        if messages:
            raise ConfigError(f"{cls.__name__}: " + "; ".join(messages))

    cls.__init__ = init  # type: ignore[method-assign]
    return cls


def problems(cls: type, values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """One message for every value outside its bounds, including those of nested sections."""
    messages: list[str] = []
    for spec in dataclasses.fields(cls):
        value = values.get(spec.name)
        name = f"{prefix}{spec.name}"
        inner = spec.default_factory if isinstance(spec.default_factory, type) else None
        if inner is not None and dataclasses.is_dataclass(inner):
            messages += problems(inner, _fields_of(value), f"{name}.")
        elif value is not None and str(spec.type).startswith("list[") and not isinstance(value, list | tuple):
            messages.append(f"{name}={short(str(value))}: it must be a list, for example {name}=[{short(str(value))}]")
        elif value is not None and str(spec.type).startswith("dict[") and not isinstance(value, Mapping):
            messages.append(f"{name}={short(str(cast(Any, value)))}: it must be a mapping, `NAME: ...` on a line each")
        elif value is not None:
            messages += outside(name, value, spec.metadata)
    return messages


def _fields_of(section_value: Any) -> Mapping[str, Any]:
    if section_value is None:
        return {}
    return cast(Mapping[str, Any], section_value if isinstance(section_value, Mapping) else vars(section_value))


def scan(plugins: tuple[str, ...] = ()) -> None:
    """Import all modules that register components: those of this package, of installed entry points, and `plugins`.

    Such a module must not import torch at its top level, so that reading schemas is fast.
    """
    _scan_installed()
    for plugin in plugins:
        if not MODULE.fullmatch(plugin):
            raise ConfigError(
                f"plugins=[{short(plugin)}]: not the name of a module. Write it as in an import, for example "
                "plugins=[my_module], and run from the folder that holds my_module.py"
            )
        try:
            module = importlib.import_module(plugin)
        except ModuleNotFoundError as missing:
            raise ConfigError(
                f"plugins=[{plugin}]: no module named {missing.name!r} can be imported. "
                "Install the package, or run from the folder that holds it."
            ) from None
        except ConfigError:
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, and whatever else a module may raise
            frame = traceback.extract_tb(error.__traceback__)[-1]
            raise ConfigError(
                f"plugins=[{plugin}]: importing it raised {type(error).__name__}: {error} "
                f"({Path(frame.filename).name}, line {frame.lineno})"
            ) from error
        if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
            raise ConfigError(
                f"plugins=[{plugin}]: {plugin} is a folder without __init__.py, and no module. Name a module in it, "
                f"for example plugins=[{plugin}.my_module]"
            )


@functools.cache
def _scan_installed() -> None:
    """Once a process: this package and the entry points of others stay what they are."""
    for module in _registering(PACKAGE):
        importlib.import_module(module)
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT):
        entry.load()


def _registering(package: Path) -> list[str]:
    files = sorted(package.rglob("*.py"))
    return [
        ".".join(file.relative_to(package.parent).with_suffix("").parts)
        for file in files
        if file.name != "registry.py" and "\n@register(" in file.read_text(encoding="utf-8")
    ]


def installed(package: str) -> bool:
    """Is an optional package installed? `package` is its name in the index; a folder of that name does not count."""
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def missing_package(component: Any) -> str:
    """Which package a component, or its class, needs and how to install it; empty where it is installed."""
    package: str = getattr(component, "package", "")
    if not package or installed(package):
        return ""
    extra: str = getattr(component, "extra", "") or package
    return f"the package {package}, which is not installed: pip install 'align_lab[{extra}]'"


def lookup(kind: str, name: str) -> type[Any]:
    """The registered class. Raises ConfigError, with the nearest name, when there is none."""
    try:
        return _components[kind, name]
    except KeyError:
        raise ConfigError(f"{kind}={name} is not known: {near(name, names(kind))}") from None


def names(kind: str) -> list[str]:
    """The registered names of a kind."""
    return sorted(name for owner, name in _components if owner == kind)


def kinds() -> list[str]:
    """The kinds of which there are components."""
    return sorted({kind for kind, _ in _components})


def build(kind: str, config: Mapping[str, Any]) -> Any:
    """The component of a plain config, which holds its `name` and its fields."""
    values = dict(config)
    return construct(lookup(kind, values.pop("name")), values)


def expand(kind: str, given: str | Mapping[str, Any], where: str) -> dict[str, Any]:
    """All fields of a component that another field names, by its name or by a mapping with `name`; `name` is first.

    Raises ConfigError that begins with `where` for an unknown component or field, or a value outside its bounds.
    """
    values: dict[str, Any] = {"name": given} if isinstance(given, str) else dict(given)
    try:
        cls = lookup(kind, str(values.pop("name", "")))
        known = [spec.name for spec in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigError(f"there is no field {key}: {near(key, known)}")
        component = construct(cls, values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from None
    name = given if isinstance(given, str) else given["name"]
    return {"name": name, **dataclasses.asdict(component)}


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def construct(cls: type, values: Mapping[str, Any]) -> Any:
    """Build a dataclass from plain values, its sections from nested ones."""
    hints = _hints(cls)
    built = {}
    for key, value in values.items():
        hint = hints.get(key)
        if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
            value = construct(hint, value)  # type: ignore[arg-type]
        elif get_origin(hint) is tuple or (hint and tuple in {get_origin(a) for a in get_args(hint)}):
            value = tuple(value) if value is not None else None
        built[key] = value
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise ConfigError(
            f"{cls.__module__}.{cls.__qualname__} does not define {', '.join(missing)}, which the contract of its kind "
            "asks for (align_lab/base/contracts.py)"
        )
    return cls(**built)
