"""Hydra's own flags on our overrides: --cfg, --info, --multirun, --shell-completion and the like."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from align_lab import compose, config
from align_lab.config import RunConfig
from align_lab.errors import AlignLabError, ConfigError, Stopped
from align_lab.options import GROUPS
from align_lab.paths import conf_folder


def run(args: list[str]) -> int:
    """Check the overrides of every job, then let Hydra act on its flags."""
    try:
        with redirect_stderr(io.StringIO()):  # argparse would print its usage before our message
            overrides = get_args_parser().parse_intermixed_args(args).overrides
    except SystemExit:
        raise ConfigError(f"{' '.join(args)}: not understood. See python -m align_lab --help") from None
    parsed = compose.parse(overrides)
    compose.prepare(parsed)
    swept = compose.sweep_of(parsed)
    if {"-m", "--multirun"} & set(args) or len(swept) > len(parsed):
        check_all(swept)
    else:
        compose.compose(overrides)
    flags = [arg for arg in args if arg not in overrides]
    sys.argv = [sys.argv[0], *flags, *(str(o.input_line) for o in parsed), compose.search_path_override()]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    statuses: list[int] = []
    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(_job(statuses))()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(error)) from None
    return max(statuses, default=0)


def check_all(swept: list[Override]) -> None:
    """Compose each job once, those that differ in their seed alone only the first time. Raises ConfigError."""
    seen = set()
    for job in compose.combinations(swept):
        recipe = tuple(text for text in job if not text.startswith("seed="))
        if recipe not in seen:
            seen.add(recipe)
            compose.compose(job)


def _job(statuses: list[int]) -> Any:
    def job(cfg: DictConfig) -> None:
        """One job of a multirun: an arm that fails is reported and does not stop the others."""
        from align_lab import experiment

        try:
            choices = HydraConfig.get().runtime.choices
            statuses.append(experiment.run(RunConfig(config.plain(cfg), {g: str(choices[g]) for g in GROUPS})))
        except AlignLabError as error:
            print(f"error: {error}", file=sys.stderr)
            if isinstance(error, Stopped):  # an Exception would only end this job, and the next one would start
                raise SystemExit(error.status) from None
            statuses.append(error.status)

    return job
