"""What sites, users and broken machines do to jobs: each is survived, or said with what to do.

The jobs say what they would train, and the commands are called in this process: no stage is built and torch stays out.
"""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from align_lab.base.hardware import Placement
from align_lab.base.run_config import RunConfig
from align_lab.cli.cancel import cancel
from align_lab.dispatch.launch import current_states
from align_lab.dispatch.ledger import Ledger
from align_lab.dispatch.plan import JobArray, Task
from align_lab.dispatch.submit import submit_slurm
from tests.slurm.conftest import PATIENCE, until

INTERPRETER = """#!/bin/bash
# In place of the interpreter of a job: what its environment says, in a line of the log
echo "task ${SLURM_ARRAY_TASK_ID-none} executor=$SUBMITIT_EXECUTOR cache=$ALIGN_LAB_CACHE wanted=$WANTED" \
  "devices=$CUDA_VISIBLE_DEVICES"
"""
BROKEN_ON_NODE1 = """#!{python} -P
import os, sys
if os.environ["SLURMD_NODENAME"] == "node1":
    print("bus error: the file system is gone")
    sys.exit(7)
sys.path.insert(0, {root!r})
from align_lab.dispatch import job, snapshot

snapshot.check = lambda *given: None

def work(task):
    print("task", os.environ["SLURM_ARRAY_TASK_ID"], "on", os.environ["SLURMD_NODENAME"], flush=True)
    return 0

sys.exit(job.main(sys.argv[5:], work))
"""
LOSES_A_PEER = """#!{python} -P
import os, sys, time
sys.path.insert(0, {root!r})
from align_lab.base.errors import LostError
from align_lab.dispatch import job, snapshot

snapshot.check = lambda *given: None

def work(task):
    if os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
        print("second round", flush=True)
    elif os.environ["SLURM_PROCID"] == "1":
        raise LostError("the run failed: another process of the run exited without an error message")
    else:
        time.sleep(3600)
    return 0

sys.exit(job.main(sys.argv[5:], work))
"""
NO_STEP = """[ "${SLURM_RESTART_COUNT:-0}" != 0 ] && exec REAL "$@"
echo "srun: error: Unable to create step for job 1: Invalid generic resource (gres) specification" >&2
exit 1
"""
HELD = ["--hold"]
HEAD = """
import sys
import uuid
from pathlib import Path
from tests.slurm.test_hostile import Study
Study(Path(sys.argv[2]), Path(sys.argv[1])).submit(3, sbatch=["--hold"])
"""


class Study:
    """A study whose jobs say what they would train."""

    def __init__(self, folder, python):
        self.folder, self.python, self.ledger = folder, python, Ledger.of(folder)

    def batch(self, count, **place):
        place = Placement(
            executor="slurm",
            **{"python": str(self.python), "minutes": 240, "mem_gb": 0.1, "signal_seconds": 9, **place},
        )
        cfg = RunConfig({"plugins": [], "study": self.folder.name}, {"hardware": "slurm"})
        names = [f"rloo-tiny-s{seed}-0123abcd" for seed in range(count)]
        return JobArray(tasks=tuple(Task(name=name, kind="run", cfg=cfg, placement=place) for name in names))

    def submit(self, count=1, *, after=(), **place):
        batch = self.batch(count, **place)
        drafted = self.ledger.record(self.folder.name, batch, code=Path("CODE"), digest="HASH")
        return submit_slurm(self.ledger, drafted, batch, after=after)

    def states(self):
        return current_states(self.folder)

    def only(self):
        (state,) = {(task.state, task.why) for task in self.states()}
        return state

    def log(self):
        return "".join(file.read_text() for file in sorted(self.ledger.logs.glob("*.out")))


