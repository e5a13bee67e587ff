"""Reports on components: first their settings, without torch, then what each computes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from align_lab.base import registry
from align_lab.base.component import Component
from align_lab.base.download import no_downloads
from align_lab.base.task import Example
from align_lab.testing import components
from align_lab.testing.outcomes import Outcome, failure

COMPUTING = {  # kinds of which more than the settings can be checked -> the module that checks it
    "algo": "align_lab.testing.algorithms",
    "data": "align_lab.testing.data",
    "model": "align_lab.testing.models",
    "reward": "align_lab.testing.rewards",
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A component and the fields that differ from its defaults."""

    kind: str
    name: str
    fields: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.kind}={self.name}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcomes of all checks of one component."""

    choice: Choice
    outcomes: tuple[Outcome, ...]

    @property
    def problems(self) -> list[str]:
        """Every problem, with the component and the check that found it."""
        return [f"{self.choice}: {one.check}: {problem}" for one in self.outcomes for problem in one.problems]

    @property
    def skipped(self) -> list[str]:
        """Every check that was not made, and why."""
        return [f"{self.choice}: {one.check}: {one.skipped}" for one in self.outcomes if one.skipped]


def check(
    kind: str, name: str, /, *, examples: Sequence[Example] | None = None, downloads: bool = True, **fields: Any
) -> list[str]:
    """Every problem of one component, a sentence each; empty where it keeps its contract.

    `fields` are the component's own, where they differ from its defaults. `examples` are for a reward that reads
    columns. With downloads=False a data set that would download is not built. A check that could not be made is a
    problem here, unless it would have downloaded. Raises ConfigError for an unknown kind or name.
    """
    registry.lookup(kind, name)
    (report,) = reports([Choice(kind=kind, name=name, fields=fields)], examples=examples, downloads=downloads)
    return report.problems + (report.skipped if downloads else [])


def assert_contract(
    kind: str, name: str, /, *, examples: Sequence[Example] | None = None, downloads: bool = True, **fields: Any
) -> None:
    """`check`, for a test. Raises AssertionError that lists every problem."""
    problems = check(kind, name, examples=examples, downloads=downloads, **fields)
    assert not problems, "\n" + "\n".join(problems)


def reports(
    choices: Sequence[Choice], *, examples: Sequence[Example] | None = None, downloads: bool = False
) -> Iterator[Report]:
    """One report a component, in order. The settings of all are read before the first check that imports torch."""
    about_settings = [list(components.outcomes_of(choice.kind, _class(choice), choice.fields)) for choice in choices]
    for choice, first in zip(choices, about_settings, strict=True):
        component = None if any(one.problems or one.skipped for one in first) else _component(choice)
        rest = () if component is None else _computed(choice.kind, component, examples, downloads)
        yield Report(choice=choice, outcomes=(*first, *rest))


def _class(choice: Choice) -> type[Component]:
    return registry.lookup(choice.kind, choice.name)


def _component(choice: Choice) -> Component:
    return registry.construct(_class(choice), choice.fields)


def _computed(
    kind: str, component: Component, examples: Sequence[Example] | None, downloads: bool
) -> tuple[Outcome, ...]:
    if kind not in COMPUTING:
        return ()
    with nullcontext() if downloads else no_downloads():
        try:
            module = importlib.import_module(COMPUTING[kind])
            return tuple(module.outcomes_of(component, examples) if kind == "reward" else module.outcomes_of(component))
        except (Exception, SystemExit) as error:
            return (failure(kind, error),)
