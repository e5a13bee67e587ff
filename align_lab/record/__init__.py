"""What a run leaves behind: the run folder is the truth, the terminal is a view of it."""
