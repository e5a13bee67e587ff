"""Mutants that compute the same, by their key in results.json, each with the reason."""

from __future__ import annotations

EQUIVALENT: dict[str, str] = {}
