"""Hydra's own flags (--cfg, --info, --multirun, --shell-completion), sweeps, and studies that decide as they go."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from align_lab.base.errors import ConfigError
from align_lab.base.paths import conf_folder
from align_lab.config import composition, overrides, study


def run(args: list[str]) -> int:
    """Check the overrides of every job, then do what the flags say. Returns the exit status."""
    try:
        with redirect_stderr(io.StringIO()):  # argparse would print its usage before our message
            arguments = get_args_parser().parse_intermixed_args(args)
    except SystemExit:
        raise ConfigError(f"{' '.join(args)}: not understood. See python -m align_lab --help") from None
    parsed = overrides.parse(arguments.overrides)
    composition.load_components(parsed)
    flags = [arg for arg in args if arg not in arguments.overrides and arg not in ("-m", "--multirun")]
    if flags:  # --cfg, --info, ...: Hydra prints and runs nothing
        composition.compose(arguments.overrides)
        return _hydra(flags, parsed)
    asked = study.read(arguments.overrides)
    if asked.tuning:
        from align_lab.studies import tuning

        return tuning.run(asked)
    if asked.seed_plan:
        from align_lab.studies import seed_steps

        return seed_steps.run(asked)
    from align_lab.dispatch import launch

    return launch.launch(asked)


def _hydra(flags: Sequence[str], parsed: Sequence[Override]) -> int:
    sys.argv = [sys.argv[0], *flags, *(str(o.input_line) for o in parsed), composition.search_path_override()]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(lambda cfg: None)()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(error)) from None
    return 0
