"""The record of a run: the run folder is authoritative, the terminal output is a view of it."""
