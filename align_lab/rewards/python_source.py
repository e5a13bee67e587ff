"""What the source of a user's reward file says without being run: functions, their parameters, local imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from align_lab.base.errors import ConfigError, near

GIVEN = ("prompts", "completions")  # to every function, beside the columns of the data
SINGULAR = {"prompt": "prompts", "completion": "completions"}  # what they are given instead: lists of a whole batch
ONLY_TRL = ("completion_ids", "completions_ids", "trainer_state", "log_extra", "log_metric", "environments")
EXAMPLE = "def reward(prompts, completions, **columns): return [float(len(text)) for text in completions]"


@dataclass(frozen=True)
class RewardFunction:
    """A function of a file. `required`: its parameters without a default; empty where the source does not say."""

    name: str
    required: tuple[str, ...] = ()


def choose(file: Path, wanted: str) -> RewardFunction:
    """The function of this name in a file, or its only one. Raises ConfigError that says what is wrong."""
    tree = parse(file)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    if wanted:
        if wanted in functions:
            return _checked(functions[wanted])
        if wanted in set(_names(tree)):
            return RewardFunction(wanted)
        raise ConfigError(f"{file.name} has no function {wanted}: {near(wanted, functions)}")
    public = {name: node for name, node in functions.items() if not name.startswith("_")}
    scoring = {name: node for name, node in public.items() if set(GIVEN) & set(_parameters(node))} or public
    if not scoring:
        raise ConfigError(f"{file.name} has no function. Write one, for example {EXAMPLE!r}")
    if len(scoring) > 1:
        raise ConfigError(
            f"{file.name} has several functions ({', '.join(scoring)}). "
            f"Name one: reward.file={file}:{next(iter(scoring))}"
        )
    return _checked(next(iter(scoring.values())))


def parse(file: Path) -> ast.Module:
    """The syntax tree. Raises ConfigError for a file that is missing or is not Python."""
    try:
        return ast.parse(file.read_bytes(), filename=file.name)
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise ConfigError(f"{file.name}, line {error.lineno}: {error.msg}{f': {line}' if line else ''}") from None
    except ValueError as error:  # a null byte
        raise ConfigError(f"{file.name} is not a Python file: {error}") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None


def _names(tree: ast.Module) -> Iterator[str]:
    """The names that the file imports or assigns."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ClassDef):
            yield node.name


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]


def _checked(node: ast.FunctionDef | ast.AsyncFunctionDef) -> RewardFunction:
    """Raises ConfigError for parameters that cannot be passed by name."""
    if node.decorator_list:  # it may have other parameters than its source shows
        return RewardFunction(node.name)
    where = f"{node.name} (line {node.lineno})"
    if node.args.posonlyargs:
        raise ConfigError(f"{where} has parameters before a '/', and all are passed by name. Remove the '/'")
    if singular := [name for name in _parameters(node) if name in SINGULAR]:
        given = f"list{'s' * (len(singular) > 1)} {' and '.join(SINGULAR[name] for name in singular)}"
        raise ConfigError(
            f"{where} takes {' and '.join(singular)}, for one completion, and a function scores many in one call: it "
            f"is given the {given} and returns a list. Write, for example, {EXAMPLE!r}"
        )
    if not node.args.kwarg and not set(GIVEN) & set(_parameters(node)):
        raise ConfigError(
            f"{where} takes neither prompts nor completions. Its parameters are passed by name; write, for example, "
            f"{EXAMPLE!r}"
        )
    required = tuple(_required(node.args))
    if unknown := [name for name in required if name in ONLY_TRL]:
        raise ConfigError(
            f"{where} needs {', '.join(unknown)}, which TRL passes and this package does not. "
            f"Give it a default: {unknown[0]}=None"
        )
    return RewardFunction(node.name, required)


def _required(arguments: ast.arguments) -> Iterator[str]:
    without = len(arguments.args) - len(arguments.defaults)
    yield from (one.arg for one in arguments.args[:without])
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    yield from (one.arg for one, default in pairs if default is None)


def with_local_modules(file: Path) -> list[Path]:
    """The file and all modules beside it that it imports, directly or not; of a package, every module."""
    modules: dict[Path, None] = {}
    waiting = [file]
    while waiting:
        current = waiting.pop(0)
        if current in modules:
            continue
        modules[current] = None
        waiting += _imported(current, file.parent)
    return list(modules)


def _imported(file: Path, folder: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # `choose` says so of the file itself
        return
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for top in (name.partition(".")[0] for name in names):
            yield from filter(Path.is_file, (folder / f"{top}.py",))
            yield from sorted((folder / top).rglob("*.py")) if (folder / top / "__init__.py").is_file() else ()
