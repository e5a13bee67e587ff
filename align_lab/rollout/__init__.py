"""Samplers: generation in plain torch or with vLLM, behind one Protocol."""
