"""Studies of factors: what each choice does over all runs, and what a fraction of their combinations cannot tell."""
