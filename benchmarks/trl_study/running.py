"""One seed of one arm: ours and TRL's, judged by the same evaluation. A result is a file, and is not computed again."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from align_lab.base.files import write_json
from benchmarks.trl_environment import offline, trl_python
from benchmarks.trl_study import ours
from benchmarks.trl_study.arms import Arm

HERE = Path(__file__).parent


def result(arm: Arm, seed: int, steps: int | None, folder: Path) -> dict[str, Any]:
    """The metrics of both sides, with their wall times."""
    asked = {"arm": arm.algo, "ours": list(arm.ours), "theirs": dict(arm.theirs), "seed": seed, "steps": steps}
    file = folder / f"{arm.algo}-s{seed}.json"
    if file.exists() and (known := json.loads(file.read_text()))["asked"] == asked:
        return known
    run, seconds = ours.train(arm, seed, steps, folder)
    task = ours.Task(run)
    begin = time.perf_counter()
    own = task.judge_ours()
    judging = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as work:
        done = train_with_trl(arm, seed, ours.Task(run), Path(work))
        theirs = ours.Task(run).judge_folder(Path(work) / "trained")
    outcome = {
        "asked": asked,
        "settings": task.settings(),
        "ours": own,
        "trl": theirs,
        "seconds": {"ours": seconds, "trl": done["seconds"], "judging": judging},
        "versions": done["versions"],
        "trl_log": done["log"],
    }
    write_json(file, outcome)
    return outcome


def train_with_trl(arm: Arm, seed: int, task: ours.Task, work: Path) -> dict[str, Any]:
    """TRL's training in its own process; this one answers its calls of the reward."""
    task.write_start(work / "start")
    job = {
        "trainer": arm.trainer,
        "theirs": dict(arm.theirs),
        "seed": seed,
        "experience": task.experience(),
        **task.settings(),
    }
    (work / "job.json").write_text(json.dumps(job))
    command, pipe = [str(trl_python()), "trl_worker.py", str(work)], subprocess.PIPE
    environment = offline(OMP_NUM_THREADS="1")  # the fastest for a model of this size
    with (work / "log").open("w+") as log:
        process = subprocess.Popen(command, cwd=HERE, env=environment, stdin=pipe, stdout=pipe, stderr=log, text=True)
        assert process.stdin is not None and process.stdout is not None
        for line in process.stdout:
            message = json.loads(line)
            if "seconds" in message:
                process.wait()
                return message
            print(json.dumps(task.scores(message["rows"], message["completions"])), file=process.stdin, flush=True)
        log.seek(0)
        raise SystemExit(f"TRL's {arm.trainer} ended without a result:\n{log.read()[-4000:]}")