class Site:
    """The cluster as a user sees it, in a folder of the user's own."""

    def __init__(self, cluster, folder, monkeypatch):
        self.cluster, self.folder, self.monkeypatch = cluster, folder, monkeypatch
        self.python = folder / "interpreter"
        self.python.write_text(INTERPRETER)
        self.python.chmod(0o755)

    def study(self, name):
        name = f"{name}_{uuid.uuid4().hex[:6]}"
        (self.folder / "runs" / name).mkdir(parents=True)
        return Study(self.folder / "runs" / name, self.python)

    def jobs(self, name):
        """State of each job of a study, by the accounting."""
        text = self.cluster("sacct", "-nXP", "--format=JobName,JobID,State")
        return [line.split("|")[2] for line in text.splitlines() if line.startswith(f"{name}.")]

    def ended(self, study, count):
        until(
            lambda: (
                len(self.jobs(study.folder.name)) == count
                and not {"PENDING", "RUNNING", "REQUEUED"} & {*self.jobs(study.folder.name)}
            ),
            lambda: (self.jobs(study.folder.name), study.log()),
        )
        return self.jobs(study.folder.name)

    def stranger(self):
        """A job that is none of the study's."""
        return self.cluster("sbatch", "--parsable", "--hold", "--wrap", "true", "--output=/dev/null").strip()

    def queue(self, form="%i"):
        return self.cluster("squeue", "--noheader", "--array", f"--format={form}").splitlines()

    def before(self, name, text):
        """Put a program of the site before one of Slurm's, whose own path replaces REAL in its text."""
        folder = self.folder / "site"
        folder.mkdir(exist_ok=True)
        real = self.cluster("bash", "-c", f"command -v {name}").strip()
        (folder / name).write_text("#!/bin/bash\n" + text.replace("REAL", real))
        (folder / name).chmod(0o755)
        self.monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{self.cluster.env['PATH']}")

    def as_usual(self):
        self.monkeypatch.setenv("PATH", self.cluster.env["PATH"])


@pytest.fixture
def site(cluster, tmp_path, monkeypatch):
    for key in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(key, cluster.env[key])
    monkeypatch.chdir(tmp_path)
    return Site(cluster, tmp_path, monkeypatch)


def test_a_command_inside_a_job_submits_jobs_of_their_own(site):
    """An interactive session with GPUs is where commands are usually typed; its variables are no other job's."""
    text = site.cluster("salloc", "--gpus-per-node=2", "--mem-per-cpu=50", "--cpus-per-task=2", "srun", "env", "-0")
    session = dict(line.split("=", 1) for line in text.split("\0") if "=" in line)
    assert session["SLURM_MEM_PER_CPU"] and session["SLURM_GPUS_PER_NODE"] == "2"
    for key in session:
        if key.startswith(("SLURM", "CUDA")):
            site.monkeypatch.setenv(key, session[key])
    study = site.study("inside")
    study.submit(3)
    assert site.ended(study, 3) == ["COMPLETED"] * 3, study.log()
    assert len(re.findall(r"^task [012] executor=slurm .* devices=$", study.log(), re.MULTILINE)) == 3, study.log()


def test_an_error_of_slurm_itself_is_the_reason_that_status_shows(site):
    study = site.study("refused_step")
    study.submit(setup=["export SLURM_GPUS_PER_NODE=7"])
    site.ended(study, 1)
    state, why = study.only()
    assert state == "failed" and "srun: error" in why and "gres" in why.lower(), why  # on the third node


def test_each_task_of_an_array_knows_which_it_is_whatever_is_exported(site):
    """A flag of the user that exports one variable, and defaults of a site that export none and override the rest."""
    site.monkeypatch.setenv("WANTED", "yes")
    site.monkeypatch.setenv("ALIGN_LAB_CACHE", "/here")
    by_flag, by_site = site.study("by_flag"), site.study("by_site")
    by_flag.submit(2, sbatch=["--export=WANTED"])
    for option, value in {"EXPORT": "NONE", "TIMELIMIT": "7", "PARTITION": "high", "JOB_NAME": "mine"}.items():
        site.monkeypatch.setenv(f"SBATCH_{option}", value)
    by_site.submit(2)
    for study, partition in ((by_flag, "main"), (by_site, "high")):
        assert site.ended(study, 2) == ["COMPLETED"] * 2, study.log()
        assert sorted(re.findall(r"^task (.*) devices=", study.log(), re.MULTILINE)) == [
            f"{task} executor=slurm cache=/here wanted=yes" for task in (0, 1)
        ]
        rows = site.cluster("sacct", "-nXP", "--format=JobName,TimelimitRaw,Partition").splitlines()
        assert {row.split("|", 1)[1] for row in rows if row.startswith(study.folder.name)} == {f"240|{partition}"}


def test_a_failing_setup_line_ends_the_job_and_is_named(site):
    study = site.study("setup")
    study.submit(setup=["true", "no_such_module load cuda", "export LATER=1"])
    assert site.ended(study, 1) == ["FAILED"]
    state, why = study.only()
    assert state == "failed"
    assert "hardware.placement.setup failed with status 127: no_such_module load cuda" in why
    assert "task" not in study.log()
    (site.folder / "profile.sh").write_text("false\ntrue\n")  # a file of others may have lines that fail
    kept = site.study("kept")
    kept.submit(setup=[f"source {site.folder}/profile.sh", "false || true", "if false; then", "false", "fi"])
    assert site.ended(kept, 1) == ["COMPLETED"], kept.log()


