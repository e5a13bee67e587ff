"""Our launcher as a Hydra plug-in: any sweeper proposes jobs, the planner checks and places them, their results go back."""

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

NAME = "hydra_plugins.align_lab"  # Hydra instantiates plug-ins of this namespace only; `conf/config.yaml` names it


class Launcher(HydraLauncher):
    """Each batch of a sweeper is a study: finished runs are not run again, they are reported."""

    statuses: list[int] = []  # noqa: RUF012  of this process

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)  # sweepers leave their own results there
        values = OmegaConf.to_container(config, throw_on_missing=False)
        self.settings = construct(StudySettings, {key: values[key] for key in STUDY_KEYS})  # type: ignore[call-overload,index]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run the jobs and wait for them. Raises ConfigError where a cluster's jobs would not be waited for."""
        runs = Composer().runs([list(overrides) for overrides in job_overrides])
        batch = study.from_runs(runs, settings=self.settings)
        if self.settings.wait is not True and any(placement_of(run).executor == "slurm" for run in runs):
            raise ConfigError("this sweeper decides by results, so it must wait for them: set wait=true")
        self.statuses.append(launch.launch(batch))
        values = launch.results(batch)
        return [
            _report(values[run.name], overrides, self.settings.objective)
            for run, overrides in zip(runs, job_overrides, strict=True)
        ]


def _report(value: float | None, overrides: Sequence[str], objective: str) -> JobReturn:
    report = JobReturn(overrides=list(overrides))
    report.status = JobStatus.FAILED if value is None else JobStatus.COMPLETED
    report.return_value = AlignLabError(f"the run has no {objective}") if value is None else value
    return report


def register() -> None:
    """Tell Hydra of the launcher, under the one name space from which it takes plug-ins."""
    plugins = sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
    sys.modules[NAME] = plugins.align_lab = sys.modules[__name__]  # type: ignore[attr-defined]
    Launcher.__module__ = NAME
    Plugins.instance().register(Launcher)
