"""Declarative alignment experiments, and comparisons between them that can be trusted."""

__version__ = "0.2.0"