OWN_SCRIPT = """\
#!/bin/bash
#SBATCH --comment=mine
set -euo pipefail
lab_module() {{
  export WANTED=$1
}}
lab_module yes
{{program}}
echo "after it: $WANTED" > {folder}/after
exit 3
"""


def test_a_jobs_script_of_the_user_stands_around_the_program(site):
    """Options of the shell and an end of its own change nothing of how the job ends and goes on."""
    script = site.folder / "job.sh"
    script.write_text(OWN_SCRIPT.format(folder=site.folder))
    study = site.study("own_script")
    study.submit(script=str(script), setup=["true"])
    assert site.ended(study, 1) == ["COMPLETED"], study.log()
    assert "wanted=yes" in study.log()
    assert (site.folder / "after").read_text() == "after it: yes\n"
    comments = site.cluster("bash", "-c", f"grep -h comment {study.ledger.logs}/*.sh").splitlines()
    assert comments == ["#SBATCH --comment=mine"]


def test_a_failing_line_of_the_users_script_ends_the_job_and_is_named(site):
    script = site.folder / "failing.sh"
    script.write_text("set -e\nno_such_module load cuda\n{program}\n")
    study = site.study("failing_script")
    study.submit(script=str(script))
    assert site.ended(study, 1) == ["FAILED"]
    assert "hardware.placement.script failed with status 127: no_such_module load cuda" in study.only()[1]
    assert "task" not in study.log()


def test_a_condition_of_the_user_is_added_to_the_stages(site):
    stage, condition = site.stranger(), site.stranger()
    study = site.study("both")
    job = study.submit(after=[stage], sbatch=[f"--dependency=afterany:{condition}"]).job_id
    (waits,) = [row.partition("|")[2] for row in site.queue("%i|%E") if row.startswith(f"{job}|")]
    assert f"afterok:{stage}" in waits and f"afterany:{condition}" in waits
    site.cluster("scancel", job, stage, condition)


def test_status_says_why_a_job_waits_and_what_to_do(site):
    held, down = site.study("held"), site.study("down")
    job = held.submit(sbatch=HELD).job_id
    assert held.only() == ("queued", f"JobHeldUser: it is held. Release it: scontrol release {job}")
    site.cluster("scontrol", "update", "partition=high", "state=down")
    try:
        down.submit(partition="high")
        until(lambda: "PartitionDown" in down.only()[1], down.only)
        assert "hardware.placement.partition" in down.only()[1]
    finally:
        site.cluster("scontrol", "update", "partition=high", "state=up")
    for study in (held, down):
        cancel([str(study.folder)])


def test_an_id_that_was_used_again_is_not_the_studys_job(site):
    """Two clusters with one home folder, or a cluster that began to count anew: the name decides, not the number."""
    study, other = site.study("mine"), site.stranger()
    real = study.submit(sbatch=HELD)
    study.ledger.confirm(real, other)
    assert study.only()[0] == "missing"
    cancel([str(study.folder)])
    assert {other, real.job_id} <= {*site.queue()}
    study.ledger.confirm(real, real.job_id)
    cancel([str(study.folder)])
    assert study.only()[0] == "cancelled"
    assert other in site.queue()
    site.cluster("scancel", other)


def test_a_queue_that_is_shown_empty_or_filtered_hides_no_job(site):
    """squeue through a cache of the site answers nothing, with status 0; a user's own defaults hide what is pending."""
    study = site.study("cached")
    study.submit(3, sbatch=HELD)
    site.before("squeue", "exit 0\n")
    assert [task.state for task in study.states()] == ["queued"] * 3
    site.as_usual()
    for key, value in {"SQUEUE_STATES": "RUNNING", "SQUEUE_PARTITION": "high", "SCANCEL_STATE": "RUNNING"}.items():
        site.monkeypatch.setenv(key, value)
    assert [task.state for task in study.states()] == ["queued"] * 3
    cancel([str(study.folder)])
    assert study.only() == ("cancelled", "cancelled")


def test_a_job_whose_number_was_lost_is_found_by_its_name(site):
    """The site's sbatch ends with an error after the controller took the job."""
    study = site.study("lost_reply")
    site.before("sbatch", 'REAL "$@" > /dev/null\necho "sbatch: error: the log server is full" >&2\nexit 1\n')
    job = study.submit(2, sbatch=HELD).job_id
    assert [row for row in site.queue("%F|%j") if row.startswith(f"{job}|lost_reply_")]
    assert len(study.ledger.submissions()) == 1
    cancel([str(study.folder)])
    assert study.only()[0] == "cancelled"


