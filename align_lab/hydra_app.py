"""Hydra's own flags on our overrides: --cfg, --info, --multirun, --shell-completion and the like."""

from __future__ import annotations

import itertools
import os
import sys
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from align_lab import compose, config
from align_lab.config import RunConfig
from align_lab.errors import AlignLabError, ConfigError
from align_lab.options import GROUPS
from align_lab.paths import conf_folder

MOST_COMBINATIONS = 64  # of a multirun that are checked before the first one starts


def run(args: list[str]) -> int:
    """Check the overrides, then let Hydra act on its flags."""
    try:
        overrides = get_args_parser().parse_args(args).overrides
    except SystemExit:
        raise ConfigError(f"{' '.join(args)}: not understood. See python -m align_lab --help") from None
    multirun = bool({"-m", "--multirun"} & set(args))
    parsed = compose.parse(overrides)
    compose.prepare(parsed)
    for combination in itertools.islice(compose.combinations(parsed), MOST_COMBINATIONS) if multirun else [overrides]:
        compose.compose(combination)
    flags = [arg for arg in args if arg not in overrides]
    sys.argv = [sys.argv[0], *flags, *(str(o.input_line) for o in parsed), compose.search_path_override()]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    statuses: list[int] = []
    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(_job(statuses))()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(error)) from None
    return max(statuses, default=0)


def _job(statuses: list[int]) -> Any:
    def job(cfg: DictConfig) -> None:
        """One job of a multirun: an arm that fails is reported and does not stop the others."""
        from align_lab import experiment

        try:
            choices = HydraConfig.get().runtime.choices
            statuses.append(experiment.run(RunConfig(config.plain(cfg), {g: str(choices[g]) for g in GROUPS})))
        except AlignLabError as error:
            print(f"error: {error}", file=sys.stderr)
            if error.status == 75:
                raise
            statuses.append(error.status)

    return job
