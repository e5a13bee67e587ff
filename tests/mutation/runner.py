"""Puts a mutant in the place of the code that is loaded, in a forked process, and asks the tests until one notices.

Nothing is written: the functions of the module get the code of the changed text. The golden trajectories are not asked,
because they are written by the code that they guard.
"""

from __future__ import annotations

import ast
import functools
import importlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
NOT_KNOWING = "not golden_one and not several_processes and not bit_identical"  # written by the code, or slow
WHOLE_RUNS = "tests/wiring"
NOT_APPLIED, LATE = "the change is in no function", "the seconds ended before the last test"
ENDED = "the process ended without an answer"
UNDECIDED = (NOT_APPLIED, LATE, ENDED)
FIRST = ("first_update", "data", "pairs", "reference", "critic", "sources", "updates", "charges")  # of whole runs
OWN_TESTS = {  # by the beginning of a file's path: what is asked first
    "equations/": ["tests/equations", "tests/golden"],
    "algos/": ["tests/golden", "tests/algos"],
    "rollout/torch_sampler": ["tests/rollout/test_torch_sampler.py"],
    "rollout/sampler": ["tests/rollout/test_torch_sampler.py"],
    "rollout/": ["tests/rollout/test_long_prompts.py"],
    "stages/": ["tests/stages"],
    "rewards/pair": ["tests/rewards/test_reward_model.py"],
    "rewards/verifier": ["tests/rewards/test_verifier.py"],
    "rewards/math": ["tests/rewards/test_math_answers.py", "tests/rewards/test_verifier.py"],
    "rewards/": ["tests/rewards/test_simple_rewards.py", "tests/rewards/test_combinations.py"],
    "train/checkpoint": ["tests/train/test_checkpoint.py"],
    "train/evaluat": ["tests/train/test_evaluate.py"],
    "train/intervals": ["tests/train/test_evaluate.py", "tests/train/test_pass_at.py"],
    "train/pass_at": ["tests/train/test_pass_at.py"],
    "train/scoring": ["tests/train/test_scoring.py"],
    "train/muon": ["tests/train/test_muon.py"],
    "train/sft": ["tests/train/test_sft.py", "tests/train/test_sft_demonstrations.py"],
    "train/imitated": ["tests/train/test_sft_demonstrations.py"],
    "train/engines": ["tests/train/test_engines.py", "tests/train/test_update.py"],
    "train/data_pairs": ["tests/train/test_preference_data.py"],
    "train/pair_source": ["tests/train/test_preference_data.py"],
    "train/loop": ["tests/train/test_loop.py"],
    "train/micro": ["tests/train/test_update.py"],
    "train/update": ["tests/train/test_update.py"],
}
TESTS = [WHOLE_RUNS, *dict.fromkeys(path for paths in OWN_TESTS.values() for path in paths)]


def own_tests(file: str) -> list[str]:
    """The tests of a module itself."""
    return next((tests for start, tests in OWN_TESTS.items() if file.startswith(start)), [])


def apply(file: str, text: str) -> None:
    """Give the loaded module `file` the code of `text`. Raises LookupError where nothing of it can be replaced."""
    module = importlib.import_module("align_lab." + file.removesuffix(".py").replace("/", "."))
    path = CHECKOUT / "align_lab" / file
    codes = {code.co_qualname: code for code in _codes(compile(text, str(path), "exec"))}
    old = {code.co_qualname: code for code in _codes(compile(path.read_text(), str(path), "exec"))}
    changed = {name for name, code in codes.items() if code != old.get(name)}
    functions = [one for one in _functions(module) if one.__qualname__ in changed]
    for function in functions:
        function.__code__ = codes[function.__qualname__]
    if not functions and not _set_constants(module, path.read_text(), text):
        raise LookupError(f"{file}: the change is in no function")


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of every function and method; what is inside a function belongs to it."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            if not inner.co_flags & 0x0002:  # the body of a class, which is not optimized
                yield from _codes(inner)


