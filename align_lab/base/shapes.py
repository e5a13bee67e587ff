"""The form of a record that is read back: a TypedDict says which fields it has to hold, and of which types.

What is in a file may be torn, edited, or of another program. A reader that has checked the form can use the values.
"""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypeVar, Union, cast, get_args, get_origin, is_typeddict

from align_lab.base.errors import DataError, short

T = TypeVar("T")
WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}


def read(path: Path, shape: type[T], *, instead: str) -> T:
    """The record in a JSON file. `instead`: what to do about one that is damaged.

    Raises the system's OSError, and DataError that names the file, the field and what to do.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: it is no JSON ({short(str(error))}). {instead}") from None
    if wrong := problem(content, shape):
        raise DataError(f"{path} is damaged: {wrong}. {instead}")
    return content


def problem(content: Any, shape: Any) -> str:
    """What does not fit, in a sentence about the first field that does not; empty where all fit."""
    return next(_problems(content, shape, ""), "")


def fits(content: Any, shape: Any) -> bool:
    """Has the record this form?"""
    return not problem(content, shape)


def _problems(value: Any, shape: Any, where: str) -> Iterator[str]:
    if is_typeddict(shape):
        yield from _of_record(value, shape, where)
    elif get_origin(shape) in (Union, types.UnionType):
        if all(problem(value, one) for one in get_args(shape)):
            yield _expected(value, " or ".join(_words(one) for one in get_args(shape)), where)
    elif get_origin(shape) is list:
        if not isinstance(value, list):
            yield _expected(value, "a list", where)
            return
        for number, one in enumerate(cast("list[Any]", value)):
            yield from _problems(one, get_args(shape)[0], f"{where}[{number}]")
    elif get_origin(shape) is dict:
        if not isinstance(value, dict):
            yield _expected(value, "a mapping", where)
            return
        for key, one in cast("dict[str, Any]", value).items():
            yield from _problems(one, get_args(shape)[1], f"{where}.{key}" if where else key)
    elif shape is not Any and not _is_a(value, shape):
        yield _expected(value, _words(shape), where)


def _of_record(value: Any, shape: Any, where: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _expected(value, "a mapping", where)
        return
    content = cast("Mapping[str, Any]", value)
    for name, (hint, required) in _hints(shape).items():
        at = f"{where}.{name}" if where else name
        if name in content:
            yield from _problems(content[name], hint, at)
        elif required:
            yield f"it has no {at}"


@functools.cache
def _hints(shape: Any) -> Mapping[str, tuple[Any, bool]]:
    """Field -> its type, and whether it has to be there."""
    hints = typing.get_type_hints(shape, include_extras=True)
    optional = {name for name, hint in hints.items() if get_origin(hint) is NotRequired or not shape.__total__}
    return {
        name: (get_args(hint)[0] if get_origin(hint) is NotRequired else hint, name not in optional)
        for name, hint in hints.items()
    }


def _is_a(value: Any, kind: type) -> bool:
    """JSON writes 1.0 and 1 for a number; true is none."""
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int):
        return kind in (int, float) and abs(value) < 2**63
    return isinstance(value, kind)


def _words(shape: Any) -> str:
    return WORDS.get(shape) or {list: "a list", dict: "a mapping"}.get(get_origin(shape), "a mapping")


def _expected(value: Any, words: str, where: str) -> str:
    return f"{where or 'it'} is {short(repr(value), 40)}, and must be {words}"
