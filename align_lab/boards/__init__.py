"""Views of a run on W&B and Trackio, fed from its folder by a process of their own."""
