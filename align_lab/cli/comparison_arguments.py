"""The arguments that `compare` and `gate` share: studies, runs of other programs, settings that may differ."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from align_lab.base.errors import ConfigError
from align_lab.cli.arguments import Arguments

if TYPE_CHECKING:
    from align_lab.compare.foreign.reader import ForeignRuns

FOREIGN = """  --from trl DIR              trainer_state.json, in DIR or below it
  --from verl DIR             PROJECT/EXPERIMENT.jsonl of trainer.logger=[console,file]
  --from openrlhf FILE        its logged rows: .jsonl, .json, .csv or .parquet
  --from prime_rl DIR         metrics.jsonl of its file monitor, in DIR or below it
  --from wandb FILE           a chart, runs table or history as W&B exports it (.csv, .json, .jsonl, .parquet)
  --from wandb TEAM/PROJECT   every row of the project's finished runs, through the API (WANDB_API_KEY)
Arm and seed are read from a config beside the file, or from names such as grpo-s1 and grpo/seed1; or given:
arm=grpo seed=1.
Their configs are compared with ours field by field (docs/other_trainers.md): those beside the file are found, others
are given: config=FILE (JSON, yaml, TOML, or the script with the command line), version=1.16, trainer=grpo.
Arms with other rewards get no winner; where two names are one reward, say so: reward=NAME behind each --from.
Columns that have other names: map=FILE, a yaml such as
  metrics:
    eval/score: [my_eval_reward]
    objective/scores: [my_train_reward]
"""
FIELDS = "a setting that may differ, or a group of them (numerics, evaluation, source); may be given again"


def parser(verb: str, *, description: str, epilog: str) -> Arguments:
    """A parser with --from and --allow, whose epilog keeps its lines."""
    made = Arguments(
        prog=f"align_lab {verb}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--from",
        action="append",
        nargs="+",
        default=[],
        dest="foreign",
        metavar=("SOURCE PATH", "arm=NAME seed=N map=FILE config=FILE version=V trainer=NAME reward=NAME"),
        help="runs of another program (below); may be given again",
    )
    made.add_argument("--allow", action="append", default=[], metavar="FIELD", help=FIELDS)
    return made


def foreign_runs(verb: str, typed: Sequence[Sequence[str]], *, alone: bool) -> ForeignRuns | None:
    """The runs of every --from, `alone` where no study is named. Raises ConfigError where there is neither."""
    if not typed and alone:
        raise ConfigError(f"{verb} needs a STUDY, or runs of another program: --from SOURCE PATH. See {verb} --help")
    if not typed:
        return None
    from align_lab.compare.foreign import reader

    return reader.read(typed, alone=alone)
