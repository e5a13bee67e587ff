"""Trivial jobs on a Slurm cluster: with this project, with hydra-submitit-launcher, and as a bare sbatch array.

    python benchmarks/dispatch.py --jobs 20 200

All three run side by side, on the cluster of this machine or on that of the tests, which is then started for the
benchmark. A trivial job does everything that a job of this project does (start-up, verification of its snapshot,
registry) except train; the jobs of the bare array import the same packages. Measured: the time until the command
returns, the time until the last job has ended, and the time to plan 1,000 jobs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PARALLEL = 6  # jobs at the same time, for every contender: the simulated nodes share the cores of one machine
IMPORTS = "import align_lab.dispatch.job, align_lab.dispatch.snapshot, align_lab.base.registry as r; r.scan()"
TRIVIAL = '''
"""A plug-in that replaces training, so that only the overhead of dispatch remains."""
import sys, types
from align_lab.base.files import write_json
from align_lab.base.paths import runs_folder

def run(cfg, **_):
    folder = runs_folder() / cfg["study"] / cfg.name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "status.json", {"state": "done", "step": 1, "steps": 1})
    return 0

sys.modules["align_lab.run.experiment"] = types.SimpleNamespace(run=run)
'''
STOCK = f"""
import hydra

@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(cfg):
    {IMPORTS}

from hydra.core.config_store import ConfigStore
ConfigStore.instance().store(name="config", node={{"x": 0}})
main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, nargs="+", default=[20, 200])
    counts = parser.parse_args().jobs
    with cluster() as env, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "trivial.py").write_text(TRIVIAL)
        (place / "stock.py").write_text(STOCK)
        env = {**env, "PYTHONPATH": str(place), "ALIGN_LAB_CACHE": str(stages(place, env))}
        for count in counts:
            bare, ours, stock = (measure(run, place, env, count) for run in (sbatch, align_lab, submitit_launcher))
            limit = 1.5 * bare[0] + 2 + 0.01 * count
            print(f"{count} jobs{'':14}returns after   all done   (seconds)")
            for name, (back, done) in {"bare sbatch array": bare, "align_lab": ours, "stock launcher": stock}.items():
                print(f"  {name:<20}{back:11.2f}   {done:8.2f}   {done / bare[1]:5.2f} x bare")
            print(f"  align_lab may take {limit:.2f} to return, and 1.3 x bare to the last job\n", flush=True)
        planning = seconds(
            align_lab_command("dry_run=true", "seed=range(0,200)", "algo=ppo,ppo_max,rloo,reinforce_pp,dpo"), place, env
        )
        print(f"planning 1,000 jobs (composed, validated, with scripts): {planning:.1f} s (target 30)")


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """The environment variables of the configured cluster, or of one like that of the tests."""
    if "SLURM_CONF" in os.environ or subprocess.run(["sinfo"], capture_output=True).returncode == 0:
        yield dict(os.environ)
        return
    script = Path(__file__).parents[1] / "tests" / "slurm" / "cluster.sh"
    with tempfile.TemporaryDirectory() as folder:
        conf = {
            "SLURM_CI_DIR": folder,
            "SLURM_CONF": f"{folder}/etc/slurm.conf",
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
        }
        env = {**os.environ, **conf}
        subprocess.run(["bash", script, "start"], env=env, check=True, capture_output=True)
        try:
            yield env
        finally:
            subprocess.run(["bash", script, "stop"], env=env, check=True, capture_output=True)


def stages(place: Path, env: dict[str, str]) -> Path:
    """A cache in which every stage counts as built, because building them is not measured."""
    code = (
        "import sys, pathlib; from align_lab.config import study; from align_lab.dispatch.plan import artefacts\n"
        "for run in study.read(['algo=ppo,ppo_max,rloo,reinforce_pp,dpo']).runs:\n"
        "    for name in artefacts(run):\n"
        "        folder = pathlib.Path(sys.argv[1], 'artefacts', name); folder.mkdir(parents=True, exist_ok=True)\n"
        "        (folder / 'artefact.json').write_text('{}')"
    )
    subprocess.run([sys.executable, "-c", code, str(place / "cache")], env=env, check=True)
    return place / "cache"


Contender = Callable[[Path, dict[str, str], int], None]


def measure(run: Contender, place: Path, env: dict[str, str], count: int) -> tuple[float, float]:
    """Seconds until the command returns, and until the queue is empty."""
    shutil.rmtree(place / "runs", ignore_errors=True)
    began = time.perf_counter()
    run(place, env, count)
    back = time.perf_counter() - began
    while subprocess.run(["squeue", "-h"], env=env, capture_output=True, text=True, check=True).stdout.strip():
        time.sleep(0.1)
    return back, time.perf_counter() - began


def sbatch(place: Path, env: dict[str, str], count: int) -> None:
    wrap = f'srun {sys.executable} -c "{IMPORTS}"'
    array = f"--array=0-{count - 1}%{PARALLEL}"
    call(["sbatch", array, "--mem=1G", "--output=/dev/null", "--wrap", wrap], place, env)


def align_lab(place: Path, env: dict[str, str], count: int) -> None:
    call(align_lab_command("algo=rloo", f"seed=range(0,{count})"), place, env)


def align_lab_command(*overrides: str) -> list[str]:
    where = ["hardware=slurm_cpu", "hardware.placement.mem_gb=1", f"hardware.placement.max_parallel={PARALLEL}"]
    return [sys.executable, "-m", "align_lab", "-m", "plugins=[trivial]", "study=trivial", *where, *overrides]


def submitit_launcher(place: Path, env: dict[str, str], count: int) -> None:
    launcher = [
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.mem_gb=1",
        f"hydra.launcher.array_parallelism={PARALLEL}",
    ]
    call([sys.executable, "stock.py", "-m", f"x=range(0,{count})", *launcher], place, env)


def seconds(command: list[str], place: Path, env: dict[str, str]) -> float:
    began = time.perf_counter()
    call(command, place, env)
    return time.perf_counter() - began


def call(command: list[str], place: Path, env: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
