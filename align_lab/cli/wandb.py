"""`python -m align_lab wandb ...`: what concerns Weights & Biases."""

from __future__ import annotations

import argparse
import importlib

VERBS = {
    "push": "align_lab.cli.wandb_push:push",
    "dashboard": "align_lab.cli.wandb_dashboard:dashboard",
}


def wandb(args: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m align_lab wandb", description=__doc__, add_help=not {*args[:1]} & {*VERBS}
    )
    parser.add_argument(
        "verb",
        choices=VERBS,
        help="push STUDY: send what W&B lacks; dashboard STUDY: a comparison workspace and a report",
    )
    verb = parser.parse_args(args[:1]).verb
    module, _, function = VERBS[verb].partition(":")
    return getattr(importlib.import_module(module), function)(args[1:])
