"""How a contender talks to the benchmark: it waits for "go", works one step, and reports seconds and memory.

Standard library only: the contenders live in different environments.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable


class Gate:
    """Lines of JSON on what was standard output; whatever a library prints goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._began = (0.0, 0.0)
        self._imported = memory("VmRSS")

    def ready(self) -> None:
        self._say({"ready": True})

    def wait(self) -> bool:
        """Block until the next step is asked for; False when there is none."""
        go = sys.stdin.readline().strip() == "go"
        self._began = (time.perf_counter(), time.process_time())
        return go

    def done(self, extra: dict[str, float] | None = None) -> None:
        wall, cpu = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        peak = memory("VmHWM")
        self._say(
            {"seconds": wall, "cpu_seconds": cpu, "peak_mb": peak, "work_mb": peak - self._imported, **(extra or {})}
        )

    def serve(self, step: Callable[[], object]) -> None:
        """Run `step` as often as asked; where it returns numbers, they are reported too."""
        self.ready()
        while self.wait():
            found = step()
            self.done(found if isinstance(found, dict) else None)

    def _say(self, message: dict[str, object]) -> None:
        print(json.dumps(message), file=self._out, flush=True)


def memory(field: str) -> float:
    """MB of this process: VmRSS now, VmHWM at its peak."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field + ":"))
