"""`align_lab wandb VERB STUDY`: a study on Weights & Biases."""

from __future__ import annotations

import importlib

from align_lab.cli.arguments import Arguments

VERBS = {
    "push": "align_lab.cli.wandb_push:push",
    "dashboard": "align_lab.cli.wandb_dashboard:dashboard",
}


def wandb(args: list[str]) -> int:
    """Call one of VERBS. Returns its exit status."""
    parser = Arguments(
        prog="align_lab wandb",
        usage="align_lab wandb {push,dashboard} STUDY [--help]",
        description="A study on Weights & Biases.",
        epilog="Each has options of its own: align_lab wandb push --help",
        add_help=not {*args[:1]} & {*VERBS},
    )
    parser.add_argument(
        "verb",
        choices=VERBS,
        metavar="VERB",
        help="push STUDY: upload the rows that W&B lacks; dashboard STUDY: a comparison workspace and a report",
    )
    verb = parser.parse_args(args[:1]).verb
    module, _, function = VERBS[verb].partition(":")
    return getattr(importlib.import_module(module), function)(args[1:])
