"""Conformance with another trainer, by running it: one recorded experience through its loss and through ours.

    python -m benchmarks.conformance [--with trl] [--algo grpo] [--json FILE]
    python -m benchmarks.conformance --recorded            the values of the last recording, without TRL: seconds
    python -m benchmarks.conformance --record              run TRL, and write its values for the tests

TRL is installed in an environment of its own at the first run. The first quantity that differs is named. Exit status: 0
if every comparison ends as the table of cases declares, 1 if one does not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.conformance import ours, recording
from benchmarks.conformance.cases import Case
from benchmarks.conformance.comparing import Outcome, compare
from benchmarks.conformance.report import as_json, show, write_docs, write_recording
from benchmarks.conformance.table import CASES
from benchmarks.trl_environment import offline, trl_python

HERE = Path(__file__).parent
RECORDED = HERE.parents[1] / "tests" / "benchmarks" / "values" / "trl_1_16.json"


def run_trl(cases: Sequence[Case]) -> tuple[dict[str, Any], list[Outcome]]:
    """TRL's values, with the record and their provenance, and the comparisons with ours."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        record = recording.write(folder)
        jobs = [{**asdict(case), "name": case.name, "scores": ours.scores(case, record)} for case in cases]
        (folder / "job.json").write_text(json.dumps({"record": record, "cases": jobs}))
        command = [str(trl_python()), "trl_worker.py", work]
        done = subprocess.run(command, cwd=HERE, env=offline(PYTHONPATH=str(HERE)), capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"TRL's side failed:\n{done.stderr[-4000:]}")
        content = {"date": time.strftime("%Y-%m-%d"), **json.loads((folder / "trl.json").read_text()), "record": record}
        return content, [outcome(case, content, folder) for case in cases]


def from_recording(cases: Sequence[Case], file: Path = RECORDED) -> tuple[dict[str, Any], list[Outcome]]:
    """The same with the values of a recording. The models of the record are made again, from their seeds."""
    content = json.loads(file.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as work:
        recording.write(Path(work))
        return content, [outcome(case, content, Path(work)) for case in cases]


def outcome(case: Case, content: dict[str, Any], folder: Path) -> Outcome:
    """Compare a case with TRL's values. `folder`: the models of the record."""
    record, theirs = content["record"], content["results"][case.name]
    result = ours.quantities(case, record, theirs) | ours.log_probabilities(case, record, folder)
    return compare(case, result, theirs)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conformance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--with", dest="other", choices=["trl"], default="trl")
    parser.add_argument("--algo", choices=sorted({case.algo for case in CASES}), action="append")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    parser.add_argument("--docs", action="store_true", help="write the table of docs/conformance.md")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--recorded", action="store_true", help="compare with the recorded values; TRL is not run")
    source.add_argument("--record", action="store_true", help=f"write TRL's values to {RECORDED.name}")
    options = parser.parse_args()
    if options.algo and (options.record or options.docs):
        parser.error("--record and --docs write the values of all algorithms: leave --algo out")
    cases = [case for case in CASES if not options.algo or case.algo in options.algo]
    if options.recorded:
        content, outcomes = from_recording(cases)
    else:
        content, outcomes = run_trl(cases)
    if options.record:
        write_recording(content, RECORDED)
    if options.docs:
        write_docs(outcomes)
    show(outcomes, content, Console(highlight=False, width=max(150, Console().width)))
    if options.json:
        options.json.write_text(json.dumps(as_json(outcomes, content), indent=2) + "\n", encoding="utf-8")
    return 0 if all(one.holds for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
