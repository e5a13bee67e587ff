"""Is a finished run what it says it is? Its record is checked against itself: nothing that it says is believed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from align_lab.base.run_config import run_ending, signature
from align_lab.compare.values import listed
from align_lab.record.seal import changed

REPAIR = "Restore it, or remove the folder and run it again"


def doubt(path: str, status: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """Why a finished run does not count; empty where config, signature, name and rows belong together.

    Runs of versions that sealed nothing have no hashes of their rows to check.
    """
    name, config = os.path.basename(os.path.realpath(path)), manifest["config"]
    computed, seed = signature(config), config["seed"]
    if (manifest["signature"], manifest.get("seed", seed)) != (computed, seed):
        said = f"{manifest['signature']} with seed {manifest.get('seed', seed)}"
        return f"its manifest was changed: it says {said}, and its config is {computed} with seed {seed}. {REPAIR}"
    if not name.endswith(ending := run_ending(seed, computed)):
        return f"its folder holds the record of a run whose name ends with {ending}: it is a copy, or was renamed"
    if files := changed(path, status.get("sealed") or {}):
        return f"{listed(files)} changed after the run had finished. {REPAIR}"
    return ""
