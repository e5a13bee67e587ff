"""`max_parallel` is the study's, over arrays of different placements and arrays that are added while others run.

A run of these studies is at work until as many are at work as may be: one that idles would keep the others for ever.
"""

import re
import sys
from collections import Counter
from pathlib import Path

from align_lab.base.files import write_text
from align_lab.base.hardware import Placement
from align_lab.base.run_config import RunConfig
from align_lab.cli.cancel import cancel
from align_lab.dispatch import parallel
from align_lab.dispatch.plan import JobArray, Task
from align_lab.dispatch.submit import submit_slurm
from tests.slurm.conftest import until
from tests.slurm.test_hostile import HELD, site

__all__ = ["site"]  # fixture

AT_WORK = """#!{python} -P
import os, subprocess, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from align_lab.dispatch import job, snapshot

snapshot.check = lambda *given: None
folder = Path({folder!r})

def say(what):
    with os.fdopen(os.open(folder / "events", os.O_WRONLY | os.O_APPEND | os.O_CREAT), "w") as file:
        file.write(what + "\\n")

def jobs():
    queue = subprocess.run(["squeue", "-h", "-r", "-t", "RUNNING", "-o", "%j %A"], capture_output=True, text=True)
    rows = [row.split() for row in queue.stdout.splitlines()]
    ended = {{event.partition(":")[2] for event in (folder / "events").read_text().split()}}
    return [job for name, job in rows if name.startswith({study!r} + ".") and job not in ended]

def work(task):
    say("begins")
    say(f"jobs:{{len(jobs())}}")
    while True:
        events = (folder / "events").read_text().split()
        ended = sum(event.startswith("ended") for event in events)
        if (folder / "wanted").exists():
            wanted = int((folder / "wanted").read_text()) - ended
            if events.count("begins") - ended >= min({most}, wanted):
                break
        time.sleep(0.1)
    say("ended:" + os.environ["SLURM_JOB_ID"])
    return {status}

sys.exit(job.main(sys.argv[5:], work))
"""


class Busy:
    """A study whose runs are at work together."""

    def __init__(self, site, name, most, *, status=0):
        self.study, self.most, self.count = site.study(name), most, 0
        self.ledger, self.folder = self.study.ledger, self.study.folder
        root = str(Path(__file__).parents[2])
        text = AT_WORK.format(
            python=sys.executable, root=root, folder=str(site.folder), study=self.folder.name, most=most, status=status
        )
        site.python.write_text(text)
        self.site, self.events = site, site.folder / "events"
        parallel.begin(self.folder, most)

    def submit(self, *sizes, **place):
        """An array of each size, each with a placement of its own, as one command submits them."""
        batches = [self.batch(size, minutes=100 + number, **place) for number, size in enumerate(sizes)]
        for batch, left in zip(batches, parallel.to_come(batches), strict=False):
            drafted = self.ledger.record(self.folder.name, batch, code=Path("CODE"), digest="HASH")
            with parallel.placed(self.folder, drafted, batch, left=left) as (limited, behind):
                submit_slurm(self.ledger, drafted, limited, after=[], behind=behind)

    def batch(self, size, **place):
        place = Placement(executor="slurm", python=str(self.site.python), mem_gb=0.1, signal_seconds=9, **place)
        cfg = RunConfig({"plugins": [], "study": self.folder.name}, {"hardware": "slurm"})
        first, self.count = self.count, self.count + size
        names = [f"rloo-tiny-s{seed}-0123abcd" for seed in range(first, self.count)]
        return JobArray(tasks=tuple(Task(name=name, kind="run", cfg=cfg, placement=place) for name in names))

    def let_go(self):
        """Until then no run ends."""
        write_text(self.site.folder / "wanted", str(self.count))

    def began(self):
        return self.events.read_text().count("begins") if self.events.exists() else 0

    def at_once(self):
        """How many jobs with a run that had not ended there were at the same time, at most."""
        return max(int(event.removeprefix("jobs:")) for event in self.events.read_text().split() if "jobs" in event)


