"""Puts a mutant in the place of the code that is loaded: its functions get the code of the changed text."""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "align_lab"


def changed_functions(file: str, text: str) -> dict[str, CodeType]:
    """The functions and methods that have other code in `text`, by their qualified names."""
    path = PACKAGE / file
    codes = {code.co_qualname: code for code in _codes(compile(text, str(path), "exec"))}
    old = {code.co_qualname: code for code in _codes(compile(path.read_text(), str(path), "exec"))}
    return {name: code for name, code in codes.items() if code != old.get(name)}


def apply(file: str, text: str) -> None:
    """Give the loaded module `file` the code of `text`. Raises LookupError where nothing of it can be replaced."""
    module = importlib.import_module("align_lab." + file.removesuffix(".py").replace("/", "."))
    codes = changed_functions(file, text)
    functions = [one for one in _functions(module) if one.__qualname__ in codes]
    for function in functions:
        function.__code__ = codes[function.__qualname__]
    if not functions and not _set_constants(module, (PACKAGE / file).read_text(), text):
        raise LookupError(f"{file}: the change is in no function")


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of every function and method; what is inside a function belongs to it."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            if not inner.co_flags & 0x0002:  # the body of a class, which is not optimized
                yield from _codes(inner)


def _functions(owner: ModuleType | type) -> Iterator[FunctionType]:
    name = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
    for value in list(vars(owner).values()):
        if isinstance(value, type) and value.__module__ == name and value is not owner:
            yield from _functions(value)
        inner: Any = value
        if isinstance(inner, (staticmethod, classmethod)):
            inner = inner.__func__
        if isinstance(inner, property):
            inner = inner.fget
        if isinstance(inner, functools.cached_property):
            inner = inner.func
        while hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        if isinstance(inner, FunctionType) and inner.__module__ == name:
            yield inner


def _set_constants(module: ModuleType, before: str, after: str) -> bool:
    """Names that the text gives another value outside functions and classes."""
    old = {ast.dump(statement) for statement in ast.parse(before).body}
    new = [one for one in ast.parse(after).body if isinstance(one, ast.Assign) and ast.dump(one) not in old]
    for statement in new:
        exec(compile(ast.Module(body=[statement], type_ignores=[]), module.__name__, "exec"), vars(module))
    return bool(new)
