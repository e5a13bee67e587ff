"""What a job's script is made of: a placement as options of sbatch, its setup lines, and flags of the user's own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from align_lab.base import job_script
from align_lab.base.hardware import Placement
from align_lab.dispatch import container, script_end
from align_lab.dispatch.job_variables import BEGAN, ENDS
from align_lab.dispatch.slurm_commands import environment
from align_lab.record.layout import BROKEN_NODES

USERS_DEFAULTS = ("account", "partition", "qos", "constraint", "reservation")  # from SBATCH_ACCOUNT and so on
SETUP = "hardware.placement.setup"
END_OF_TIME = f'export {ENDS}=$(date --date="$(squeue --noheader --jobs=$SLURM_JOB_ID --format=%e)" +%s 2>/dev/null)'


def lines_around(place: Placement, *, folder: Path, token: str) -> dict[str, list[str]]:
    """The lines before and after a job's command, as submitit's parameters. `folder`: that of the submissions."""
    began = f"{shlex.quote(str(folder))}/logs/{token}.$SLURM_JOB_ID.${{SLURM_RESTART_COUNT:-0}}.began"
    own = job_script.read(place.script)
    setup = [*_checked(own.before, job_script.FIELD), *_checked(place.setup, SETUP)]
    inside = [END_OF_TIME] if place.container else []  # where there is no squeue
    end = script_end.lines(broken_nodes=folder / BROKEN_NODES, excluded=excluded(place), after=own.after)
    return {"setup": [*setup, f"export {BEGAN}={began}", *inside], "teardown": end}


def _checked(lines: Sequence[str], field: str) -> list[str]:
    """The user's lines, the first failure of which ends the job and is named. Their options of the shell end with them.

    Lines inside files that they source may fail: the user did not write them here.
    """
    stop = (
        "trap 'align_lab_status=$?; if [ ${#BASH_SOURCE[@]} -le 1 ]; then "
        f'echo "error: {field} failed with status $align_lab_status: $BASH_COMMAND '
        "(a line that may fail ends with || true)\"; exit $align_lab_status; fi' ERR"
    )
    return [stop, *lines, "set +eu +o pipefail", "trap - ERR"] if lines else []


def parameters(place: Placement, *, name: str, dependency: str | None = None) -> dict[str, Any]:
    """A placement in submitit's parameters."""
    flags = flags_of(place.sbatch)
    depends = ",".join(filter(None, [dependency, flags.pop("dependency", None)]))
    flags.pop("exclude", None)
    values = {
        "job_name": name,
        "nodes": place.nodes,
        "ntasks_per_node": place.tasks_per_node,
        "cpus_per_task": place.cpus_per_task,
        "gpus_per_node": place.gpus_per_node or None,
        "mem": f"{round(place.mem_gb * 1024)}M" if place.mem_gb else None,
        "time": place.minutes,
        "partition": place.partition,
        "account": place.account,
        "qos": place.qos,
        "constraint": place.constraint,
        "exclude": ",".join(excluded(place)) or None,
        "mail_user": place.mail,
        "mail_type": ",".join(place.mail_on) if place.mail else None,
        "signal_delay_s": place.signal_seconds,
        "array_parallelism": place.max_parallel or 1_000_000,
        "srun_args": srun_arguments(place),
        "dependency": depends or None,
        "stderr_to_stdout": True,
        "additional_parameters": {
            "requeue": True,
            "kill-on-invalid-dep": "yes",
            **({"reservation": place.reservation} if place.reservation else {}),
            **flags,
        },
    }
    return {key: value for key, value in values.items() if value is not None} | {"wckey": None}


def excluded(place: Placement) -> list[str]:
    """The nodes that the user excludes, by the field and by a flag: sbatch would take only one of them."""
    flag = flags_of(place.sbatch).get("exclude")
    return [*place.exclude, *([flag] if flag else [])]


def srun_arguments(place: Placement) -> list[str]:
    """How the processes of a job start."""
    return [
        f"--cpus-per-task={place.cpus_per_task}",  # srun does not inherit cores from sbatch
        "--kill-on-bad-exit=1",  # nor ends the job when one process dies
        "--export=ALL",  # nor passes on what the script exports, where sbatch was told to pass on less
        *container.srun_arguments(place),
    ]


def flags_of(lines: Sequence[str]) -> dict[str, Any]:
    """`--name=value` and `--name` as a mapping; `name` without a value is True."""
    parts = (line.lstrip("-").partition("=") for line in lines)
    return {key: value if sign else True for key, sign, value in parts}


def variables_of_sbatch(env: Mapping[str, str], place: Placement) -> dict[str, str]:
    """The environment of sbatch: without that of a job that this process is in, and without what overrides the script.

    sbatch prefers its SBATCH_ variables to the lines of a script. Those that name an account and the like hold where
    the placement leaves the choice; any other would change what was planned, or what the job gets to see.
    """
    flags = flags_of(place.sbatch)
    left = {
        f"SBATCH_{option.upper()}"
        for option in USERS_DEFAULTS
        if getattr(place, option) is None and option not in flags
    }
    return {key: value for key, value in environment(env).items() if not re.match("SBATCH_", key) or key in left}
