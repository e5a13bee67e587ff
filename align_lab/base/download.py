"""Files that come from the package index: fetched once through pip, known by their hash, kept in the cache."""

from __future__ import annotations

import errno
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from align_lab.base.errors import DataError
from align_lab.base.files import replacing
from align_lab.base.paths import cache_folder
from align_lab.base.progress import notice

LARGEST_MEMBER = 64 << 20  # bytes; a damaged or hostile archive must not fill the memory


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One file of one release of a package."""

    package: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        raise NotImplementedError

    @property
    def which(self) -> tuple[str, ...]:
        """How pip is told to take this kind of file."""
        raise NotImplementedError

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"

    def by_hand(self, folder: Path) -> str:
        return (
            f"fetch it by hand, on a machine that reaches a package index:\n"
            f"  pip download --no-deps {' '.join(self.which)} {self.requirement}\n"
            f"and put {self.filename} into {folder}"
        )


class SourceArchive(Archive):
    """The source distribution."""

    @property
    def filename(self) -> str:
        return f"{self.package}-{self.version}.tar.gz"

    @property
    def which(self) -> tuple[str, ...]:
        return ("--no-binary", ":all:")


class Wheel(Archive):
    """The wheel that every platform shares."""

    @property
    def filename(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"

    @property
    def which(self) -> tuple[str, ...]:
        return ("--only-binary", ":all:")


def fetch(archive: Archive) -> Path:
    """The archive in the cache, downloaded if it is not there. Raises DataError when it cannot be had whole."""
    folder = cache_folder() / "downloads"
    path = folder / archive.filename
    if path.exists():
        return verify(path, archive, cure=f"remove it, it will be fetched again: rm {path}")
    notice(f"fetching {archive.requirement} from the package index")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="align_lab-") as scratch:
            found = verify(_pip_download(archive, Path(scratch), folder), archive, cure=archive.by_hand(folder))
            with replacing(path) as partial:
                partial.write_bytes(found.read_bytes())
    except OSError as error:
        raise DataError(
            f"{archive.filename} could not be stored in {folder}: {reason(error)}. Nothing was left half-written."
        ) from error
    return path


def reason(error: OSError) -> str:
    """What the system said, and for a full disk what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space is left on the device (free some, or set ALIGN_LAB_CACHE to a folder on another disk)"
    return error.strerror or str(error)


def verify(path: Path, archive: Archive, *, cure: str) -> Path:
    """The path again, if its bytes are those of the archive. Raises DataError otherwise."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != archive.sha256:
        raise DataError(
            f"{path} is not {archive.requirement} (truncated, or another file): "
            f"its {path.stat().st_size} bytes have sha256 {found}, expected {archive.sha256}; {cure}"
        )
    return path


def _pip_download(archive: Archive, scratch: Path, folder: Path) -> Path:
    """Let pip fetch the archive into `scratch`; pip checks the hash before it opens the file.

    The installed setuptools serves for pip's look at the metadata; only where it is missing pip makes an environment.
    """
    wanted = scratch / "wanted.txt"
    wanted.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-r",
        str(wanted),
        "-d",
        str(scratch),
        "--require-hashes",
        "--no-deps",
        *archive.which,
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--retries",
        "2",
    ]
    said = ""
    for isolation in (["--no-build-isolation"], []):
        try:
            done = subprocess.run([*command, *isolation], capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            said = "pip did not finish within 300 seconds"
            break
        if (scratch / archive.filename).exists():
            return scratch / archive.filename
        said = done.stderr
        if "setuptools" not in said:
            break
    if "No space left" in said:
        raise OSError(errno.ENOSPC, "No space left on device")
    lines = [line.strip() for line in said.splitlines() if "ERROR" in line or "No module" in line]
    raise DataError(
        f"{archive.filename} lies in the package index under {archive.requirement}; pip could not fetch it:\n"
        f"  {(lines or [said.strip()[-300:]])[0]}\n"
        f"Check the network and run the same command again, or {archive.by_hand(folder)}"
    )


def members(archive: bytes, names: Iterable[str], *, where: str) -> dict[str, bytes]:
    """The content of these members of a .tar.gz, read in memory: nothing is unpacked to disk. Raises DataError."""
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            for name in names:
                file = tar.extractfile(name)
                if file is None or tar.getmember(name).size > LARGEST_MEMBER:
                    raise DataError(f"{where}: {name} is not a file of a reasonable size")
                found[name] = file.read()
    except (tarfile.TarError, EOFError, OSError, KeyError) as error:
        raise DataError(f"{where} is damaged: {error}") from error
    return found
