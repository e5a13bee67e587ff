"""The paths of the files of a run and of a study. No other module names them; importing it is cheap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONFIG = "config.yaml"
MANIFEST = "manifest.json"
STATUS = "status.json"
METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
COMPACTED = "metrics.parquet"
CHECKPOINTS = "checkpoints"
EVALUATIONS = "evaluations"
DISPATCH = ".dispatch"  # of a study
TUNING = "_tuning"  # behind its name: the study of its trials
BROKEN_NODES = (
    "broken_nodes"  # in that: the node of each job that failed there before its program began, as it did elsewhere
)


@dataclass(frozen=True)
class RunLayout:
    """The files of a run, `runs/STUDY/RUN/`. `record.folder` writes them."""

    path: Path

    @property
    def config(self) -> Path:
        """The whole resolved config."""
        return self.path / CONFIG

    @property
    def manifest(self) -> Path:
        """Content hashes, code, versions, machine, what the run has spent."""
        return self.path / MANIFEST

    @property
    def status(self) -> Path:
        """State, phase, heartbeat, error."""
        return self.path / STATUS

    @property
    def metrics(self) -> Path:
        """One row per step."""
        return self.path / METRICS

    @property
    def samples(self) -> Path:
        """One row per completion of an evaluation."""
        return self.path / SAMPLES

    @property
    def compacted(self) -> Path:
        """The rows of `metrics` as one table, once the run is finished."""
        return self.path / COMPACTED

    @property
    def errors(self) -> Path:
        """Cause and traceback of the failure of the newest attempt."""
        return self.path / "error.log"

    @property
    def stacks(self) -> Path:
        """The stack traces that the watchdog dumps when a run makes no progress."""
        return self.path / "stacks.txt"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def best(self) -> Path:
        """The step with the best score; `train.checkpoint` writes it."""
        return self.checkpoints / "best.json"

    @property
    def evaluations(self) -> Path:
        """The folder of evaluations that were made without training; `record.evaluations` writes it."""
        return self.path / EVALUATIONS

    def evaluation(self, name: str) -> Path:
        """Settings and metrics of one of them."""
        return self.evaluations / f"{name}.json"

    def evaluation_samples(self, name: str) -> Path:
        """Its completions, one row each."""
        return self.evaluations / f"{name}.jsonl"

    @property
    def lease(self) -> Path:
        """Beside the folder: the process that is training the run."""
        return self.path.with_name(f".{self.path.name}.lease")


@dataclass(frozen=True)
class StudyLayout:
    """The files of a study, `runs/STUDY/`, beside its runs' folders."""

    path: Path

    @property
    def dispatch(self) -> Path:
        """The ledger of submissions, with tasks and logs."""
        return self.path / DISPATCH

    @property
    def expected_runs(self) -> Path:
        """The runs that the study expects."""
        return self.dispatch / "expected_runs.json"

    @property
    def broken_nodes(self) -> Path:
        """A node on each line, where a job failed before its program began."""
        return self.dispatch / BROKEN_NODES

    @property
    def rest(self) -> Path:
        """What did not fit into the queue, for the jobs that submit it as they end."""
        return self.dispatch / "rest.jsonl"

    @property
    def shares(self) -> Path:
        """How many runs of each array may run at the same time, so that together they keep to `max_parallel`."""
        return self.dispatch / "shares.json"

    @property
    def shares_lease(self) -> Path:
        """The process that gives these out."""
        return self.dispatch / "shares.lease"

    @property
    def seed_plan(self) -> Path:
        """Looks and rules of a study that takes its seeds in steps."""
        return self.dispatch / "seed_plan.json"

    @property
    def tuning(self) -> Path:
        """What the tuning of a study tried, what came out, and what it cost."""
        return self.dispatch / "tuning.json"

    @property
    def trials(self) -> Path:
        """The study of its trials, where it is tuned: a folder beside its own."""
        return self.path.with_name(f"{self.path.name}{TUNING}")

    @property
    def lease(self) -> Path:
        """The process that submits the study now, or runs it on this machine."""
        return self.dispatch / "lease"

    @property
    def looks_lease(self) -> Path:
        """The process that takes the looks of a study with seeds in steps, on whatever machine."""
        return self.dispatch / "looks.lease"

    def stage(self, name: str) -> Path:
        """The state of the job that builds this artefact."""
        return self.dispatch / "stages" / f"{name}.json"

    def rounds(self, name: str) -> Path:
        """How often the job of a run or stage was requeued without progress."""
        return self.dispatch / "rounds" / f"{name}.json"

    def look(self, name: str) -> Path:
        """The state of the job that takes this look."""
        return self.dispatch / "looks" / f"{name}.json"
