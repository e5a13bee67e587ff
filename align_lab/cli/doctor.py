"""`align_lab doctor`: does every component keep its contract, and what can this machine do?"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from align_lab.base import answer, registry
from align_lab.base.errors import ConfigError, near
from align_lab.cli.arguments import Arguments
from align_lab.config.groups import GROUPS, options
from align_lab.testing.outcomes import in_words
from align_lab.testing.reports import Choice, Report, reports

if TYPE_CHECKING:
    from align_lab.cli.machine import Line

ABOUT = """\
Check every registered component, or the ones that are named, against the contract of its kind, then this machine.

Nothing is downloaded and no model is trained: a check that would need it is skipped, and named.
Exit status: 0 nothing is wrong, 1 a component breaks its contract, 2 wrong command. Warnings do not fail.
"""
EXAMPLES = """\
examples:
  align_lab doctor
  align_lab doctor plugins=[my_module]                      with the components of my_module.py
  align_lab doctor plugins=[my_module] reward=mine reward.weight=2
  align_lab doctor model=hf model.path=FOLDER --json
"""


def doctor(args: Sequence[str]) -> int:
    """Print a line for each component and each part of the machine. Returns 1 when a component breaks its contract."""
    options_ = _parser().parse_args(args)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    plugins, words = _parse(options_.words)
    unusable = list(_import(plugins))
    chosen = _chosen(words)
    page = _Json() if answer.wanted() else _Text()
    page.section("Components")
    for name, problem in unusable:
        page.component(name, [f"{name}: {problem}"], [])
    broken = bool(unusable)
    for report in reports(chosen):
        page.component(str(report.choice), report.problems, _skipped(report))
        broken |= bool(report.problems)
    from align_lab.cli import machine

    page.section("Machine")
    for line in machine.lines():
        page.machine(line)
    page.end(broken)
    return int(broken)


def _parser() -> Arguments:
    parser = Arguments(
        prog="align_lab doctor",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="plugins=[M] | KIND=NAME | KIND.FIELD=VALUE", help="default: all")
    return parser


def _parse(words: Sequence[str]) -> tuple[tuple[str, ...], list[Any]]:
    """(plug-ins, the other words as Hydra's overrides). Raises ConfigError for a word that chooses no component."""
    if not words:
        return (), []
    from align_lab.config import overrides

    parsed = overrides.parse(words)
    rest = [one for one in parsed if one.key_or_group != "plugins"]
    for one in rest:
        if one.key_or_group.partition(".")[0] not in GROUPS:
            raise ConfigError(
                f"{one.input_line}: doctor takes plugins=[MODULE], KIND=NAME and KIND.FIELD=VALUE, "
                f"for example algo=rloo. Kinds: {', '.join(GROUPS)}"
            )
    return overrides.plugins(parsed), rest


def _import(plugins: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Import all components. Yields (plug-in, problem) for one whose components cannot be registered.

    Raises ConfigError where there is no such module.
    """
    registry.scan()
    for plugin in plugins:
        try:
            registry.scan((plugin,))
        except ConfigError as error:
            if error.__suppress_context__ and isinstance(error.__context__, ModuleNotFoundError):
                raise
            yield f"plugins=[{plugin}]", str(error)
        except (Exception, SystemExit) as error:
            yield f"plugins=[{plugin}]", f"importing it fails: {in_words(error)}"


def _chosen(parsed: Sequence[Any]) -> list[Choice]:
    """The named components, or all."""
    if not parsed:
        return [Choice(kind=kind, name=name, fields={}) for kind in registry.kinds() for name in registry.names(kind)]
    chosen = [one for one in parsed if "." not in one.key_or_group]
    fields: dict[str, list[Any]] = {one.key_or_group: [] for one in chosen}
    for one in parsed:
        kind, dot, _ = one.key_or_group.partition(".")
        if dot and kind not in fields:
            raise ConfigError(
                f"{one.input_line}: name the component as well, for example {kind}={registry.names(kind)[0]}"
            )
        fields[kind] += [one] if dot else []
    return [_choice(one, fields[one.key_or_group]) for one in chosen]


def _choice(chosen: Any, fields: Sequence[Any]) -> Choice:
    """A component by its own name, or an option of the config by the name of its file. Raises ConfigError."""
    kind, name = chosen.key_or_group, str(chosen.value())
    if name in registry.names(kind) and not fields:
        return Choice(kind=kind, name=name, fields={})
    if name not in options(kind):
        raise ConfigError(f"{kind}={name} is not known: {near(name, {*options(kind), *registry.names(kind)})}")
    values = _composed(kind, str(chosen.input_line), fields)
    return Choice(kind=kind, name=str(values.pop("name")), fields=values)


def _composed(kind: str, option: str, fields: Sequence[Any]) -> dict[str, Any]:
    """All fields of an option of the config, some of them replaced. Raises ConfigError for a wrong one."""
    from align_lab.base import run_config
    from align_lab.config import composition, inner_rewards, overrides, schema

    schema.publish()
    config = composition.hydra_compose([option])
    if wrong := [problem for one in fields if (problem := overrides.field_problem(config, one))]:
        raise ConfigError("\n".join(wrong))
    for one in fields:
        overrides.apply(config, one)
    values = dict(run_config.plain(config[kind]))
    return inner_rewards.with_inner(kind, values) if kind == "reward" else values


def _skipped(report: Report) -> list[str]:
    """Why checks were not made, each reason once."""
    return list(dict.fromkeys(one.skipped for one in report.outcomes if one.skipped))


class _Text:
    """Lines for people, printed as soon as they are known."""

    def section(self, title: str) -> None:
        print(title)

    def component(self, name: str, problems: Sequence[str], skipped: Sequence[str]) -> None:
        for problem in problems:
            print(f"  problem  {problem}", flush=True)
        if not problems:
            print(
                f"  {'skipped' if skipped else 'ok':<7}  {': '.join([name, '; '.join(skipped)]).rstrip(': ')}",
                flush=True,
            )

    def machine(self, line: Line) -> None:
        print(f"  {line.state:<7}  {line.name:<10} {line.text}", flush=True)

    def end(self, broken: bool) -> None:
        if broken:
            print("A component breaks its contract: align_lab/base/contracts.py states it.")


class _Json:
    """One document at the end."""

    def __init__(self) -> None:
        self.components: list[dict[str, Any]] = []
        self.lines: list[dict[str, str]] = []

    def section(self, title: str) -> None:
        """A document has no headings."""

    def component(self, name: str, problems: Sequence[str], skipped: Sequence[str]) -> None:
        self.components.append({"component": name, "problems": list(problems), "skipped": list(skipped)})

    def machine(self, line: Line) -> None:
        self.lines.append(asdict(line))

    def end(self, broken: bool) -> None:
        answer.give({"ok": not broken, "components": self.components, "machine": self.lines})
