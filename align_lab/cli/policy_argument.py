"""The arguments RUN and --checkpoint of export and chat: the trained policy of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from align_lab.base.errors import ConfigError, near
from align_lab.base.paths import runs_folder
from align_lab.cli.arguments import Arguments
from align_lab.record.layout import CONFIG, RunLayout

if TYPE_CHECKING:
    from align_lab.run.trained import Trained


def parser_of(verb: str, description: str) -> Arguments:
    """A parser with both arguments."""
    parser = Arguments(prog=f"align_lab {verb}", description=description)
    parser.add_argument("run", metavar="RUN", help="a run's folder: a path, or STUDY/NAME or NAME under runs/")
    parser.add_argument(
        "--checkpoint",
        default="last",
        metavar="STEP",
        help="a step with a checkpoint, last (default), or best (highest score on the development set)",
    )
    add_trust(parser)
    return parser


def add_trust(parser: argparse.ArgumentParser) -> None:
    """The argument --trust."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="somebody else's run may execute what its config names: plug-ins, files",
    )


def load(options: argparse.Namespace) -> Trained:
    """The policy that the arguments name. Raises ConfigError."""
    folder = run_folder(options.run)
    from align_lab.run import trained  # torch, which a name that is wrong need not wait for

    return trained.load_trained(folder, options.checkpoint, trusted=options.trust)


def run_folder(name: str) -> Path:
    """A run by path, or by its folder's name under runs/. Raises ConfigError with the nearest name."""
    for folder in (Path(name), runs_folder() / name, *runs_folder().glob(f"*/{name}")):
        if RunLayout(folder).config.exists():
            return folder
    runs = [f"{path.parent.parent.name}/{path.parent.name}" for path in runs_folder().glob(f"*/*/{CONFIG}")]
    if not runs:
        raise ConfigError(
            f"there is no run {name!r}, and none under {runs_folder().resolve()}. Type align_lab algo=rloo"
        )
    raise ConfigError(f"there is no run {name!r}: {near(name, runs, show_all=5)}")
