"""Was the limit of this process's memory the reason of an error? Libraries raise errors of all kinds where it is."""

from __future__ import annotations

import resource
from pathlib import Path

GIB = 2**30
NEAR = 0.9  # of the limit: what does not fit any more may be large


def advice() -> str:
    """What to do about the limit, if this process has come near it; else empty."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    taken = _most_taken()
    if limit == resource.RLIM_INFINITY or taken < NEAR * limit:
        return ""
    return (
        f" (the memory of this process is limited to {limit / GIB:.2f} GiB of addresses, of which it has taken "
        f"{taken / GIB:.2f}: raise the limit, ulimit -v)"
    )


def _most_taken() -> int:
    """Bytes of addresses that this process had at most; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmPeak:")), 0)
