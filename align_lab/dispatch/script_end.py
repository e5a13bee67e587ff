"""The end of a job's script, in shell: it runs where Slurm's commands are, outside of the container of the program.

A program that did not begin is tried on other nodes, and one that asks for a requeue by a file gets it. A node is not
blamed yet (`broken_nodes.begun`): the program may be the cause, and then it begins nowhere.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from align_lab.dispatch.job_variables import ASKS, TRIES

MOST = 3  # times that a job may fail before its program begins
END = """\
align_lab_tries="${{ALIGN_LAB_BEGAN%.*.began}}{tries}"
align_lab_asks="${{ALIGN_LAB_BEGAN%.began}}{asks}"
align_lab_job=$SLURM_JOB_ID
[ -n "$SLURM_ARRAY_JOB_ID" ] && align_lab_job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
if [ -e "$align_lab_asks" ]; then
  rm -f "$align_lab_asks" "$align_lab_tries"
  for align_lab_attempt in $(seq 60); do
    align_lab_shown=$(scontrol show job "$align_lab_job") && break
    sleep 15
  done
  if grep --quiet JobState=RUNNING <<< "$align_lab_shown"; then
    trap '' TERM
    scontrol requeue "$align_lab_job"
  else
    echo "not requeued: the job was cancelled"
  fi
elif [ $align_lab_status -eq 0 ] || [ -e "$ALIGN_LAB_BEGAN" ]; then
  rm -f "$align_lab_tries"
else
  if tail --lines=3 /proc/$$/fd/1 | grep --quiet 'Unable to create step'; then
    echo >> "$align_lab_tries"
    align_lab_next="Slurm did not start the program (status $align_lab_status); trying again"
  else
    echo "the job failed on $SLURMD_NODENAME before its program began (status $align_lab_status)"
    echo "$SLURMD_NODENAME" >> "$align_lab_tries"
    align_lab_next="trying another node"
  fi
  align_lab_avoided=$(cat {nodes} "$align_lab_tries" 2>/dev/null | grep . | sort -u)
  align_lab_left=$(sinfo --noheader --Node --partition="$SLURM_JOB_PARTITION" --states=idle,mixed,allocated \
    --format=%N | sort -u | grep --count --invert-match --line-regexp --fixed-strings -e "$align_lab_avoided")
  if [ "$(wc -l < "$align_lab_tries")" -lt {most} ] && [ "${{align_lab_left:-0}}" -ge "$SLURM_JOB_NUM_NODES" ]; then
    trap '' TERM
    echo "$align_lab_next"
    scontrol requeue "$align_lab_job" && [ -n "$align_lab_avoided" ] && scontrol update JobId="$align_lab_job" \
      ExcNodeList="$(paste -sd, <<< "$align_lab_avoided"){exclude}"
  else
    rm -f "$align_lab_tries"
  fi
fi
rm -f "$ALIGN_LAB_BEGAN"
exit $align_lab_status"""


def lines(*, broken_nodes: Path, excluded: Sequence[str], after: Sequence[str] = ()) -> list[str]:
    """They follow the command. `excluded`: the nodes that the user keeps the job away from.

    `after`: the user's own lines, in a shell of their own: however they end, the job ends as the program did.
    """
    exclude = "".join(f",{node}" for node in excluded)
    nodes = shlex.quote(str(broken_nodes))
    own = ["(", *after, ")"] if any(line.strip() and not line.lstrip().startswith("#") for line in after) else []
    end = END.format(nodes=nodes, exclude=exclude, tries=TRIES, asks=ASKS, most=MOST)
    return ["align_lab_status=$?", *own, *end.splitlines()]
