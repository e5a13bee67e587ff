"""Hydra's own flags (--cfg, --info, --multirun, --shell-completion), sweeps, and studies that decide as they go."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Override

from align_lab.base import answer
from align_lab.base.errors import ConfigError, near
from align_lab.base.paths import conf_folder, runs_folder
from align_lab.base.progress import NoticesOnly, listening
from align_lab.base.run_config import RunConfig, leaves
from align_lab.config import composition, file_lines, overrides, study, study_file, synonyms
from align_lab.config.explained import explained
from align_lab.config.groups import GROUPS
from align_lab.config.root import STUDY_KEYS
from align_lab.record.terminal import Terminal

OURS = ("--version", "--json")  # flags that Hydra does not know
SHELLS = ("bash", "zsh", "fish")
PRINTING = ("cfg", "info", "help", "hydra_help")
REFUSED = {  # a flag of Hydra -> what to do instead
    "experimental_rerun": "it would execute what the file holds. A comparison is repeated by `replay LOCK`",
    "config_path": "options of your own are files in ./conf/GROUP, studies in ./sweeps",
    "config_name": "options of your own are files in ./conf/GROUP, studies in ./sweeps",
    "config_dir": "options of your own are files in ./conf/GROUP, studies in ./sweeps",
}
_REFUSED_FLAGS = {name.replace("_", "-") for name in REFUSED}


def run(args: list[str]) -> int:
    """Check the overrides of every job, then do what the flags say. Returns the exit status."""
    try:
        with redirect_stderr(io.StringIO()):  # argparse would print its usage before our message
            arguments = get_args_parser().parse_intermixed_args(args)
    except SystemExit as ended:
        if not ended.code:  # --version has been printed
            return 0
        raise ConfigError(_not_understood(args)) from None
    _refuse_flags(arguments)
    _refuse_two_kinds(arguments)
    if arguments.shell_completion:
        return _complete(arguments.overrides)
    texts = study_file.expanded(arguments.overrides)
    parsed = overrides.parse(texts)
    composition.load_components(parsed)
    flags = [arg for arg in args if arg not in arguments.overrides and arg not in ("-m", "--multirun", "-r", "--run")]
    if any(getattr(arguments, name) for name in PRINTING):  # Hydra prints and runs nothing
        composed = composition.compose(texts)
        _check_package(arguments, composed.values)
        answer.give({"config": dict(composed.values), "choices": dict(composed.choices)})
        return _hydra(flags, [str(one.input_line) for one in [*parsed, *_steps_of_budget(composed)]])
    with listening(NoticesOnly(lambda text: print(text, file=sys.stderr, flush=True))):
        with file_lines.named(arguments.overrides):
            asked = study.read(texts)
        return _start(asked)


def _not_understood(args: Sequence[str]) -> str:
    """Which flags are unknown, and what they are near to."""
    known = [flag for flag in get_args_parser()._option_string_actions if flag.removeprefix("--") not in _REFUSED_FLAGS]
    unknown = [arg.partition("=")[0] for arg in args if arg.startswith("-") and arg.partition("=")[0] not in known]
    if not unknown:
        return f"{' '.join(args)}: not understood. See align_lab --help"
    return "\n".join(f"{flag} is not a flag: {_field(flag) or near(flag, [*known, *OURS])}" for flag in unknown)


def _field(flag: str) -> str:
    """What to type where a flag is the name of a field, ours or of another trainer; empty where it is none."""
    name = flag.lstrip("-").replace("-", "_")
    field = name if name in (*STUDY_KEYS, *GROUPS, "seed") else synonyms.field_of(name)
    return f"fields are set without dashes. Type {field}=..." if field else ""


def _start(asked: study.Study) -> int:
    """Start a study, and show what came out."""
    status = _run(asked)
    if not asked.settings.dry_run:
        _conclude(asked)
    return status


def _conclude(asked: study.Study) -> None:
    """Show what came out where all runs have ended, to people and to programs."""
    from align_lab.cli import first_table, status

    if len(asked.runs) > first_table.MOST and not answer.wanted():
        return  # the states of thousands of runs take a while to read
    folder = runs_folder() / asked.name
    tasks = status.states_of(folder)
    first_table.show(folder, tasks, Terminal())
    answer.give(status.document(folder, tasks, status.trials_of(folder)))


def _run(asked: study.Study) -> int:
    """As its kind asks for: tuning first, seeds in steps, or all runs at once."""
    if asked.tuning:
        from align_lab.studies import tuning

        return tuning.run(asked)
    if asked.seed_plan:
        from align_lab.studies import seed_steps

        return seed_steps.run(asked)
    from align_lab.dispatch import launch

    return launch.launch(asked)


def _complete(asked: Sequence[str]) -> int:
    """Hydra's completion of words in a shell. Raises ConfigError with the line that switches it on."""
    what, _, name = asked[0].partition("=") if len(asked) == 1 else ("", "", "")
    if what not in ("install", "uninstall", "query") or (what == "query" and "COMP_LINE" not in os.environ):
        raise ConfigError(
            'completion of words is switched on by a line in the start file of the shell: eval "$(align_lab '
            '-sc install=bash)". In place of bash: zsh, fish'
        )
    if name not in SHELLS:
        raise ConfigError(f"{asked[0]}: {near(name, SHELLS)}")
    return _hydra(["--shell-completion"], asked)


def _refuse_two_kinds(arguments: argparse.Namespace) -> None:
    """Raises ConfigError for flags of which each says what to do instead of a run: Hydra does one thing a time."""
    flags = [f"--{name.replace('_', '-')}" for name in (*PRINTING, "shell_completion") if getattr(arguments, name)]
    if len(flags) > 1:
        raise ConfigError(f"{' and '.join(flags)}: each prints something else. Type one of them")


def _refuse_flags(arguments: argparse.Namespace) -> None:
    """Raises ConfigError for a flag of Hydra that would do nothing here, or would unpickle a file."""
    for name, instead in REFUSED.items():
        if getattr(arguments, name):
            raise ConfigError(f"--{name.replace('_', '-')} is not for this program: {instead}")
    for name in ("resolve", "package"):
        if getattr(arguments, name) and not arguments.cfg:
            raise ConfigError(f"--{name} belongs to --cfg. Type --cfg job --{name}, or drop it")
    if arguments.run and arguments.multirun:
        raise ConfigError("--run and --multirun contradict each other. Type -m for several runs, nothing for one")


def _check_package(arguments: argparse.Namespace, values: Mapping[str, Any]) -> None:
    """Raises ConfigError where --package names no part of the config, or one that is null."""
    name = arguments.package
    if name in (None, "_global_") or (arguments.cfg != "job" and name.partition(".")[0] == "hydra"):
        return
    keys = [key.split(".") for key, value in leaves(values) if value is not None]
    parts = {".".join(words[:length]) for words in keys for length in range(1, len(words) + 1)}
    if name not in parts:
        raise ConfigError(f"--package {name}: no part of the config that has a value, {near(name, parts)}")


def _steps_of_budget(composed: RunConfig) -> list[Override]:
    """Hydra composes by itself, and does not know that the budget of a run decides its number of steps."""
    limited = any(vars(composed.train.budget).values())
    return overrides.parse([f"train.steps={composed.train.steps}"] if limited else [])


def _hydra(flags: Sequence[str], words: Sequence[str]) -> int:
    """Flags come last: a bare --info would take an override behind it for its value."""
    sys.argv = [sys.argv[0], *words, composition.search_path_override(), *flags]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    logging.raiseExceptions = False  # it logs what it prints: a reader that ends first (`| head`) is no error
    with explained():
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(lambda cfg: None)()
    return 0
