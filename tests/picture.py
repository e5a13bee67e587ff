"""The picture of the packages in docs/architecture.md, made from the docstrings of the packages themselves.

    python -m tests.picture             # print it
    python -m tests.picture --write     # put it into docs/architecture.md, after a package or its docstring has changed

Packages stand in the order of the layers in pyproject.toml, the lowest first; subpackages stand under their package.
"""

from __future__ import annotations

import ast
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
HOME = CHECKOUT / "docs" / "architecture.md"
PACKAGE = CHECKOUT / "align_lab"
START, END = "```\nalign_lab/\n", "```\n"
COLUMN = 20  # where the sentences begin
WIDTH = 120


def layers() -> list[str]:
    """Packages and loose modules in the order of the import contract, the lowest first."""
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (contract,) = [contract for contract in settings["contracts"] if contract["type"] == "layers"]
    return contract["layers"][::-1]


def picture() -> str:
    """The lines of the picture, from its first line to its last."""
    lines = [line for name in layers() for line in _lines(PACKAGE / name, depth=1)]
    return "\n".join(["align_lab/", *lines]) + "\n"


def _lines(path: Path, depth: int) -> Iterator[str]:
    """A package or a module, and below a package its subpackages."""
    package = path / "__init__.py"
    name, file = (f"{path.name}/", package) if package.exists() else (f"{path.name}.py", path.with_suffix(".py"))
    first, *rest = textwrap.wrap(first_sentences(file), WIDTH - COLUMN)
    yield f"{'  ' * depth + name:<{COLUMN}}{first}"
    yield from (" " * COLUMN + line for line in rest)
    for child in sorted(path.glob("*/__init__.py")):
        yield from _lines(child.parent, depth + 1)


def first_sentences(file: Path) -> str:
    """The first paragraph of a module's docstring, on one line. Raises ValueError where there is none."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    if not docstring:
        raise ValueError(f"{file} has no docstring: one sentence must say what it is for")
    return " ".join(docstring.partition("\n\n")[0].split())


def in_docs() -> str:
    """The picture as docs/architecture.md has it."""
    before, _, after = HOME.read_text(encoding="utf-8").partition(START)
    if not after:
        raise ValueError(f"{HOME} has no block that begins with {START!r}")
    return START.removeprefix(END) + after.partition(END)[0]


def main() -> None:
    """Print the picture, or write it into docs/architecture.md."""
    if "--write" not in sys.argv[1:]:
        print(picture(), end="")
        return
    text = HOME.read_text(encoding="utf-8")
    HOME.write_text(text.replace(in_docs(), picture()), encoding="utf-8")


if __name__ == "__main__":
    main()
