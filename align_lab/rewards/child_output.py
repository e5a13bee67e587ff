"""What a child process prints: shown line by line on standard error, up to a limit, and never kept."""

from __future__ import annotations

import sys
import threading
from io import BufferedReader
from typing import IO, cast

LINES = 50  # shown of one child and those that replace it
WIDTH = 200  # characters of a line that are shown
CHUNK = 1 << 16  # bytes


class Output:
    """Shows the lines of one child process after the other, with a name before each."""

    def __init__(self, name: str) -> None:
        self.name, self.shown = name, 0

    def follow(self, stream: IO[bytes]) -> None:
        """Show what is written to `stream` until it ends, from a thread."""
        threading.Thread(target=self._drain, args=(stream,), daemon=True).start()

    def _drain(self, stream: IO[bytes]) -> None:
        with stream:
            line = b""
            while chunk := cast(BufferedReader, stream).read1(CHUNK):
                if self.shown > LINES:
                    continue
                *whole, line = (line + chunk).split(b"\n")
                for each in whole:
                    self._show(each)
                line = line[: 4 * WIDTH]
            if line:
                self._show(line)

    def _show(self, line: bytes) -> None:
        """Control characters, which could change the terminal, are shown as their codes."""
        self.shown += 1
        if self.shown > LINES + 1:
            return
        text = line[: 4 * WIDTH].decode(errors="replace").rstrip()[:WIDTH]
        text = "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)
        if self.shown > LINES:
            text = f"(more than {LINES} lines: what follows is not shown)"
        print(f"{self.name}: {text}", file=sys.stderr, flush=True)