def test_arrays_of_several_placements_keep_to_the_studys_max_parallel_together(site):
    busy = Busy(site, "placements", 3)
    busy.submit(4, 1, 3)
    busy.let_go()
    assert site.ended(busy.study, 8) == ["COMPLETED"] * 8, busy.study.log()
    assert busy.at_once() == 3


def test_arrays_that_are_added_while_others_run_wait_for_their_share(site):
    """More arrays than shares, and runs that fail: they wait in a line, and nothing idles."""
    busy = Busy(site, "added", 2, status=1)
    busy.submit(3)
    until(busy.began, busy.study.log)
    parallel.begin(busy.folder, 2)
    busy.submit(1, 2, 1)
    turn = ("waiting", "for its turn: hardware.placement.max_parallel runs of the study are at work")
    until(lambda: added(busy) == {turn}, lambda: added(busy))
    busy.let_go()
    assert site.ended(busy.study, 7) == ["FAILED"] * 7, busy.study.log()
    assert busy.at_once() == 2


def test_a_larger_max_parallel_holds_for_what_is_in_the_queue_as_well(site):
    busy = Busy(site, "larger", 1)
    busy.submit(2, 2, sbatch=HELD)
    assert shown(site, busy) == ["1", "1"]
    parallel.begin(busy.folder, 3)
    assert shown(site, busy) == ["2", "1"]
    parallel.begin(busy.folder, None)
    assert shown(site, busy) == ["2", "2"]
    assert not [row for row in site.queue("%j|%E") if row.startswith(f"{busy.folder.name}.") and "after" in row]
    cancel([str(busy.folder)])


def added(busy):
    """How `status` describes the arrays after the first."""
    first = busy.ledger.submissions()[0].job_id
    return {(task.state, task.why) for task in busy.study.states() if task.job.partition("_")[0] != first}


def limits(text):
    """The runs of each array that may run at the same time, in the lines of scripts."""
    return sorted(re.findall(r"^#SBATCH --array=0-1%(\d+)$", text, re.MULTILINE))


def shown(site, busy):
    """The limits of the study's arrays, by Slurm."""
    texts = [
        site.cluster("scontrol", "-o", "show", "job", submission.job_id) for submission in busy.ledger.submissions()
    ]
    return [text.split("ArrayTaskThrottle=")[1].split()[0] for text in texts]


def test_a_study_with_arms_of_several_placements_is_submitted_with_shares_that_add_up(lab):
    (lab.folder / "sweeps").mkdir()
    (lab.folder / "sweeps" / "three.yaml").write_text(
        "# @package _global_\nstudy: three\narms:\n  a: [algo=rloo, hardware.placement.max_parallel=3]\n"
        "  b: [algo=raft, hardware.placement.minutes=9]\n  c: [algo=dpo, hardware.placement.max_parallel=2]\n"
        "seeds: [0, 1]\nhydra: {mode: MULTIRUN}\n"
    )
    held = ("sweeps=three", 'hardware.placement.sbatch=["--hold"]')
    planned = lab.train(*held, "dry_run=true").stdout
    lab.train(*held)
    scripts = [path.read_text() for path in (lab.folder / "runs/three/.dispatch/logs").glob("*.sh")]
    assert limits(planned) == sorted(limit for script in scripts for limit in limits(script)) != []
    arrays = Counter(run["job"].partition("_")[0] for run in lab.runs("three"))
    texts = [lab.cluster("scontrol", "-o", "show", "job", array) for array in arrays]
    assert [*arrays.values()] == [2, 2, 2]
    assert ["afterany" in text for text in texts] == [False, False, True]  # two of them may run, as arm c asks
    assert {re.search(r"ArrayTaskThrottle=(\d+)", text)[1] for text in texts} == {"1"}
    lab("cancel", "three")
