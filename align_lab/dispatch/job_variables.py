"""Variables that the script of a job sets for its program. Both import them, so this imports nothing."""

from __future__ import annotations

BEGAN = "ALIGN_LAB_BEGAN"  # the file that the program makes once it works on its node
ENDS = "ALIGN_LAB_ENDS"  # inside a container: when the job's time is over, in seconds since 1970; empty: never
TRIES = ".tries"  # ending, for all rounds of a job: the nodes where it failed before its program began
ASKS = ".requeue"  # ending, in place of that of BEGAN, of the file by which a program asks the script for a requeue
