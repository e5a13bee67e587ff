"""The entry point. Hydra overrides run an experiment; a verb as the first word (list, show, compare, ...) runs that.

Nothing here imports torch, so help, lists and errors appear at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from align_lab.base.errors import AlignLabError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 failed, 2 wrong command, 3 not comparable, 75 stopped."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(args)
    except AlignLabError as error:
        print(f"{_red('error:')} {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:  # the reader, `head` for example, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted. The same command continues a run from its last checkpoint", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"{_red('error:')} {error}", file=sys.stderr)
        return 1


def _dispatch(args: list[str]) -> int:
    from align_lab.cli import commands

    if not args or args[0] not in commands.VERBS:
        if {"-h", "--help"} & set(args):
            return commands.print_help([])
        if args and _looks_like_a_verb(args[0]):
            commands.refuse_unknown_verb(args[0])
        return _hydra(args) if any(arg.startswith(("-", "sweeps=")) for arg in args) else _run(args)
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

    return experiment.run(cfg)


def _hydra(args: list[str]) -> int:
    """Hydra's own flags (--cfg job, --info, --multirun, --shell-completion, ...) and sweep files."""
    from align_lab.cli import hydra_app

    return hydra_app.run(args)


def _looks_like_a_verb(word: str) -> bool:
    return word.replace("_", "").replace("-", "").isalpha() and not word.startswith("-")


def _red(text: str) -> str:
    return f"\033[1;31m{text}\033[0m" if sys.stderr.isatty() and "NO_COLOR" not in os.environ else text


if __name__ == "__main__":
    sys.exit(main())
