"""Data sets of the Hugging Face hub, and folders that `datasets` wrote: converted to Parquet once, under the cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from align_lab.base import sharing
from align_lab.base.content import content_hash
from align_lab.base.errors import DataError
from align_lab.base.files import publishing
from align_lab.base.paths import cache_folder
from align_lab.base.task import TRAIN
from align_lab.data.locations import Location, is_saved_folder
from align_lab.data.settings import Hub

_failed: dict[Path, DataError] = {}  # what this process could not read: a thousand jobs ask, and a hub takes seconds
EXTRA = 'pip install "align_lab[hub]"'


def locate(field: str, text: str, hub: Hub, *, held_out: bool) -> Location:
    """The Parquet files of a data set of the hub, or of a saved folder, which are written now if they are not there.

    `held_out`: it is a set for evaluation alone. Raises DataError where it cannot be read.
    """
    path = Path(text).expanduser()
    identity = {"saved": content_hash([path])} if is_saved_folder(path) else {"id": text, **vars(hub)}
    key = hashlib.sha256(json.dumps([identity, held_out], sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder() / "data_sets" / f"{path.name}-{key}"
    if folder in _failed:
        raise _failed[folder]
    if not folder.is_dir():
        try:
            splits = _saved(path) if is_saved_folder(path) else _downloaded(text, hub, held_out=held_out)
        except DataError as error:
            _failed[folder] = error
            raise
        sharing.subfolder(folder.parent)
        with publishing(folder) as partial:
            for number, (name, split) in enumerate(splits.items()):
                split.to_parquet(partial / f"{number}-{name}.parquet")
            sharing.share(partial)
    files = {file.stem.partition("-")[2]: (file,) for file in sorted(folder.glob("*.parquet"))}
    if len(files) == 1 or TRAIN not in files:
        files = {"": tuple(file for (file,) in files.values())}
    return Location(field=field, splits=files)


def _saved(path: Path) -> dict[str, Any]:
    datasets = _datasets(str(path))
    try:
        loaded = datasets.load_from_disk(str(path))
    except Exception as error:  # a damaged folder raises what pyarrow or json raise
        raise DataError(f"{path} is no data set that datasets can read: {_first_line(error)}") from error
    return dict(loaded) if isinstance(loaded, dict) else {"": loaded}


def _downloaded(name: str, hub: Hub, *, held_out: bool) -> dict[str, Any]:
    """The training split and, if one is named, the split with held-out examples; of a set for evaluation, that one."""
    datasets = _datasets(name)
    wanted = {"evaluation": hub.evaluation_split or "test"} if held_out else {TRAIN: hub.split}
    if hub.evaluation_split and not held_out:
        wanted[hub.evaluation_split] = hub.evaluation_split
    try:
        return {
            ours: datasets.load_dataset(name, hub.config, split=theirs, revision=hub.revision)
            for ours, theirs in wanted.items()
        }
    except Exception as error:  # the hub raises a dozen classes: not found, gated, no network, ...
        raise DataError(
            f"{name} could not be read from the Hugging Face hub: {_first_line(error)}. Check the name, "
            "data.hub.config and data.hub.split, and your login (hf auth login), or name a local file"
        ) from error


def _datasets(what: str) -> Any:
    try:
        import datasets
    except ModuleNotFoundError as missing:
        raise DataError(f"{what} is read by the package datasets, which is not installed: {EXTRA}") from missing
    return datasets


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
