"""What a job's script is made of: a placement as options of sbatch, its setup lines, and flags of the user's own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from align_lab.base.hardware import Placement
from align_lab.dispatch.slurm_commands import environment
from align_lab.record.layout import BROKEN_NODES

USERS_DEFAULTS = ("account", "partition", "qos", "constraint", "reservation")  # from SBATCH_ACCOUNT and so on
SETUP_FAILED = "hardware.placement.setup failed"
STOP_AT_A_FAILURE = (  # lines inside files that the user sources may fail: the user did not write them here
    "trap 'align_lab_status=$?; if [ ${#BASH_SOURCE[@]} -le 1 ]; then "
    f'echo "error: {SETUP_FAILED} with status $align_lab_status: $BASH_COMMAND '
    "(a line that may fail ends with || true)\"; exit $align_lab_status; fi' ERR"
)
BEGAN = "ALIGN_LAB_BEGAN"  # the file that a job's program makes once it works on its node
TRIES = 3  # times that a job may fail before its program begins
ELSEWHERE = """\
align_lab_status=$?
align_lab_tries="${{ALIGN_LAB_BEGAN%.*.began}}.tries"
if [ $align_lab_status -eq 0 ] || [ -e "$ALIGN_LAB_BEGAN" ]; then
  rm -f "$align_lab_tries"
else
  echo >> "$align_lab_tries"
  if tail --lines=3 /proc/$$/fd/1 | grep --quiet 'Unable to create step'; then
    align_lab_next="Slurm did not start the program (status $align_lab_status); trying again"
  else
    echo "the job failed on $SLURMD_NODENAME before its program began (status $align_lab_status)"
    echo "$SLURMD_NODENAME" >> {nodes}
    align_lab_next="trying another node"
  fi
  align_lab_left=$(sinfo --noheader --Node --partition="$SLURM_JOB_PARTITION" --states=idle,mixed,allocated \
    --format=%N | sort -u | grep --count --invert-match --line-regexp --fixed-strings --file=<(cat {nodes} 2>/dev/null))
  if [ "$(wc -l < "$align_lab_tries")" -lt {tries} ] && [ "${{align_lab_left:-0}}" -ge "$SLURM_JOB_NUM_NODES" ]; then
    trap '' TERM
    align_lab_job=$SLURM_JOB_ID
    [ -n "$SLURM_ARRAY_JOB_ID" ] && align_lab_job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
    echo "$align_lab_next"
    scontrol requeue "$align_lab_job" && [ -s {nodes} ] && scontrol update JobId="$align_lab_job" \
      ExcNodeList="$(sort -u {nodes} | paste -sd,){exclude}"
  else
    rm -f "$align_lab_tries"
  fi
fi
rm -f "$ALIGN_LAB_BEGAN"
exit $align_lab_status"""


def lines_around(place: Placement, *, folder: Path, token: str) -> dict[str, list[str]]:
    """The lines before and after a job's command, as submitit's parameters.

    A job whose program does not begin is tried on other nodes, and these are noted in the folder of the submissions.
    """
    began = f"{shlex.quote(str(folder))}/logs/{token}.$SLURM_JOB_ID.${{SLURM_RESTART_COUNT:-0}}.began"
    setup = [STOP_AT_A_FAILURE, *place.setup, "trap - ERR"] if place.setup else []
    nodes, exclude = shlex.quote(str(folder / BROKEN_NODES)), "".join(f",{node}" for node in excluded(place))
    after = ELSEWHERE.format(nodes=nodes, exclude=exclude, tries=TRIES)
    return {"setup": [*setup, f"export {BEGAN}={began}"], "teardown": after.splitlines()}


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
        *([f"--container-image={place.container}"] if place.container else []),
        *(
            [f"--container-mounts={','.join(place.container_mounts)}"]
            if place.container and place.container_mounts
            else []
        ),
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
