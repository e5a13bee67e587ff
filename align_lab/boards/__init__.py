"""Experiment trackers (W&B and Trackio) as views of a run, updated from its folder by a separate process."""
