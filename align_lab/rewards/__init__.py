"""Validation of the scores that rewards return."""
