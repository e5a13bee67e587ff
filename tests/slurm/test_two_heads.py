"""Two commands submit the same study at the same moment, from two machines: no run is submitted twice."""

import os
import subprocess

import pytest

from tests.run.test_runs import SMALL
from tests.slurm.conftest import PLACEMENT, until

SEEDS = ["-m", *SMALL, "algo=rloo", "seed=0,1,2", "hardware=slurm_cpu", *PLACEMENT, "wait=false"]
HELD = 'hardware.placement.sbatch=["--hold"]'  # nothing trains here
ANOTHER_MACHINE = (
    "unshare",
    "--uts",
    "--pid",
    "--fork",
    "--mount-proc",
    "bash",
    "-c",
    'hostname another; exec "$@"',
    "-",
)
LATE = "import time\nof_here = time.time\ntime.time = lambda: of_here() {:+d}\n"  # a clock that is wrong


class Heads:
    """Machines from which the study is submitted."""

    def __init__(self, lab, folder):
        self.lab, self.folder = lab, folder

    def start(self, study, *, before=(), ahead=0, **variables):
        """A command that submits the study. `ahead`: by how many seconds its clock is wrong."""
        clock = self.folder / f"clock{ahead}"
        clock.mkdir(exist_ok=True)
        (clock / "sitecustomize.py").write_text(LATE.format(ahead))
        path = os.pathsep.join([str(clock), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(
            [*before, *self.lab.command(*SEEDS, HELD, f"study={study}")],
            cwd=self.lab.folder,
            env={**self.lab.env, "PYTHONPATH": path, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def queued(self, study):
        """The seed runs of the study in the queue, each as often as it is there."""
        listed = self.lab.cluster("squeue", "--noheader", "--array", "--format=%j %i").splitlines()
        return sorted(line.partition("_")[2] for line in listed if line.startswith(f"{study}.") and "_" in line)

    def waiting_sbatch(self):
        """A folder with an sbatch that waits until the file `go` is there, and says that it waits."""
        real = self.lab.cluster("bash", "-c", "command -v sbatch").strip()
        wrapper = self.folder / "waits"
        wrapper.mkdir()
        text = f"touch {self.folder}/waiting; until [ -e {self.folder}/go ]; do sleep 0.02; done"
        (wrapper / "sbatch").write_text(f'#!/bin/bash\n{text}\nexec {real} "$@"\n')
        (wrapper / "sbatch").chmod(0o755)
        return f"{wrapper}{os.pathsep}{self.lab.env['PATH']}"


@pytest.fixture
def heads(lab, tmp_path):
    return Heads(lab, tmp_path)


@pytest.mark.parametrize("ahead", [-7200, 7200])
def test_while_one_head_submits_another_one_with_another_clock_is_refused(heads, ahead):
    """The second cannot ask for the first one's process, and their clocks differ: the heartbeat decides."""
    before = ANOTHER_MACHINE if subprocess.run([*ANOTHER_MACHINE, "true"], capture_output=True).returncode == 0 else ()
    first = heads.start("taken", PATH=heads.waiting_sbatch())
    until(lambda: (heads.folder / "waiting").exists(), lambda: first.poll())
    second = heads.start("taken", before=before, ahead=ahead)
    said = " ".join(second.communicate()[0].split())
    assert second.returncode == 2, said
    assert f"error: process {first.pid} on " in said and "is submitting or running the study taken here" in said
    (heads.folder / "go").touch()
    said = first.communicate()[0]
    assert first.returncode == 0, said
    assert heads.queued("taken") == ["0", "1", "2"]
    third = heads.start("taken", before=before, ahead=ahead)
    assert "3 runs, 0 to do" in third.communicate()[0] and third.returncode == 0
    assert heads.queued("taken") == ["0", "1", "2"]
    heads.lab("cancel", "taken")


def test_heads_that_start_at_the_same_moment_submit_every_run_once(heads):
    started = [heads.start("raced", ahead=ahead) for ahead in (0, 3600, -3600)]
    outputs = [head.communicate()[0] for head in started]
    assert {head.returncode for head in started} <= {0, 2} and any(head.returncode == 0 for head in started), outputs
    assert heads.queued("raced") == ["0", "1", "2"], outputs
    heads.lab("cancel", "raced")
