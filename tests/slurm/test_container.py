"""A run inside an image of Apptainer: it trains there, and its job's script, outside, puts it back into the queue.

A program of that name stands for Apptainer. Like an image, it hides Slurm's commands from what it starts.
"""

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

from tests.slurm.conftest import until
from tests.slurm.test_survive import RUN, freeze, pending, same

APPTAINER = """#!/bin/bash
# apptainer exec [--OPTION]... IMAGE COMMAND...
echo "$*" >> CALLS
[ "$1" = exec ] || exit 2
while shift; [[ $1 == --* ]]; do :; done
[ -e "$1" ] || { echo "FATAL: could not open image $1"; exit 255; }
export APPTAINER_CONTAINER=$1 PATH=INSIDE
shift
exec "$@"
"""


def test_a_run_trains_in_an_image_of_apptainer_and_is_requeued_from_there(lab, undisturbed):
    bin_, inside, calls = (lab.folder / name for name in ("bin", "inside", "calls"))
    for folder in (bin_, inside):
        folder.mkdir()
    (inside / "env").symlink_to(shutil.which("env"))
    text = APPTAINER.replace("CALLS", str(calls)).replace("INSIDE", str(inside))
    (bin_ / "apptainer").write_text(text)
    (bin_ / "apptainer").chmod(0o755)
    (lab.folder / "lab.sif").touch()
    place = ["container=lab.sif", f"container_mounts=['{lab.folder}:{lab.folder}','/usr:/host:ro']"]
    path = os.pathsep.join([str(bin_), lab.env["PATH"]])
    lab.train(*RUN, "study=inside", *(f"hardware.placement.{field}" for field in place), PATH=path)

    status = freeze(lab, "inside")
    variables = Path(f"/proc/{status['pid']}/environ").read_bytes().decode().split("\0")
    assert {"APPTAINER_CONTAINER=lab.sif", f"PATH={inside}"} <= {*variables}
    lab.cluster("scancel", "--signal=USR2", status["job"])
    until(lambda: pending(status["pid"], signal.SIGUSR2))
    with suppress(ProcessLookupError):
        os.kill(status["pid"], signal.SIGCONT)
    (run,) = lab.wait("inside")
    assert run["requeued"] == 1 and "continuing after step" in lab.logs("inside")
    same(lab, "inside", undisturbed)
    mounts = f"--bind={lab.folder}:{lab.folder},/usr:/host:ro"
    assert f"exec --nv {mounts} lab.sif env " in calls.read_text()
    assert not list((lab.folder / "runs" / "inside" / ".dispatch" / "logs").glob("*.requeue"))
