"""The watchdog's clock, a program of its own: PID SIGNAL STACKS, and on standard input a line `SECONDS PHASE` a beat.

When a beat is SECONDS old, the process PID gets SIGNAL. Only time in which both processes could run is counted: after
`scontrol suspend`, Ctrl-Z, a debugger's break or a laptop's sleep, a process continues with the time that it had left.
It imports nothing of this package, so that it takes 10 MB and starts at once.
"""

import os
import select
import sys
import time

TICK = 1.0  # seconds; what passes beyond it while nothing is said was a stop of this process


def main(pid: int, number: int, stacks: str) -> None:
    """Count until the other side of the pipe is closed, its process has ended, or its time is over."""
    left, phase, said = float("inf"), "", b""
    while os.getppid() == pid:
        before, tick = time.monotonic(), min(TICK, left)
        if select.select([0], [], [], max(tick, 0.0))[0]:
            read = os.read(0, 4096)
            if not read:
                return
            *lines, said = (said + read).split(b"\n")
            if lines:
                seconds, _, phase = lines[-1].decode().partition(" ")
                left = float(seconds)
        elif not stopped(pid):
            left -= min(time.monotonic() - before, tick)
            if left <= 0:
                print(f"hung: no progress in the phase {phase}; stack traces in {stacks}", file=sys.stderr, flush=True)
                os.kill(pid, number)
                return


def stopped(pid: int) -> bool:
    """Is the process stopped, by a signal or a debugger?"""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] in b"Tt"
    except OSError:  # no such file on this system, or the process has ended
        return False


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
