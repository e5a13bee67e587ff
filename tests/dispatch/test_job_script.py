"""A job's script of the user's own: what is read of it, and what is refused before anything is submitted."""

from pathlib import Path

import pytest

from align_lab.base.errors import ConfigError
from align_lab.base.hardware import Placement
from align_lab.base.job_script import JobScript, read
from align_lab.config.composition import compose
from align_lab.dispatch.batch_script import lines_around
from align_lab.dispatch.ledger import Ledger
from align_lab.dispatch.plan import JobArray, stage_tasks
from align_lab.dispatch.submit import Refused, script, submit_slurm

PLACE = "hardware.placement"
MINE = """\
#!/bin/bash
#SBATCH --exclusive
##SBATCH --mail-type=ALL
module load cuda
  {program}
#SBATCH --gres=gpu:a100:2
rm -r "$SCRATCH"
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "job.sh"
    path.write_text(MINE)
    return path


def test_a_script_is_flags_and_the_lines_before_and_after_the_program(mine):
    assert read(None) == JobScript()
    assert read(str(mine)) == JobScript(
        flags=("--exclusive", "--gres=gpu:a100:2"),
        before=("#!/bin/bash", "##SBATCH --mail-type=ALL", "module load cuda"),
        after=('rm -r "$SCRATCH"',),
    )


def test_the_lines_stand_around_the_program_and_the_flags_at_the_top(mine, tmp_path):
    task = next(stage_tasks(compose(["hardware=slurm_gpu"]), Placement(executor="slurm", script=str(mine))))
    batch, ledger = JobArray(tasks=(task,)), Ledger(tmp_path)
    drafted = ledger.record("study", batch, code=Path("CODE"), digest="HASH")
    text = script(ledger, drafted, batch, after=[]).splitlines()
    order = [
        *("#SBATCH --exclusive", "#SBATCH --gres=gpu:a100:2", "module load cuda"),
        *(next(line for line in text if line.startswith("srun")), "align_lab_status=$?", 'rm -r "$SCRATCH"'),
        "exit $align_lab_status",
    ]
    assert [line for line in text if line in order] == order

    mine.unlink()
    with pytest.raises(Refused, match=r"cannot be submitted: .*job.sh cannot be read \(No such file"):
        submit_slurm(ledger, drafted, batch, after=[])
    assert not ledger.submissions()


def test_lines_of_setup_follow_those_of_the_script(mine, tmp_path):
    place = Placement(executor="slurm", script=str(mine), setup=["module load nccl"])
    lines = lines_around(place, folder=tmp_path, token="t")["setup"]
    assert lines.index("module load cuda") < lines.index("module load nccl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            None,
            r"job.sh cannot be read \(No such file or directory\). Name a file of shell lines with a line {program}",
        ),
        ("module load cuda\n", "has 0 lines {program}, and it needs one"),
        ("{program}\n{program}\n", "has 2 lines {program}"),
        ("time {program}\n", "alone in its line"),
        ("#SBATCH -p gpu\n{program}\n", "script has '-p gpu', and a flag is written as --name or --name=value"),
        ("#SBATCH --array=0-3\n{program}\n", "script may not have --array: the sweep is the array"),
        ("#SBATCH --nodes=4\n{program}\n", "may not have --nodes: hardware.placement.nodes says how many"),
        ("#SBATCH --time=60\n{program}\n", "may not have --time: hardware.placement.minutes is the time limit"),
        (b"\xff{program}\n", r"cannot be read \(it is not a text in UTF-8\)"),
    ],
)
def test_what_is_no_script_is_refused(text, message, tmp_path):
    path = tmp_path / "job.sh"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=message):
        compose(["hardware=slurm_gpu", f"{PLACE}.script={path}"])


def test_a_script_without_a_cluster_is_refused(mine):
    with pytest.raises(ConfigError, match="is the script of jobs of a cluster, and the executor is local"):
        compose([f"{PLACE}.script={mine}"])
