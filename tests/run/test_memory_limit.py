"""An error near the limit of a process's memory names the limit, whatever the library called it."""

import subprocess
import sys

import pytest

FAILS = """
import resource, sys
from pathlib import Path
from align_lab.base.world import World
from align_lab.run.experiment import _message

peak = next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmPeak"))
if sys.argv[1] != "without":
    limit = int(peak * 1024 * float(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(_message(NameError("name 'PyDataFrame' is not defined"), World()))
"""
PLAIN = "NameError: name 'PyDataFrame' is not defined"


@pytest.mark.parametrize(("limit", "named"), [("1.05", True), ("3", False), ("without", False)])
def test_an_error_near_the_limit_of_memory_names_the_limit(limit, named):
    done = subprocess.run([sys.executable, "-c", FAILS, limit], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    message = done.stdout.strip()
    assert message.startswith(PLAIN) and ("GiB of addresses" in message and "ulimit -v" in message) == named
    assert named or message == PLAIN
