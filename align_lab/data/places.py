"""Where rows lie: how many there are, and the first of them by file and line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from align_lab.data.rows import unit

SHOWN = 5


@dataclass
class Places:
    """The number of some rows, and the places of the first."""

    count: int = 0
    first: list[tuple[Path, int, str]] = field(default_factory=list[tuple[Path, int, str]])
    last: tuple[Path, int] | None = None

    def add(self, file: Path, number: int, remark: str = "") -> None:
        """Count a row; `remark` is shown behind it. Parts of one row follow each other and count once."""
        if self.last == (file, number):
            return
        self.last = (file, number)
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append((file, number, remark))

    @staticmethod
    def of(file: Path, number: int) -> str:
        """One place in words."""
        return f"{file}, {unit(file)} {number}"

    def __str__(self) -> str:
        """The first places in words: "my.jsonl, lines 3, 17, ... (12 rows)"."""
        parts: list[str] = []
        for file in dict.fromkeys(file for file, _, _ in self.first):
            here = [(number, remark) for other, number, remark in self.first if other == file]
            numbers = ", ".join(f"{number}{f' ({remark})' if remark else ''}" for number, remark in here)
            parts.append(f"{file}, {unit(file)}{'s' if len(here) > 1 else ''} {numbers}")
        more = f", ... ({self.count:,} rows)" if self.count > len(self.first) else ""
        return "; ".join(parts) + more

    def __bool__(self) -> bool:
        return self.count > 0
