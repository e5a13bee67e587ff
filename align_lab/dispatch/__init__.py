"""From a study to its jobs: plan, submission with submitit, ledger, states, on Slurm or on this machine."""
