"""Which lines of a traceback are shown of a function that fails in a child process: its own, not those of libraries."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
LIBRARIES = tuple(Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
FRAMES = 3  # in a message
WIDTH = 1000  # characters of an exception's message


def in_words(error: BaseException) -> str:
    """The exception, and the last of the function's own lines that it passed."""
    if isinstance(error, SystemExit):
        text = f"it called sys.exit({error.code!r})"
    else:
        text = f"it raised {type(error).__name__}: {str(error)[:WIDTH]}".removesuffix(": ")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_own(frame.filename)]
    return text + "".join(f'\n  "{f.filename}", line {f.lineno}, in {f.name}: {f.line}' for f in frames[-FRAMES:])


def of_stack(lines: Iterable[str]) -> str:
    """The innermost of the function's own lines, from what `faulthandler` has written."""
    frames = [line.strip().removeprefix("File ") for line in lines if line.startswith('  File "')]
    return "".join(f"\n  {frame}" for frame in frames if is_own(frame.split('"')[1]))[: FRAMES * WIDTH]


def is_own(file: str) -> bool:
    """Does the file belong neither to Python, nor to an installed library, nor to this package?"""
    path = Path(file)
    return not file.startswith("<") and path.parent != HERE and not any(map(path.is_relative_to, LIBRARIES))
