"""A job's script of the user's own (`hardware.placement.script`): what stands around the program, in shell.

    #!/bin/bash
    #SBATCH --exclusive
    module load cuda
    {program}
    cp -r "$SLURM_TMPDIR" ~/kept

The line `{program}` stands for what every job does: srun with the program, before it how a job is found, and after it
how a job is put back into the queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from align_lab.base.errors import ConfigError

PROGRAM = "{program}"
DIRECTIVE = "#SBATCH"
FIELD = "hardware.placement.script"


@dataclass(frozen=True)
class JobScript:
    """Lines of shell. `flags`: of sbatch, from the lines that begin with #SBATCH."""

    flags: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def read(path: str | None) -> JobScript:
    """The script in this file; an empty one without a file. Raises ConfigError."""
    if path is None:
        return JobScript()
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text in UTF-8"
        raise ConfigError(
            f"{FIELD}={path} cannot be read ({reason}). Name a file of shell lines with a line {PROGRAM}"
        ) from None
    places = [number for number, line in enumerate(lines) if line.strip() == PROGRAM]
    if len(places) != 1:
        raise ConfigError(
            f"{FIELD}={path} has {len(places)} lines {PROGRAM}, and it needs one, alone in its line, where the program "
            "of the job is to start"
        )
    shell = [line for line in lines if not line.startswith(DIRECTIVE)]
    start = shell.index(next(line for line in shell if line.strip() == PROGRAM))
    flags = (line.removeprefix(DIRECTIVE).strip() for line in lines if line.startswith(DIRECTIVE))
    return JobScript(tuple(flags), tuple(shell[:start]), tuple(shell[start + 1 :]))
