"""A cache that several users share: what is written into it gets the rights of the folder that it is written into.

The modes of the cache folder decide, whatever the umask of the user: with `chmod g+rwxs FOLDER` a group shares it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

RIGHTS = 0o2777  # of a folder: those of user, group and others, and that new files get its group
FILE_RIGHTS = 0o666
ADVICE = (
    "A cache that a group shares needs, once: chgrp -R GROUP {root}; chmod -R g+rwX {root}; "
    "find {root} -type d -exec chmod g+s {{}} +. Or use a cache of your own: ALIGN_LAB_CACHE=FOLDER"
)


def subfolder(path: Path) -> Path:
    """The folder, made with the rights of the one that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_dir():
        path.mkdir(exist_ok=True)
        _allow(path, path.parent)
    return path


def share(path: Path) -> None:
    """Give a file, or a folder with all that is in it, the rights of the folder that it lies in."""
    _allow(path, path.parent)
    if path.is_dir():
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                _allow(Path(folder, name), path.parent)


def owner(path: Path) -> str:
    """The name of the user whose file or folder it is."""
    with suppress(OSError, KeyError):
        return path.owner()
    return "another user"


def _allow(path: Path, like: Path) -> None:
    """Files that are executable stay so for their owner alone; those of another user stay as they are."""
    with suppress(OSError):
        now, rights = stat.S_IMODE(path.lstat().st_mode), stat.S_IMODE(like.stat().st_mode)
        if path.is_symlink():
            return
        path.chmod(rights & RIGHTS if path.is_dir() else (now & 0o700) | (rights & FILE_RIGHTS))
