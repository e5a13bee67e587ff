"""Samplers behind one Protocol."""
