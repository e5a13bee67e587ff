"""Scores of completions, checked."""
