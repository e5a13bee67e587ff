"""Memory estimation before anything is loaded: the peak by term, the largest micro-batch that fits, and remedies."""

from align_lab.preflight.available_memory import AvailableMemory
from align_lab.preflight.estimate import Estimate, estimate
from align_lab.preflight.fine_tuning import check_fine_tuning, check_requested
from align_lab.preflight.fit import Memory, check_memory, fit, planned, problems
from align_lab.preflight.reward_training import check_reward_training, check_reward_training_requested
from align_lab.preflight.workload import Workload, workload_of

__all__ = [
    "AvailableMemory",
    "Estimate",
    "Memory",
    "Workload",
    "check_fine_tuning",
    "check_memory",
    "check_requested",
    "check_reward_training",
    "check_reward_training_requested",
    "estimate",
    "fit",
    "planned",
    "problems",
    "workload_of",
]