def _functions(owner: ModuleType | type) -> Iterator[FunctionType]:
    name = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
    for value in list(vars(owner).values()):
        if isinstance(value, type) and value.__module__ == name and value is not owner:
            yield from _functions(value)
        inner: Any = value
        if isinstance(inner, (staticmethod, classmethod)):
            inner = inner.__func__
        if isinstance(inner, property):
            inner = inner.fget
        if isinstance(inner, functools.cached_property):
            inner = inner.func
        while hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        if isinstance(inner, FunctionType) and inner.__module__ == name:
            yield inner


def _set_constants(module: ModuleType, before: str, after: str) -> bool:
    """Names that the text gives another value outside functions and classes."""
    old = {ast.dump(statement) for statement in ast.parse(before).body}
    new = [one for one in ast.parse(after).body if isinstance(one, ast.Assign) and ast.dump(one) not in old]
    for statement in new:
        exec(compile(ast.Module(body=[statement], type_ignores=[]), module.__name__, "exec"), vars(module))
    return bool(new)


class Asking:
    """A pytest plugin: in place of running the tests, it calls `ask` with itself."""

    def __init__(self, ask: Callable[[Asking], None], seconds: float) -> None:
        self.ask, self.seconds = ask, seconds
        self.items: list[Any] = []
        self.failed: list[str] = []
        self.sound: dict[str, bool] = {}  # does a test pass without any change?

    def pytest_runtestloop(self, session: Any) -> bool:
        self.items = list(session.items)
        self.ask(self)
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def order(self, file: str) -> list[Any]:
        """The tests of the module itself and of whole runs: the first case of each test, then the second of each."""
        own = own_tests(file)
        groups: dict[str, list[Any]] = {}
        for item in self.items:
            if item.nodeid.startswith((*own, WHOLE_RUNS)):
                groups.setdefault(item.nodeid.split("[")[0], []).append(item)
        keyed = [
            (_rank(item.nodeid, own), number, position, item)
            for position, cases in enumerate(groups.values())
            for number, item in enumerate(cases)
        ]
        return [item for *_, item in sorted(keyed, key=lambda one: (one[1] > 0, one[1] > 1, *one[:3]))]

    def verdict(self, file: str, text: str) -> str:
        """The first test that fails with this text of the file; "" where none of all does; or one of UNDECIDED."""
        tests = self.order(file)
        while True:
            killer = self._in_child(tests, lambda: apply(file, text))
            if killer in UNDECIDED:
                return killer
            test = next((item for item in tests if item.nodeid == killer), None)
            if test is None or self._is_sound(test):
                return killer
            tests = [item for item in tests if item is not test]

    def _is_sound(self, test: Any) -> bool:
        if test.nodeid not in self.sound:
            self.sound[test.nodeid] = not self._in_child([test], lambda: None)
        return self.sound[test.nodeid]

    def _in_child(self, tests: Sequence[Any], change: Callable[[], None]) -> str:
        """Run the tests up to the first one that fails, and name it."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reading)
                os.write(writing, self._ask_all(tests, change).encode())
            finally:
                os._exit(0)
        os.close(writing)
        ended = select.select([reading], [], [], self.seconds + 60)[0]
        answer = os.read(reading, 10_000).decode() if ended else LATE
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        return "" if answer == "passed" else answer or ENDED

    def _ask_all(self, tests: Sequence[Any], change: Callable[[], None]) -> str:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1), os.dup2(quiet, 2)
        try:
            change()
        except LookupError:
            return NOT_APPLIED
        end = time.monotonic() + self.seconds
        for item, following in zip(tests, [*tests[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return self.failed[0]
            if time.monotonic() > end and following is not None:
                return LATE
        return "passed"


def _rank(nodeid: str, own: Sequence[str]) -> int:
    """The module's own tests first."""
    if nodeid.startswith(tuple(own)):
        return -1
    return next((i for i, name in enumerate(FIRST) if f"test_{name}.py" in nodeid), len(FIRST))


def collect(ask: Callable[[Asking], None], seconds: float) -> None:
    """Import and collect the tests, then call `ask`. No test runs in this process."""
    os.chdir(CHECKOUT)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "-k", NOT_KNOWING]
    status = pytest.main([*options, *TESTS], plugins=[Asking(ask, seconds)])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        sys.exit(f"the tests could not be collected: pytest ends with {status}")
