"""Policies, critics, the reference and reward heads."""
