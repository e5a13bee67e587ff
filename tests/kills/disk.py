"""A small disk of its own under a folder, where this user may mount one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ENOUGH = 1 << 30


def mount(folder: Path, size: int) -> None:
    """Make the folder a file system of so many bytes."""
    _mount(folder, f"size={size}")


def enlarge(folder: Path) -> None:
    """Let the file system take as much as is needed."""
    _mount(folder, f"remount,size={ENOUGH}")


def unmount(folder: Path) -> None:
    """Make it a plain folder again, if it is a file system."""
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def possible(folder: Path) -> bool:
    """May this user mount here?"""
    done = subprocess.run(_words(folder, "size=64k"), capture_output=True)
    unmount(folder)
    return done.returncode == 0


def _mount(folder: Path, options: str) -> None:
    subprocess.run(_words(folder, options), check=True)


def _words(folder: Path, options: str) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
