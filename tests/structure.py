"""How the code hangs together, in numbers: packages, arrows between them, circles and loose modules.

    python -m tests.structure            # of this checkout
    python -m tests.structure FOLDER     # of another one, an older commit for example
    python -m tests.structure --write    # put those of this checkout into docs/structure.md, column "now"

An arrow is a pair of packages of which one imports the other, whether at the top of a module, inside a function or for
type checkers alone. A loose module is a module that lies beside the packages and not in one of them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grimp
import networkx as nx

ROOT = "align_lab"
CHECKOUT = Path(__file__).parents[1]
DOCS = CHECKOUT / "docs" / "structure.md"
ROW = re.compile(r"^\| (?P<name>[^|]+) \|(?P<before>[^|]+)\| (?P<now>\d+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Structure:
    """Counts of one checkout. Circles are sets of packages, or of modules, that import each other in a ring."""

    packages: int
    loose: int
    arrows: int
    package_circles: tuple[tuple[str, ...], ...]
    module_circles: tuple[tuple[str, ...], ...]

    def rows(self) -> Iterator[tuple[str, int]]:
        """The rows of the table in docs/structure.md."""
        yield "packages", self.packages
        yield "loose modules", self.loose
        yield "arrows between packages and loose modules", self.arrows
        yield "circles of packages", len(self.package_circles)
        yield "circles of modules", len(self.module_circles)


def measure(checkout: Path) -> Structure:
    """The structure of the `align_lab` in this folder."""
    sys.path.insert(0, str(checkout))
    imported = sys.modules.pop(ROOT, None)  # else the package that is imported would be measured, wherever it lies
    try:
        graph = grimp.build_graph(ROOT, exclude_type_checking_imports=False, cache_dir=None)
    finally:
        sys.path.pop(0)
        if imported is not None:
            sys.modules[ROOT] = imported
    modules = nx.DiGraph((a, b) for a in graph.modules for b in graph.find_modules_directly_imported_by(a))
    pairs = {(unit(a), unit(b)) for a, b in modules.edges}
    units = nx.DiGraph((a, b) for a, b in pairs if a != b and b)  # importing ROOT itself only reads its version
    top = graph.find_children(ROOT)
    packages = [name for name in top if graph.find_children(name)]
    return Structure(
        packages=len(packages),
        loose=len(top) - len(packages),
        arrows=units.number_of_edges(),
        package_circles=_circles(units),
        module_circles=_circles(modules),
    )


def unit(module: str) -> str:
    """The package, or loose module, that a module belongs to: `align_lab.train.engines.engine` -> `train`."""
    return module.split(".")[1] if "." in module else ""


def _circles(graph: nx.DiGraph) -> tuple[tuple[str, ...], ...]:
    components: Iterable[set[str]] = nx.strongly_connected_components(graph)
    return tuple(sorted(tuple(sorted(component)) for component in components if len(component) > 1))


def in_docs() -> dict[str, int]:
    """The counts in docs/structure.md, column "now"."""
    return {row["name"]: int(row["now"]) for row in ROW.finditer(DOCS.read_text(encoding="utf-8"))}


def write(structure: Structure) -> None:
    """Put the counts into docs/structure.md."""
    counts = dict(structure.rows())
    text = DOCS.read_text(encoding="utf-8")
    text = ROW.sub(lambda row: f"| {row['name']} |{row['before']}| {counts[row['name']]} |", text)
    DOCS.write_text(text, encoding="utf-8")


def main() -> None:
    """Print the counts, then every circle."""
    words = sys.argv[1:]
    structure = measure(CHECKOUT if words in ([], ["--write"]) else Path(words[0]))
    if words == ["--write"]:
        write(structure)
    for name, count in structure.rows():
        print(f"{name:<44}{count:>5}")
    for circle in (*structure.package_circles, *structure.module_circles):
        print("circle:", *circle)


if __name__ == "__main__":
    main()
