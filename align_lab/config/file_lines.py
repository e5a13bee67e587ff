"""Where a study file says what an error is about: `my_study.yaml, line 4: train.lr=fast: ...`."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import yaml

from align_lab.base.errors import ConfigError
from align_lab.base.paths import is_study_file

KEY = re.compile(r"[\w./]+(?==)")  # what a message begins with: the override that it is about


@contextmanager
def named(args: Sequence[str]) -> Generator[None]:
    """Inside the context, a ConfigError about what the study file among `args` says names its line."""
    files = [Path(arg) for arg in args if is_study_file(arg)]
    typed = {arg.partition("=")[0] for arg in args}
    try:
        yield
    except ConfigError as error:
        if len(files) != 1 or not files[0].is_file():
            raise
        lines = (_placed(line, files[0], typed) for line in str(error).split("\n"))
        raise ConfigError("\n".join(lines)) from error


def _placed(message: str, file: Path, typed: Set[str]) -> str:
    """The message after its place, where the file has one for it, and the key was not typed on the command line."""
    key = match[0] if (match := KEY.match(message)) else ""
    if not key or key in typed or message.startswith(str(file)):
        return message
    root = cast("yaml.Node | None", yaml.compose(file.read_text(encoding="utf-8")))  # pyright: ignore[reportUnknownMemberType]
    for line, path, text in _entries(root, ()):
        if (text and message.startswith(text)) or (path and f".{key}".endswith(f".{path}")):
            return f"{file}, line {line}: {message}"
    return message


def _entries(node: yaml.Node | None, path: tuple[str, ...]) -> Iterator[tuple[int, str, str]]:
    """(line, key with its sections, or the text of an override) of all that stands in a file, inner entries first."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner = (*path, str(name.value))
            yield from _entries(value, inner)
            yield name.start_mark.line + 1, ".".join(inner), ""
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            if isinstance(each, yaml.ScalarNode):
                yield each.start_mark.line + 1, "", each.value if "=" in each.value else ""
            else:
                yield from _entries(each, path)
