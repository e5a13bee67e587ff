"""Our launcher as a Hydra plug-in: any sweeper proposes jobs, the planner submits them, their results go back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher as HydraLauncher
from omegaconf import OmegaConf

from align_lab.base.errors import AlignLabError, ConfigError
from align_lab.base.registry import construct
from align_lab.config import study
from align_lab.config.composition import Composer
from align_lab.config.root import STUDY_KEYS, StudySettings
from align_lab.dispatch import launch
from align_lab.dispatch.plan import placement_of

NAME = "hydra_plugins.align_lab"  # Hydra only instantiates plug-ins of this namespace; config.schema names it


class Launcher(HydraLauncher):
    """Each batch of a sweeper is a study, so finished runs are reported and not run again."""

    statuses: list[int] = []  # noqa: RUF012  exit statuses of all batches in this process

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        """Hydra calls this first. Sweepers write their own results to its sweep folder."""
        Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        values: Any = OmegaConf.to_container(config, throw_on_missing=False)
        self.settings = construct(StudySettings, {key: values[key] for key in STUDY_KEYS})

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run the jobs and wait for them. Raises ConfigError where `wait` is not set for jobs on a cluster."""
        runs = Composer().runs([list(overrides) for overrides in job_overrides])
        batch = study.from_runs(runs, settings=self.settings)
        if self.settings.wait is not True and any(placement_of(run).executor == "slurm" for run in runs):
            raise ConfigError("this sweeper needs the results of its jobs, so it must wait for them: set wait=true")
        self.statuses.append(launch.launch(batch))
        values = launch.results(batch)
        return [
            _job_return(values[run.name], overrides, self.settings.objective)
            for run, overrides in zip(runs, job_overrides, strict=True)
        ]


def _job_return(value: float | None, overrides: Sequence[str], objective: str) -> JobReturn:
    result = JobReturn(overrides=list(overrides))
    result.status = JobStatus.FAILED if value is None else JobStatus.COMPLETED
    result.return_value = AlignLabError(f"the run has no {objective}") if value is None else value
    return result


def register() -> None:
    """Register the launcher with Hydra, under the one namespace from which it takes plug-ins."""
    plugins = sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
    sys.modules[NAME] = plugins.align_lab = sys.modules[__name__]  # type: ignore[attr-defined]
    Launcher.__module__ = NAME
    Plugins.instance().register(Launcher)