def test_ctrl_c_while_sbatch_waits_leaves_no_job_that_nobody_knows(site):
    """The interrupt reaches the whole group of the terminal while the controller is about to take the job."""
    arrived, go = site.folder / "arrived", site.folder / "go"
    site.before("sbatch", f'touch {arrived}\nwhile [ ! -e {go} ]; do sleep 0.1; done\nexec REAL "$@"\n')
    study = site.study("interrupted")
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    patient = (
        "from align_lab.base.signals import stop_requests\nwith stop_requests() as stop:\n    stop.patient = True\n"
    )
    head = subprocess.Popen(
        [sys.executable, "-c", patient + HEAD.replace("\n", "\n    "), str(site.python), str(study.folder)],
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )
    until(lambda: arrived.exists() or head.poll() is not None)
    os.killpg(head.pid, signal.SIGINT)
    go.touch()
    assert head.wait(PATIENCE) == 0
    (submission,) = study.ledger.submissions()
    assert submission.job_id and len([row for row in site.queue("%j") if row.startswith("interrupted_")]) == 3
    cancel([str(study.folder)])
    assert study.only()[0] == "cancelled"


def test_a_broken_node_is_named_and_its_jobs_run_elsewhere(site):
    """The first node fails whatever starts there, and so would empty the queue of a study within minutes."""
    site.python.write_text(BROKEN_ON_NODE1.format(python=sys.executable, root=str(Path(__file__).parents[2])))
    study = site.study("broken_node")
    study.submit(2)
    assert site.ended(study, 2) == ["COMPLETED"] * 2, study.log()
    assert "the job failed on node1 before its program began (status 7)" in study.log()
    assert set(re.findall(r"^task \d on (\w+)$", study.log(), re.MULTILINE)) <= {"node2", "node3"}
    failed = study.log().count("the job failed on node1")
    assert (study.ledger.folder / "broken_nodes").read_text() == "node1\n" * failed
    assert not [*study.ledger.logs.glob("*.began"), *study.ledger.logs.glob("*.tries")]


def test_a_job_that_begins_nowhere_is_tried_on_three_nodes_and_blames_none_of_them(site):
    """The program is the cause, and the study may need these nodes once it is repaired."""
    site.python.write_text("#!/bin/bash\necho 'ImportError: no such library' >&2\nexit 1\n")
    study = site.study("nowhere")
    study.submit()
    assert site.ended(study, 1) == ["FAILED"], study.log()
    assert study.log().count("ImportError") == 3 and study.log().count("trying another node") == 2
    assert set(re.findall(r"the job failed on (\w+)", study.log())) == {"node1", "node2", "node3"}
    assert not list(study.ledger.folder.glob("broken_nodes")) and not list(study.ledger.logs.glob("*.tries"))
    state, why = study.only()
    assert state == "failed" and "ImportError: no such library" in why


def test_a_step_that_slurm_does_not_start_is_tried_again_and_no_node_is_blamed(site):
    """As Slurm 22.05 does with a job that was requeued while one of its nodes died. All nodes are needed here."""
    site.before("srun", NO_STEP)
    site.python.write_text('#!/bin/bash\ntouch "$ALIGN_LAB_BEGAN"; echo began\n')
    study = site.study("no_step")
    study.submit(nodes=3)
    assert site.ended(study, 1) == ["COMPLETED"], study.log()
    assert "Slurm did not start the program (status 1); trying again" in study.log()
    assert not list(study.ledger.folder.glob("broken_nodes")) and not list(study.ledger.logs.glob("*.tries"))


def test_a_run_that_lost_a_process_with_its_node_goes_back_into_the_queue(site):
    """The process that is left notices before Slurm does, and ends the job with an error if it does not requeue it."""
    site.python.write_text(LOSES_A_PEER.format(python=sys.executable, root=str(Path(__file__).parents[2])))
    study = site.study("lost_node")
    job = study.submit(nodes=2).job_id
    until(lambda: "second round" in study.log(), study.log)
    assert site.ended(study, 1) == ["COMPLETED"], study.log()
    assert "Restarts=1" in site.cluster("scontrol", "show", "job", job)


def test_the_refusals_of_a_flag_name_it():
    from align_lab.config.hardware_validation import problems

    place = {"executor": "slurm", "nodes": 1, "tasks_per_node": 1, "sbatch": ["--job-name=mine", "--gres gpu", "-x n"]}
    place |= {"script": None, "container": None, "container_runtime": "auto", "container_mounts": [], "cluster": None}
    numerics = {"engine": "torch", "zero_stage": 0, "offload_optimizer": False, "dtype": "float32"}
    messages = problems({"hardware": {"numerics": numerics, "placement": place}, "model": {}}, None)
    assert len(messages) == 3 and "may not have --job-name" in messages[0] and "'--gres gpu'" in messages[1]
    assert json.dumps(messages)
