"""Will it fit? Memory by term before anything is loaded, the micro-batch that uses what is left, and what to change if not."""

from align_lab.preflight.available_memory import Room
from align_lab.preflight.estimate import Estimate, estimate
from align_lab.preflight.fit import Memory, begin, fit, planned, problems
from align_lab.preflight.workload import Load, load

__all__ = ["Estimate", "Load", "Memory", "Room", "begin", "estimate", "fit", "load", "planned", "problems"]
