"""`align_lab list`: the options of every config group, or of one."""

from __future__ import annotations

from collections.abc import Sequence

from align_lab.base import answer, registry
from align_lab.cli.arguments import Arguments
from align_lab.cli.plugin_argument import EPILOG, import_plugins, split
from align_lab.config import schema
from align_lab.config.groups import GROUPS, options


def list_options(args: Sequence[str]) -> int:
    """Print every option with its headline."""
    plugins, others = split(args)
    parser = Arguments(
        prog="align_lab list",
        usage="align_lab list [GROUP] [plugins=[MODULE,...]]",
        description="The options of every config group, or of one.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "group", nargs="?", choices=[*GROUPS, "sweeps"], metavar="GROUP", help=", ".join([*GROUPS, "sweeps"])
    )
    group = parser.parse_args(others).group
    registry.scan()
    import_plugins(plugins)
    schema.publish()
    listed = {name: options(name) for name in ([group] if group else [*GROUPS, "sweeps"])}
    answer.give({"groups": listed})
    for name, headlines in listed.items():
        print(name)
        for option, headline in headlines.items():
            print(f"  {option:<22}{headline}".rstrip())
    return 0
