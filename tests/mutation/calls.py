"""Which functions of align_lab each test calls, and how long it takes: a test that calls no mutant need not be asked.

The tests of a file run once, in a process of their own. What fixtures call counts for all of them, because the first
one may have set them up for the others. The record is kept in `build/` by the text of the test's file. A record that is
stale can only make a mutant survive.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

from tests.mutation.children import answers
from tests.mutation.replaced import CHECKOUT, PACKAGE

KEPT = CHECKOUT / "build" / "mutation_calls.json"
Record = dict[str, Any]  # of a test: passed, seconds, functions ("FILE:QUALIFIED NAME"), digest of its file


def records(items: Sequence[Any], run: Callable[[Any, Any], bool], *, at_once: int) -> dict[str, Record]:
    """The record of each test. `run(item, following)` runs a test and says whether it passes."""
    kept: dict[str, Record] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    files: dict[Path, list[Any]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    missing = [
        path for path in files if any(kept.get(i.nodeid, {}).get("digest") != digests[path] for i in files[path])
    ]
    work = functools.partial(_recorded, files, run)
    for path, answer in answers(missing, work, at_once=at_once, seconds=3600):
        print(f"recorded {path.relative_to(CHECKOUT)}{'' if answer else ': it ended without an answer'}", flush=True)
        found = json.loads(answer) if answer else {}
        unknown = {"passed": False, "seconds": 0.0, "functions": []}
        kept |= {i.nodeid: {**found.get(i.nodeid, unknown), "digest": digests[path]} for i in files[path]}
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(kept))
    return kept


def _recorded(files: dict[Path, list[Any]], run: Callable[[Any, Any], bool], path: Path) -> str:
    """The records of the tests of a file, without its digest, as JSON."""
    called: set[CodeType] = set()
    shared: set[str] = set()
    found: dict[str, Record] = {}

    def trace(frame: Any, event: str, argument: object) -> None:
        called.add(frame.f_code)

    class Fixtures:
        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.when == "setup":
                shared.update(_names(called))

    items = files[path]
    items[0].config.pluginmanager.register(Fixtures())
    threading.settrace(trace)
    for item, following in zip(items, [*items[1:], None], strict=True):
        called.clear()
        start = time.monotonic()
        sys.settrace(trace)
        passed = run(item, following)
        sys.settrace(None)
        found[item.nodeid] = {"passed": passed, "seconds": time.monotonic() - start, "functions": _names(called)}
    return json.dumps({name: one | {"functions": sorted({*one["functions"], *shared})} for name, one in found.items()})


def _names(codes: set[CodeType]) -> list[str]:
    own = [
        (Path(code.co_filename), code.co_qualname) for code in codes.copy() if code.co_filename.startswith(str(PACKAGE))
    ]
    return [f"{path.relative_to(PACKAGE)}:{name.split('.<locals>')[0]}" for path, name in own]
