"""Files that tests write, and the component that reads them."""

import json
from pathlib import Path

from align_lab.data.files import FileData


def write(path: Path, rows) -> Path:
    """A JSONL file; a row that is a text is written as it is."""
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def questions(count, *, start=0):
    """Rows of different prompts with their answers."""
    return [{"prompt": f"{name(i)} and {name(i + 1)} make what?", "answer": i} for i in range(start, start + count)]


def name(number):
    """A word that no other number has."""
    return "".join("abcdefghij"[int(digit)] for digit in f"{number:06d}")


def component(**fields) -> FileData:
    """The component with these fields. Nothing is held out for development unless they say so."""
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in fields.items()}
    return FileData(**{"development_share": 0.0, **plain})


def loaded(folder: Path, **fields):
    """The data set that a component builds."""
    folder.mkdir()
    files = component(**fields)
    files.build(folder)
    return files.load(folder)


def problems(**fields) -> list[str]:
    """What the component objects to."""
    return component(**fields).problems()
