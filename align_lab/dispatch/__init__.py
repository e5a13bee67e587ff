"""From a study to its jobs, on Slurm or on this machine: plan, submission by submitit, ledger, states."""
