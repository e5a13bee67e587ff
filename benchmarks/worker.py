"""The protocol between a contender and the benchmark: wait for "go", take one step, report seconds and memory.

Standard library only, because the contenders run in different Python environments.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable


class Gate:
    """Writes lines of JSON to the original standard output; what libraries print is redirected to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._began = (0.0, 0.0)
        self._imported = memory("VmRSS")

    def ready(self) -> None:
        self._send({"ready": True})

    def wait(self) -> bool:
        """Block until the next step is requested. Returns False when there is none."""
        go = sys.stdin.readline().strip() == "go"
        self._began = (time.perf_counter(), time.process_time())
        return go

    def done(self, extra: dict[str, float] | None = None) -> None:
        wall, cpu = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        peak = memory("VmHWM")
        self._send(
            {"seconds": wall, "cpu_seconds": cpu, "peak_mb": peak, "work_mb": peak - self._imported, **(extra or {})}
        )

    def serve(self, step: Callable[[], object]) -> None:
        """Run `step` as often as requested. Numbers that it returns are reported too."""
        self.ready()
        while self.wait():
            numbers = step()
            self.done(numbers if isinstance(numbers, dict) else None)

    def _send(self, message: dict[str, object]) -> None:
        print(json.dumps(message), file=self._out, flush=True)


def memory(field: str) -> float:
    """Memory of this process in MB: VmRSS now, VmHWM at its peak."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field + ":"))
