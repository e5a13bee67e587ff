"""`align_lab show algo=ppo_max`: the card of an option, from docstrings, fields and YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from align_lab.base import answer
from align_lab.base.errors import ConfigError
from align_lab.cli import commands
from align_lab.cli.arguments import Arguments
from align_lab.cli.card import as_markdown, as_text, card
from align_lab.cli.plugin_argument import EPILOG, split
from align_lab.config.groups import GROUPS


def show(args: Sequence[str]) -> int:
    """Print the card of GROUP=OPTION. Raises ConfigError for anything else."""
    plugins, others = split(args)
    parser = Arguments(
        prog="align_lab show",
        usage="align_lab show GROUP=OPTION [--markdown] [plugins=[MODULE,...]]",
        description="What an option computes, its papers, its fields with their defaults, the tests that pin it.",
        epilog=f"Groups: {', '.join(GROUPS)}; `align_lab list` has their options. {EPILOG}",
    )
    parser.add_argument("option", nargs="*", metavar="GROUP=OPTION", help="for example algo=ppo_max")
    parser.add_argument("--markdown", action="store_true", help="as a page of Markdown")
    parsed = parser.parse_args(others)
    group, _, name = parsed.option[0].partition("=") if len(parsed.option) == 1 else ("", "", "")
    if parsed.option and (options := commands.options_named(parsed.option[0])):
        raise ConfigError(f"show takes GROUP=OPTION. Did you mean align_lab show {options[0]}?")
    if group not in GROUPS or not name:
        raise ConfigError(
            f"show takes one GROUP=OPTION, for example: align_lab show algo=ppo_max. Groups: {', '.join(GROUPS)}"
        )
    shown = card(group, name, plugins)
    answer.give(asdict(shown))
    print(as_markdown(shown).rstrip() if parsed.markdown else as_text(shown))
    return 0
