"""Lists at the end of the test run the golden values that were not compared, with the reason."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "tests/golden/" in report.nodeid]
    if skipped:
        terminalreporter.section("golden values that were not compared")
    for report in skipped:
        terminalreporter.write_line(f"{report.nodeid.split('::')[-1]}: {report.longrepr[2].removeprefix('Skipped: ')}")
