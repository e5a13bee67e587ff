"""Where the files of `data=files` lie: a file, a folder, a Hugging Face folder or an id of the hub, by split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from align_lab.base.errors import ConfigError
from align_lab.base.task import TRAIN
from align_lab.data import rows

SPLIT_NAMES = {  # words in the name of a file or of its folder -> split
    TRAIN: ("train", "training"),
    "test": ("test",),
    "validation": ("validation", "valid", "val", "dev"),
    "evaluation": ("evaluation", "eval", "heldout"),
}
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Location:
    """The files that one field of the config names, by split."""

    field: str  # of the config
    splits: Mapping[str, tuple[Path, ...]]  # one split named "" where the files do not say which split they are

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of all splits."""
        return tuple(file for files in self.splits.values() for file in files)

    @property
    def held_out(self) -> tuple[Path, ...]:
        """The files of an evaluation set: those that are not for training, where some are."""
        return tuple(file for split, files in self.splits.items() if split != TRAIN for file in files) or self.files


def is_hub_id(text: str) -> bool:
    """OWNER/NAME, where no file or folder has this name."""
    return not Path(text).expanduser().exists() and rows.format_of(Path(text)) == "" and bool(HUB_ID.fullmatch(text))


def is_saved_folder(path: Path) -> bool:
    """A folder that `datasets` wrote with `save_to_disk`."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def locate(field: str, text: str) -> Location:
    """The files at a path. Raises ConfigError where there is none that can be read."""
    path = Path(text).expanduser()
    if not path.exists():
        raise ConfigError(
            f"{field}={text}: there is no such file or folder, and it is no OWNER/NAME of the Hugging Face hub. "
            f"Relative paths begin at {Path.cwd()}"
        )
    if path.is_file():
        if not rows.format_of(path):
            raise ConfigError(f"{field}={text} is not one of the formats {_formats()}")
        return Location(field=field, splits={"": (path,)})
    files = [file for file in sorted(path.rglob("*")) if _is_data(file, path)]
    if not files:
        raise ConfigError(f"{field}={text} is a folder without files of the formats {_formats()}")
    return Location(field=field, splits=_by_split(files, path))


def _formats() -> str:
    return ", ".join([*rows.READERS, ".jsonl.gz"])


def _is_data(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.is_file() and not hidden and bool(rows.format_of(file)) and file.name not in METADATA


METADATA = ("dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json")


def _by_split(files: list[Path], folder: Path) -> dict[str, tuple[Path, ...]]:
    """Files by the split in their names, if some are for training and some are not; else all of them under ""."""
    names = [split_of(file.relative_to(folder)) for file in files]
    if TRAIN not in names or set(names) <= {TRAIN, ""}:
        return {"": tuple(files)}
    order = [TRAIN, *(split for split in SPLIT_NAMES if split != TRAIN and split in names)]
    of = {split: [file for file, name in zip(files, names, strict=True) if (name or TRAIN) == split] for split in order}
    return {split: tuple(of[split]) for split in order}


def split_of(path: Path) -> str:
    """The split that a path names; "" where it names none."""
    words = re.split(r"[^a-z]+", path.as_posix().lower().replace("held_out", "heldout").replace("held-out", "heldout"))
    return next((split for split, names in SPLIT_NAMES.items() if set(names) & set(words)), "")
