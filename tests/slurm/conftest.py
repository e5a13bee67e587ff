"""A real Slurm cluster on this machine, for the whole session, driven through the command line as a user would."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from align_lab.base.paths import cache_folder
from tests import forked
from tests.run.test_runs import SMALL, rows

SCRIPT = Path(__file__).with_name("cluster.sh")
TOOLS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "sbatch", "sacct")
PORTS = 20  # that a cluster takes, see cluster.sh
PATIENCE = 600  # seconds: only a cluster that does nothing is waited for so long, however slow the machine is
NUMERICS = ["hardware.numerics.dtype=float32"]  # as the runs of this machine that they are compared with
PLACEMENT = ["hardware.placement.mem_gb=1", "hardware.placement.cpus_per_task=1", *NUMERICS]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if missing:
        reason = f"needs {', '.join(missing)}: apt-get install slurm-wlm slurmdbd munge mariadb-server"
        if os.environ.get("ALIGN_LAB_REQUIRE_SLURM"):
            pytest.fail(reason)
        pytest.skip(reason)
    running = os.environ.get("ALIGN_LAB_TEST_CLUSTER")  # the folder of one that `cluster.sh start` has brought up
    folder = Path(running) if running else tmp_path_factory.mktemp("cluster")
    env = {
        **os.environ,
        "PATH": path,
        "PORT": str(free_ports()),
        "SLURM_CI_DIR": str(folder),
        "SLURM_CONF": str(folder / "etc" / "slurm.conf"),
    }
    if running:
        yield Cluster(env)
        return
    started = subprocess.run(["bash", str(SCRIPT), "start"], env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert started.returncode == 0, started.stdout + started.stderr
    yield Cluster(env)
    subprocess.run(["bash", str(SCRIPT), "stop"], env=env, capture_output=True, timeout=600)


class Cluster:
    def __init__(self, env):
        self.env = env

    def __call__(self, *command):
        given = {"env": self.env, "capture_output": True, "text": True}
        return subprocess.run(command, check=True, timeout=PATIENCE, **given).stdout

    def script(self, *args):
        self("bash", str(SCRIPT), *args)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """The studies of the session share their stages; the downloaded archive comes from the user's cache, if present."""
    running = os.environ.get("ALIGN_LAB_TEST_CLUSTER")
    folder = Path(running) / "cache" if running else tmp_path_factory.mktemp("cache")
    if running and folder.is_dir():
        return folder
    folder.mkdir(exist_ok=True)
    downloads = cache_folder() / "downloads"
    if downloads.is_dir():
        (folder / "downloads").symlink_to(downloads)
    return folder


def free_ports():
    """The first of as many free ports as a cluster takes: two of them on one machine are no trouble."""
    for first in range(17810, 32000, PORTS):
        try:
            for port in range(first, first + PORTS):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports for a cluster")


@pytest.fixture
def lab(cluster, cache, tmp_path):
    """An empty working folder of a user."""
    return Lab(cluster, cache, tmp_path)


class Lab:
    def __init__(self, cluster, cache, folder):
        self.cluster, self.folder = cluster, folder
        self.env = {**cluster.env, "ALIGN_LAB_CACHE": str(cache)}

    def command(self, *args):
        return [sys.executable, "-m", "align_lab", *args]

    def __call__(self, *args, check=True, **extra):
        done = forked.run(args, cwd=self.folder, env={**self.env, **extra})
        assert not check or done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def train(self, *args, hardware="slurm_gpu", **options):
        place = PLACEMENT if hardware.startswith("slurm") else []
        return self(*SMALL, f"hardware={hardware}", *place, *args, **options)

    def states(self, study):
        return {task["name"]: task for task in json.loads(self("status", study, "--json").stdout)["tasks"]}

    def runs(self, study):
        return [task for task in self.states(study).values() if task["kind"] == "run"]

    def wait(self, study, state="done"):
        """Until every run of the study is in this state."""
        until(
            lambda: (runs := self.runs(study)) and all(run["state"] == state for run in runs),
            lambda: self.runs(study),
        )
        return self.runs(study)

    def paths(self, study):
        return [path for path in (self.folder / "runs" / study).glob("[!.]*") if path.is_dir()]

    def path(self, study):
        (path,) = self.paths(study)
        return path

    def status(self, study):
        try:
            return json.loads((self.path(study) / "status.json").read_text())
        except (ValueError, OSError):
            return {}

    def statuses(self, study):
        return [json.loads(path.read_text()) for path in (self.folder / "runs" / study).glob("[!.]*/status.json")]

    def logs(self, study):
        return "".join(
            file.read_text() for file in sorted((self.folder / "runs" / study / ".dispatch" / "logs").glob("*.out"))
        )

    def jobs(self, study):
        """Every job of the study in Slurm's accounting, with its state; each array task is one."""
        text = self.cluster("sacct", "-nXP", "--format=JobName,JobID,State")
        return [line.split("|")[1:] for line in text.splitlines() if line.startswith(f"{study}.")]

    def at_step(self, study, step):
        """The running job's status once it has reached a step."""
        until(
            lambda: self._has_started(study) and self.status(study).get("step", 0) >= step,
            lambda: self.logs(study) or self.cluster("squeue") + self.cluster("sinfo", "--Node", "--long"),
        )
        return self.status(study)

    def _has_started(self, study):
        return len(list((self.folder / "runs" / study).glob("[!.]*/status.json"))) == 1


def until(condition, explain=lambda: ""):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {explain()}"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def undisturbed(cluster, cache, tmp_path_factory):
    """The metrics of an uninterrupted run, which every interrupted one must equal."""
    lab = Lab(cluster, cache, tmp_path_factory.mktemp("undisturbed"))
    lab.train("algo=rloo", "study=calm", "train.steps=40", hardware="cpu")
    return rows(lab.path("calm"))
