"""Asks the tests about a mutant, in a forked process, until one notices.

Nothing is written. The golden trajectories and the index of papers are not asked, because they are written by the code
that they guard.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from tests.mutation import calls
from tests.mutation.children import answers
from tests.mutation.replaced import CHECKOUT, apply, changed_functions

NOT_KNOWING = "not golden_one and not test_papers and not several_processes and not bit_identical"  # or slow
TESTS = [
    *("tests/equations", "tests/golden", "tests/algos", "tests/wiring", "tests/stages", "tests/models/test_logp.py"),
    *("tests/rollout/test_torch_sampler.py", "tests/rollout/test_long_prompts.py"),
    *(
        f"tests/rewards/test_{name}.py"
        for name in (
            *("simple_rewards", "combinations", "reward_model", "verifier", "math_answers"),
            *("judge", "hf_classifier", "python_function", "user_function", "remote"),
        )
    ),
    *(
        f"tests/train/test_{name}.py"
        for name in (
            *("arrival", "by_length", "checkpoint", "draws", "engines", "equal_scores", "evaluate", "loop", "muon"),
            *("one_step_off", "other_engine", "overlap", "pass_at", "preference_data", "preference_training", "ranks"),
            *("refills", "sampled_pairs", "scoring", "scoring_batches", "sft", "sft_demonstrations", "step_metrics"),
            "update",
        )
    ),
]  # of one process
OWN_TESTS = {  # what is asked first, by the beginning of a file's path
    "equations/": ("tests/equations", "tests/golden"),
    "algos/": ("tests/golden", "tests/algos"),
    "rollout/": ("tests/rollout",),
    "stages/": ("tests/stages",),
    "rewards/": ("tests/rewards",),
    "train/": ("tests/train",),
}
NOT_APPLIED, LATE = "the change is in no function", "the seconds ended before the last test"
ENDED = "the process ended without an answer"
UNDECIDED = (NOT_APPLIED, LATE, ENDED)


class Asking:
    """A pytest plugin: in place of running the tests, it calls `ask` with itself."""

    def __init__(
        self, ask: Callable[[Asking], None], *, seconds: float, at_once: int, cases: int, noticed: dict[str, set[str]]
    ) -> None:
        self.ask, self.seconds, self.at_once, self.cases = ask, seconds, at_once, cases
        self.sound: set[str] = set()  # tests that passed without a change after they had noticed one
        self.noticed = noticed  # by file: the tests that noticed a change of it, which are asked first
        self.items: list[Any] = []
        self.failed: list[str] = []
        self.records: dict[str, calls.Record] = {}

    def pytest_runtestloop(self, session: Any) -> bool:
        importlib.import_module("torch._dynamo")  # every optimizer imports it, else anew in every forked process
        importlib.import_module("tests.wiring.conftest").composed("algo=rloo")  # as most of its tests do
        self.records = calls.records(session.items, self._passes, at_once=self.at_once)
        self.items = [item for item in session.items if self.records[item.nodeid]["passed"]]
        self.ask(self)
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def verdicts(self, mutants: Iterable[Any]) -> Iterator[tuple[Any, str]]:
        """Each mutant, with the first test that fails; "" where none of all does; or one of UNDECIDED."""
        for mutant, answer in answers(mutants, self._verdict, at_once=self.at_once, seconds=3 * self.seconds):
            if answer and answer not in UNDECIDED:
                self.sound.add(answer)
                self.noticed.setdefault(mutant.file, set()).add(answer)
            yield mutant, ENDED if answer is None else answer

    def _verdict(self, mutant: Any) -> str:
        try:
            tests = self.order(mutant.file, mutant.text)
        except LookupError:
            return NOT_APPLIED
        while True:
            killer = self._in_child(tests, lambda: apply(mutant.file, mutant.text))
            test = next((item for item in tests if item.nodeid == killer), None)
            if test is None or killer in self.sound or not self._in_child([test], lambda: None):
                return killer
            tests = [item for item in tests if item is not test]  # it fails without the change as well

    def order(self, file: str, text: str) -> list[Any]:
        """The tests that call what is changed: the first cases of each; those first that noticed another change of the
        file, then the module's own, then the fastest."""
        changed = {f"{file}:{name}" for name in changed_functions(file, text)}
        own = next((tests for start, tests in OWN_TESTS.items() if file.startswith(start)), ())
        cases: Counter[str] = Counter()
        keyed = []
        for position, item in enumerate(self.items):
            record = self.records[item.nodeid]
            if not any(one in changed if changed else one.startswith(f"{file}:") for one in record["functions"]):
                continue
            number, name = cases[item.nodeid.split("[")[0]], item.nodeid.split("[")[0]
            cases[name] += 1
            if number >= self.cases:
                continue
            unknown = item.nodeid not in self.noticed.get(file, ())
            keyed.append((min(number, 2), unknown, not item.nodeid.startswith(own), record["seconds"], position, item))
        return [item for *_, item in sorted(keyed)]

    def _in_child(self, tests: Sequence[Any], change: Callable[[], None]) -> str:
        """The first test that fails; "" where none does; or one of UNDECIDED."""

        def asked(tests: Sequence[Any]) -> str:
            try:
                change()
            except LookupError:
                return NOT_APPLIED
            end = time.monotonic() + self.seconds
            for item, following in zip(tests, [*tests[1:], None], strict=False):
                if time.monotonic() > end:
                    return LATE
                if not self._passes(item, following):
                    return item.nodeid
            return ""

        answer = next(answers([tests], asked, at_once=1, seconds=2 * self.seconds))[1]
        return ENDED if answer is None else answer

    def _passes(self, item: Any, following: Any = None) -> bool:
        """Run one test in a forked process; what the one that follows does not need is torn down."""
        quiet = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(quiet, descriptor)
        os.close(quiet)
        self.failed.clear()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        return not self.failed


def collect(asking: Asking, tests: Sequence[str] = TESTS) -> None:
    """Import and collect the tests, then ask. No test runs in this process."""
    os.chdir(CHECKOUT)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "-k", NOT_KNOWING]
    status = pytest.main([*options, *tests], plugins=[asking])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        sys.exit(f"the tests could not be collected: pytest ends with {status}")
