"""What the tuning of a study tried, what came out of it, and what it cost."""
