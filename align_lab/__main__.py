"""The entry point. Hydra overrides run an experiment; a verb as the first word (list, show, compare, ...) runs that.

Nothing here imports torch, so help, lists and errors appear at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from align_lab import __version__
from align_lab.base import answer
from align_lab.base.errors import AlignLabError, ConfigError, Stopped, short
from align_lab.base.paths import is_study_file
from align_lab.base.signals import Again

HELP = {"-h", "--help"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 failed, 2 wrong command, 3 not comparable, 75 stopped."""
    args = list(sys.argv[1:] if argv is None else argv)
    words = [word for word in args if word != answer.WORD]
    try:
        if len(words) == len(args):
            return _command(words)
        with answer.one_document() as given:
            status = _command(words)
        print(given.text(status), flush=True)
    except BrokenPipeError:  # the reader, `head` for example, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def script() -> int:
    """The installed program `align_lab`. As with `python -m`, modules in the working folder can be imported."""
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd()  # in place of the folder of the program
    return main()


def _command(args: list[str]) -> int:
    """Run it, and say how it ended where that is an error or a stop. Returns the exit status."""
    try:
        return _dispatch(args)
    except SystemExit as ended:  # argparse, after it has printed a help
        return int(ended.code or 0)
    except Stopped as stopped:  # no failure: what is saved, and what goes on
        return _ended(stopped, stopped.status)
    except AlignLabError as error:
        return _ended(error, error.status, before=_red("error: "))
    except BrokenPipeError:
        raise
    except OSError as error:
        wrong = _too_long(error) if error.errno == errno.ENAMETOOLONG else error
        return _ended(wrong, ConfigError.status if wrong is not error else 1, before=_red("error: "))
    except Again:
        return _ended(
            Stopped("interrupted before it could save; the same command goes on from the last checkpoint"), 130
        )
    except KeyboardInterrupt:
        return _interrupted(args)


def _interrupted(args: Sequence[str]) -> int:
    """Ctrl-C while no run was at work: a run that is stops between two steps, and says so itself."""
    from align_lab.cli import commands

    if args and args[0] in commands.VERBS:
        return _ended(Stopped("interrupted"), 130)
    stopped = Stopped("stopped while no run was at work; what was saved before is kept, and the same command goes on")
    return _ended(stopped, stopped.status)


def _too_long(error: OSError) -> ConfigError:
    """What was typed is taken for a name, and cannot be one."""
    name = short(os.fsdecode(error.filename or ""))
    return ConfigError(
        f"{name}: no file or folder has so long a name. Check it: for example a quote that is not closed"
    )


def _ended(error: Exception, status: int, *, before: str = "") -> int:
    """Say it, to people and to programs."""
    from align_lab.cli import commands

    print(f"{before}{commands.shown(error)}", file=sys.stderr)
    answer.refuse(error, status)
    return status


def _dispatch(args: list[str]) -> int:
    from align_lab.cli import commands

    if not args:
        return commands.print_beginning()
    if args[0] in ("--version", "-V"):
        answer.give({"version": __version__})
        print(f"align_lab {__version__}")
        return 0
    if args[0] not in commands.VERBS:
        if HELP & set(args):
            return commands.print_help([])
        if _looks_like_a_verb(args[0]):
            commands.refuse_unknown_verb(args[0])
        several = any(arg.startswith(("-", "sweeps=")) or is_study_file(arg) for arg in args)
        return _hydra(args) if several else _run(args)
    return commands.run(args[0], args[1:])


def _run(overrides: list[str]) -> int:
    """One run: in this process, or as a job where its hardware is a cluster."""
    from align_lab.config import study

    single = study.read(overrides, multirun=False)
    (cfg,) = single.runs
    from align_lab.dispatch import launch

    if cfg.hardware.placement.executor == "slurm" or single.settings.dry_run:
        return launch.launch(single)
    from align_lab.run import experiment
    from align_lab.stages import prompt_check

    prompt_check.check([cfg])
    status = experiment.run(cfg)
    if answer.wanted():
        _give_run(cfg.study, cfg.name)
    return status


def _give_run(study: str, name: str) -> None:
    """Answer with what `status` says of this run."""
    from align_lab.base.paths import runs_folder
    from align_lab.cli import status

    folder = runs_folder() / study
    tasks = [task for task in status.states_of(folder) if task.name == name]
    answer.give(status.document(folder, tasks, trials={}))


def _hydra(args: list[str]) -> int:
    """Hydra's own flags (--cfg job, --info, --multirun, --shell-completion, ...) and sweep files."""
    from align_lab.cli import hydra_app

    return hydra_app.run(args)


def _looks_like_a_verb(word: str) -> bool:
    return word.replace("_", "").replace("-", "").isalnum() and word[0].isalpha()


def _red(text: str) -> str:
    return f"\033[1;31m{text}\033[0m" if sys.stderr.isatty() and "NO_COLOR" not in os.environ else text


if __name__ == "__main__":
    sys.exit(main())
