"""Studies that choose what to run next: seeds in steps, until the verdict carries."""
